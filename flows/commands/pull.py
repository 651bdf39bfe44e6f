"""`mgral pull`: what people labelled in Label Studio, imported."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from flows.arguments import add_cycle, as_given, command, job_from

if TYPE_CHECKING:
    from tasks.opened import Job


def add(commands) -> None:
    made = command(commands, "pull", _pull, "fetch what people labelled of a batch that was pushed, and import it")
    made.add_argument("--label-studio", metavar="URL", help="where Label Studio is now (default: where the batch was "
                      "pushed)")
    add_cycle(made)
    made.add_argument("--accept-empty", action="store_true",
                      help="all images without a box were looked at and are empty")
    made.add_argument("--partial", action="store_true", help="take what is finished, though not all is")


def _pull(options: Namespace) -> None:
    job = job_from(options, first=0)
    from mgral.annotation.label_studio_server import token_from
    from mgral.errors import StateError
    from tasks.label_studio import pull_batch

    pulled = pull_batch(job, options.label_studio, token_from(os.environ))
    print(f"{pulled.standing.in_words()}: {pulled.page}")
    left = pulled.standing.images - pulled.standing.finished
    if left and not options.partial:
        raise StateError(f"{pulled.page}: expected all {pulled.standing.images} images to be finished, got "
                         f"{pulled.standing.finished}; finish the other {left}, or take what is there: --partial")
    print(_taken(job, pulled.file, options))


def _taken(job: Job, file: Path, options: Namespace) -> str:
    """Imports the file as `mgral import` does; what to say of it."""
    from tasks.annotation import import_corrected
    from tasks.bookkeeping import commit_cycle

    done = import_corrected(job, file, options.accept_empty)
    if job.workspace.cycle(job.strategy, job.cycle).joinpath("result.json").exists():
        commit_cycle(job)
    return f"labels taken from {file}; {done}\n  next: mgral run{as_given(options)}"
