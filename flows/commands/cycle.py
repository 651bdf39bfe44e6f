"""`mgral cycle`: one cycle; a stage of dvc.yaml."""

from __future__ import annotations

import os
import sys
from argparse import Namespace

from flows.arguments import add_cycle, as_given, command, job_from

WAITING = 3
"""Exit status of a DVC stage that waits for people: DVC takes 0 for done."""


def add(commands) -> None:
    add_cycle(command(commands, "cycle", _cycle, "run one cycle of one strategy and seed"))


def _cycle(options: Namespace) -> None:
    job = job_from(options)
    from flows.cycle import expect_cycle, run_cycle
    from mgral.report.summary import in_one_line
    from mgral.study.results import Awaiting
    from tasks.prepare import prepare_data

    result = prepare_data(job)
    if not isinstance(result, Awaiting):
        expect_cycle(job)
        result = run_cycle(job)
    if isinstance(result, Awaiting):
        print(result.in_words(as_given(options)))
        sys.exit(WAITING if "DVC_STAGE" in os.environ else 0)
    print(f"{job.title} {in_one_line(result)}, in {job.workspace.cycle(job.strategy, job.cycle)}")
