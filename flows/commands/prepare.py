"""`mgral prepare`: what comes before the first cycle of a seed; a stage of dvc.yaml."""

from __future__ import annotations

import os
import sys
from argparse import Namespace

from flows.arguments import add_seed, as_given, command, job_from
from flows.commands.cycle import WAITING


def add(commands) -> None:
    add_seed(command(commands, "prepare", _prepare, "check the data and draw the splits of one seed"))


def _prepare(options: Namespace) -> None:
    job = job_from(options)
    from mgral.study.results import Awaiting
    from tasks.prepare import prepare_data

    prepared = prepare_data(job)
    if isinstance(prepared, Awaiting):
        print(prepared.in_words(as_given(options)))
        sys.exit(WAITING if "DVC_STAGE" in os.environ else 0)
