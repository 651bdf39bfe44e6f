"""`mgral semisup`: semi-supervised methods against each other."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace

from flows.arguments import command, job_from

OPTIONS = (("methods", "A,B", "methods"), ("fraction", "0.01,0.1", "fractions"), ("folds", "N", "folds"))


def add(commands) -> None:
    made = command(commands, "semisup", _semisup,
                   "compare semi-supervised methods on part of the labels (Soft Teacher's Table 2)")
    made.add_argument("--list", action="store_true", help="name the methods and whether they suit the detector")
    for name, example, setting in OPTIONS:
        made.add_argument(f"--{name}", metavar=example, help=f"default: semisup_study.{setting}")


def _semisup(options: Namespace) -> None:
    job = job_from(options)
    from mgral.params import with_options

    given = {setting: getattr(options, name) for name, _, setting in OPTIONS}
    job = replace(job, config=with_options(job.config, "semisup_study", given))
    from tasks.semisup import compare_methods, list_methods

    if options.list:
        print(list_methods(job))
        return
    compared = compare_methods(job)
    print(compared.text)
    print(f"\nTable, plot, results and split files: {compared.folder}")
