"""`mgral prepare`: what comes before the first cycle of a seed; a stage of dvc.yaml."""

from __future__ import annotations

from argparse import Namespace

from flows.arguments import add_seed, command, job_from


def add(commands) -> None:
    add_seed(command(commands, "prepare", _prepare, "check the data and draw the splits of one seed"))


def _prepare(options: Namespace) -> None:
    job = job_from(options)
    from tasks.prepare import prepare_data

    prepare_data(job)
