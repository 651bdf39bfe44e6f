"""`mgral import`: annotations that a person corrected."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from flows.arguments import add_cycle, as_given, command, job_from
from mgral.study.waiting import waiting_runs


def add(commands) -> None:
    made = command(commands, "import", _import,
                   "take the labels of a cycle's batch from a COCO file; cycle 0 is the first batch")
    add_cycle(made)
    made.add_argument("--accept-empty", action="store_true",
                      help="all images without a box were looked at and are empty")
    made.add_argument("file", type=Path, help="the corrected annotations")


def _import(options: Namespace) -> None:
    job = job_from(options, first=0)
    from tasks.annotation import import_corrected
    from tasks.bookkeeping import commit_cycle

    done = import_corrected(job, options.file, options.accept_empty)
    if job.workspace.cycle(job.strategy, job.cycle).joinpath("result.json").exists():
        commit_cycle(job)
    title = job.title if job.cycle else f"[{job.config.study.name}]"
    print(f"{title} annotations taken from {options.file}; {done}")
    said = []
    if any(waiting_runs(job.workspace, job.strategy, job.cycle)):
        from flows.awaiting import resume_awaiting

        said = resume_awaiting(job)
    print("\n".join(f"  {line}" for line in said or [f"next: mgral run{as_given(options)}"]))
