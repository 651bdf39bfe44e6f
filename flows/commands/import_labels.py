"""`mgral import`: annotations that a person corrected."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from flows.arguments import add_cycle, command, job_from


def add(commands) -> None:
    made = command(commands, "import", _import, "replace the annotations of a cycle's batch by a corrected COCO file")
    add_cycle(made)
    made.add_argument("file", type=Path, help="the corrected annotations")


def _import(options: Namespace) -> None:
    job = job_from(options)
    from tasks.annotation import import_corrected
    from tasks.bookkeeping import commit_cycle

    snapshot = import_corrected(job, options.file)
    commit_cycle(job)
    print(f"{job.title} annotations taken from {options.file}; snapshot {snapshot}")
