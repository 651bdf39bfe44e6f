"""All cycles of every strategy and seed, then the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from prefect import State, flow
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.arguments import job_of
from flows.cycle import cycle, run_cycle
from flows.deployed import WAITING, as_state, is_waiting, study_of
from mgral.progress import current
from mgral.study.alone import REPORT, alone
from mgral.study.plan import stages, work
from mgral.study.results import Awaiting, StudyResult
from tasks.bookkeeping import commit_report, record_study
from tasks.detector import train_detector
from tasks.opened import Job, open_study
from tasks.prepare import prepare_data


def run_study(job: Job) -> StudyResult | list[Awaiting]:
    """Chains the cycles of every strategy and reports; a study that was interrupted goes on where it was.

    Where people have to label a batch, the other strategies and seeds still go as far as they can; then it ends with
    all that it waits for.
    """
    if isinstance(prepared := prepare_data(job), Awaiting):
        return [prepared]
    current.get().expect(work(job.config, open_study(job).splits, stages(job.config)))
    waiting: dict[tuple[str, int], Awaiting] = {}
    for at in cycles_of(job):
        if (at.strategy, at.seed) not in waiting and isinstance(done := run_cycle(at), Awaiting):
            waiting[at.strategy, at.seed] = done
    return list(waiting.values()) or run_report(job)


def cycles_of(job: Job) -> Iterator[Job]:
    """Every cycle of a study, in the order in which they are run."""
    for stage in stages(job.config):
        if stage.cycle:
            yield replace(job, strategy=stage.strategy, cycle=stage.cycle, seed=stage.seed)


def expect_report(job: Job) -> None:
    """Has the remaining time count what the report needs."""
    current.get().expect(work(job.config, open_study(job).splits, stages(job.config)[-1:]))


def run_report(job: Job) -> StudyResult:
    """Trains the last detector of each strategy and seed and writes tables and curves."""
    last = job.config.study.cycles
    with alone(job.workspace, REPORT):
        result = record_study({at: train_detector(at, last) for at in cycles_of(job) if at.cycle == last})
        commit_report(job)
    return result


@flow(name="study", flow_run_name=lambda: study_of(flow_run.parameters), persist_result=False)
def study(params: str = "params.yaml", workdir: str = ".", data: str | None = None) -> StudyResult | State:
    """All cycles of every strategy and seed, each a flow run of its own, then the report.

    Args:
        params: The file of settings.
        workdir: The folder under which everything is written.
        data: The data set's folder, instead of data.root in the settings.
    """
    return as_state(lambda: _study(params, workdir, data))


def _study(params: str, workdir: str, data: str | None) -> StudyResult | State:
    job = job_of(Path(params), Path(workdir), Path(data) if data else None)
    waiting: dict[tuple[str, int], str] = {}
    for at in cycles_of(job):
        if (at.strategy, at.seed) in waiting:
            continue
        state = cycle(at.cycle, params, workdir, data, at.strategy, at.seed, return_state=True)
        if not state.is_completed():
            return state
        if is_waiting(state):
            waiting[at.strategy, at.seed] = state.message
    if waiting:
        return Completed(name=WAITING, message="; ".join(waiting.values()))
    expect_report(job)
    return run_report(job)
