"""All cycles of the main strategy and of those it is compared with, then the report: `mgral run`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from prefect import flow

from flows.arguments import job_of
from flows.cycle import cycle, run_cycle
from mgral.study.opened import Job
from mgral.study.results import StudyResult
from tasks.bookkeeping import commit_report, record_study
from tasks.detector import train_detector
from tasks.prepare import prepare_data


def run_study(job: Job, do_cycle: Callable[[Job], object] = run_cycle) -> StudyResult:
    """Chains the cycles of every strategy and reports; a study that was interrupted goes on where it was."""
    prepare_data(job)
    study = job.config.study
    for strategy in (study.strategy, *study.baselines):
        for number in range(1, study.cycles + 1):
            do_cycle(replace(job, strategy=strategy, cycle=number))
    return run_report(job)


def run_report(job: Job) -> StudyResult:
    """Trains each strategy's last detector and writes tables and curves."""
    study = job.config.study
    finals = {}
    for strategy in (study.strategy, *study.baselines):
        finals[strategy] = train_detector(replace(job, strategy=strategy, cycle=study.cycles), study.cycles)
    result = record_study(job, finals)
    commit_report(job)
    return result


@flow(name="study", flow_run_name="study", persist_result=False)
def study(params: str = "params.yaml", workdir: str = ".", data: str | None = None) -> StudyResult:
    """Every cycle is a flow run of its own."""
    def as_flow(job: Job) -> None:
        cycle(job.cycle, params, workdir, data, job.strategy)

    return run_study(job_of(Path(params), Path(workdir), Path(data) if data else None), as_flow)
