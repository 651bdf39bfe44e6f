"""`mgral push`: a batch that waits for people, to their Label Studio."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from flows.arguments import add_cycle, as_given, command, job_from

if TYPE_CHECKING:
    from mgral.annotation.label_studio_server import Pictures


def add(commands) -> None:
    made: ArgumentParser = command(commands, "push", _push, "send the batch of a cycle that waits for people to a "
                                   "Label Studio, whose token the environment variable LABEL_STUDIO_API_KEY holds")
    made.add_argument("--label-studio", required=True, metavar="URL", help="where Label Studio is")
    add_cycle(made, "which cycle (default: the one that waits, else the last)")
    pictures = made.add_mutually_exclusive_group()
    pictures.add_argument("--images-url", metavar="BASE", help="pictures are on a web server: BASE and the path below "
                          "the data set's folder (default: they are uploaded)")
    pictures.add_argument("--document-root", type=Path, metavar="DIR", help="pictures are on Label Studio's machine, "
                          "below the folder that is its LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT")


def _push(options: Namespace) -> None:
    job = job_from(options, first=0)
    from mgral.annotation.label_studio_server import token_from
    from tasks.label_studio import push_batch

    pictures = _pictures(options)
    pushed = push_batch(job, options.label_studio, token_from(os.environ), pictures)
    sent = pushed.sent
    there = f"{sent.before} of {pushed.images} images were there, " if sent.before else ""
    state = f"; {sent.finished} finished" + (f", {sent.skipped} skipped" if sent.skipped else "") if sent.before else ""
    print(f"{there}{sent.new or 'none'} sent{state}\n  for annotators: {pushed.page}\n"
          f"  next: mgral pull{as_given(options)}{job.options} --cycle {job.cycle}")


def _pictures(options: Namespace) -> Pictures:
    from mgral.annotation.label_studio_server import Addressed, Served, Uploaded

    if options.images_url is not None:
        return Addressed(options.images_url)
    return Uploaded() if options.document_root is None else Served(options.document_root)
