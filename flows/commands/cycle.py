"""`mgral cycle`: one cycle; a stage of dvc.yaml."""

from __future__ import annotations

from argparse import Namespace

from flows.arguments import add_cycle, command, job_from


def add(commands) -> None:
    add_cycle(command(commands, "cycle", _cycle, "run one cycle of one strategy and seed"))


def _cycle(options: Namespace) -> None:
    job = job_from(options)
    from flows.cycle import expect_cycle, run_cycle
    from mgral.report.summary import in_one_line

    expect_cycle(job)
    result = run_cycle(job)
    print(f"{job.title} {in_one_line(result)}, in {job.workspace.cycle(job.strategy, job.cycle)}")
