"""`mgral import`: the labels of a batch, from any annotation tool."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from flows.arguments import add_cycle, as_given, command, job_from
from mgral.errors import ConfigError

if TYPE_CHECKING:
    from mgral.annotation.acceptance import Accept
    from tasks.job import Job
    from tasks.labels import Imported


def add(commands) -> None:
    made = command(commands, "import", _import,
                   "take the labels of a batch from what an annotation tool gave back, or take them back")
    add_cycle(made, "which batch, 0 being the first one of a study without labels (default: the one that waits)",
              waiting=True)
    add_accept(made)
    made.add_argument("--preview", action="store_true", help="only say what would change")
    made.add_argument("--undo", action="store_true", help="take the last import of the cycle back")
    made.add_argument("file", type=Path, nargs="?", help="COCO or Label Studio JSON, CVAT for images XML, a folder of "
                      "Pascal VOC or YOLO files, or a ZIP file of these")


def add_accept(made: ArgumentParser) -> None:
    """The options by which one says that something is meant as it looks."""
    made.add_argument("--partial", action="store_true", help="take the images that are labelled; the others are waited "
                      "for")
    made.add_argument("--accept-empty", action="store_true",
                      help="all images without a box were looked at and are empty")
    made.add_argument("--accept-unchanged", action="store_true", help="the detector's boxes were looked at and are all "
                      "right")


def accept_of(options: Namespace) -> Accept:
    from mgral.annotation.acceptance import Accept

    return Accept(options.partial, options.accept_empty, options.accept_unchanged)


def _import(options: Namespace) -> None:
    if options.undo == (options.file is not None) or (options.undo and options.preview):
        raise ConfigError("mgral import: expected a FILE (with --preview or without), or --undo, got "
                          f"{'both' if options.file else 'neither' if not options.undo else '--undo --preview'}")
    job = job_from(options, first=0)
    from flows.labels import take_back
    from tasks.labels import import_labels

    if options.undo:
        print(f"{_title(job)} {take_back(job)}\n  next: mgral status{as_given(options)}")
    elif options.preview:
        imported = import_labels(job, options.file, accept_of(options), preview=True)
        print(f"{in_words(job, imported)}\n  nothing was kept; without --preview it is")
    else:
        take(job, options, options.file)


def take(job: Job, options: Namespace, file: Path) -> None:
    """Imports a file; says what it did, where it is kept, and what to do next."""
    from flows.labels import take_labels

    imported = take_labels(job, file, accept_of(options))
    given, number = as_given(options), imported.read.number
    folder, this = job.workspace.batch(job.strategy, job.cycle), f"{given}{job.options} --cycle {job.cycle}"
    print(in_words(job, imported))
    after = f"mgral import{this} FILE" if imported.left else f"mgral run{given}"
    print(f"  kept as import {number} in {folder}; `mgral import{this} --undo` takes it back")
    if imported.left:
        images = "1 image is" if imported.left == 1 else f"{imported.left} images are"
        print(f"  {images} still waited for")
    said = [] if imported.left else _resumed(job)
    print("\n".join(f"  {line}" for line in said or [f"next: {after}"]))


def _resumed(job: Job) -> list[str]:
    """What became of the flow runs that wait for these labels; Prefect takes seconds to load, and mostly none waits."""
    from mgral.study.waiting import waiting_runs

    if not any(waiting_runs(job.workspace, job.strategy, job.cycle)):
        return []
    from flows.awaiting import resume_awaiting

    return resume_awaiting(job)


def in_words(job: Job, imported: Imported) -> str:
    first, *others = imported.lines
    return "\n".join([f"{_title(job)} {first}", *(f"  {line}" for line in others)])


def _title(job: Job) -> str:
    return job.title if job.cycle else f"[{job.config.study.name}, first batch]"
