"""The command line. Heavy packages are loaded by the command that needs them, so that --help is quick."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flows.arguments import guarded, job_of, parser
from mgral import __version__
from mgral.params import with_options
from mgral.study.progress import current

if TYPE_CHECKING:
    from mgral.study.opened import Job


SEMISUP_OPTIONS = (("methods", "A,B", "methods"), ("fraction", "0.01,0.1", "fractions"), ("folds", "N", "folds"))


def main() -> None:
    options = _command().parse_args()
    guarded(lambda: options.work(options))


def _command() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="mgral",
                                  description="Which images to annotate next, chosen for the gain in mAP.")
    top.add_argument("--version", action="version", version=f"mgral {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    run = _add(commands, "run", _run, "run all cycles of a study and of its baselines")
    run.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    _add(commands, "check", _check, "check settings and data, and say what a run would do")
    _add(commands, "cycle", _cycle, "run one cycle of one strategy", cycle=True)
    semisup = _add(commands, "semisup", _semisup,
                   "compare semi-supervised methods on part of the labels (Soft Teacher's Table 2)")
    semisup.add_argument("--list", action="store_true", help="name the methods and whether they suit the detector")
    for name, example, setting in SEMISUP_OPTIONS:
        semisup.add_argument(f"--{name}", metavar=example, help=f"default: semisup_study.{setting}")
    correct = _add(commands, "import", _import, "replace the annotations of a cycle's batch by a corrected COCO file",
                   cycle=True)
    correct.add_argument("file", type=Path, help="the corrected annotations")
    return top


def _add(commands, name: str, work: Callable[[argparse.Namespace], None], what: str,
         cycle: bool = False) -> argparse.ArgumentParser:
    made = parser("", cycle, commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + "."))
    made.set_defaults(work=work)
    return made


def _job(options: argparse.Namespace) -> Job:
    return job_of(options.params, options.workdir, options.data, getattr(options, "strategy", None),
                  getattr(options, "cycle", 1))


def _run(options: argparse.Namespace) -> None:
    job = _job(options)
    from flows.plan import planned_work
    from flows.study import run_study
    from mgral.files import write_json
    from mgral.report.summary import table_text

    current.get().expect(planned_work(job))
    result = run_study(job)
    print(table_text(result))
    print(_where_next(job))
    if options.json:
        write_json(options.json, result.as_json())


def _check(options: argparse.Namespace) -> None:
    job = _job(options)
    from flows.plan import check_stages, in_words
    from tasks.prepare import prepare_data

    print(in_words(job, prepare_data(job)))
    check_stages(job)


def _cycle(options: argparse.Namespace) -> None:
    job = _job(options)
    from flows.cycle import run_cycle

    result = run_cycle(job)
    print(f"{job.title} {result.labelled} labelled, mAP {result.map:.3f}, AP50 {result.ap50:.3f}; "
          f"chose {len(result.chosen)} ({result.origin}), snapshot {result.snapshot}")


def _import(options: argparse.Namespace) -> None:
    job = _job(options)
    from tasks.annotation import import_corrected

    snapshot = import_corrected(job, options.file)
    print(f"{job.title} annotations taken from {options.file}; snapshot {snapshot}")


def _semisup(options: argparse.Namespace) -> None:
    job = _job(options)
    given = {setting: getattr(options, name) for name, _, setting in SEMISUP_OPTIONS}
    job = replace(job, config=with_options(job.config, "semisup_study", given))
    from tasks.semisup import compare_methods, list_methods

    if options.list:
        print(list_methods(job))
        return
    compared = compare_methods(job)
    print(compared.text)
    print(f"\nTable, plot, results and split files: {compared.folder}")


def _where_next(job: Job) -> str:
    from tasks.runs import open_tracker

    space, tracker = job.workspace, open_tracker(job)
    return f"""
Look next:
  learning curves          {space.report / 'learning_curve.png'}
  chosen images            {space.folder}/{job.strategy}/*/chosen.jpg
  for annotators (COCO)    {space.folder}/{job.strategy}/*/preannotations.json
  compare runs in MLflow   mlflow ui --host 127.0.0.1 --backend-store-uri sqlite:///{space.mlruns / 'mlflow.db'}
      and open             http://127.0.0.1:5000/#/experiments/{tracker.experiment}/runs?compareRunsMode=CHART"""


if __name__ == "__main__":
    main()
