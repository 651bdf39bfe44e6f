"""`mgral pull`: what people labelled in Label Studio, imported."""

from __future__ import annotations

import os
from argparse import Namespace

from flows.arguments import add_cycle, command, job_from
from flows.commands.import_labels import add_accept, take


def add(commands) -> None:
    made = command(commands, "pull", _pull, "fetch what people labelled of a batch that was pushed, and import it")
    made.add_argument("--label-studio", metavar="URL", help="where Label Studio is now (default: where the batch was "
                      "pushed)")
    add_cycle(made, "which cycle (default: the one that waits, else the last)")
    add_accept(made)


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
    take(job, options, pulled.file)
