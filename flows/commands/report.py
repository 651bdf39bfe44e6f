"""`mgral report`: the last stage of dvc.yaml."""

from __future__ import annotations

from argparse import Namespace

from flows.arguments import command, job_from


def add(commands) -> None:
    command(commands, "report", _report, "train the last detectors of a study and write its report")


def _report(options: Namespace) -> None:
    job = job_from(options)
    from flows.study import expect_report, run_report
    from mgral.report.summary import table_text

    expect_report(job)
    print(table_text(run_report(job)))
