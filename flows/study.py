"""All cycles of every strategy and seed, then the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from prefect import State, flow
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.arguments import job_of
from flows.awaiting import can_suspend
from flows.cycle import cycle, run_cycle
from flows.cycle_runs import run_of, suspend_until_one_ends
from flows.deployed import WAITING, as_state, is_waiting, study_of
from mgral.progress import current
from mgral.study.alone import REPORT, alone
from mgral.study.plan import stages, work
from mgral.study.results import Awaiting, StudyResult
from tasks.bookkeeping import commit_report, record_study
from tasks.detector import train_detector
from tasks.job import Job
from tasks.opened import open_study
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

    Where people label, a run of a deployment starts the cycles as runs of their deployment and is suspended until one
    of them has ended; each of them is suspended until its batch is labelled.

    Args:
        params: The file of settings.
        workdir: The folder under which everything is written.
        data: The data set's folder, instead of data.root in the settings.
    """
    return as_state(lambda: _study(job_of(Path(params), Path(workdir), Path(data) if data else None)))


def _study(job: Job) -> StudyResult | State:
    unfinished = _cycle_runs(job) if can_suspend() and people_label(job) else _cycles_within(job)
    if unfinished is not None:
        return unfinished
    expect_report(job)
    return run_report(job)


def people_label(job: Job) -> bool:
    """Whether batches may wait for people: not all labels are known."""
    if isinstance(prepare_data(job), Awaiting):
        return True
    opened = open_study(job)
    return any(image_id not in opened.dataset.boxes for image_id in opened.pool)


def _cycles_within(job: Job) -> State | None:
    """Runs all cycles as parts of this flow run; gives the state in which it ends where it cannot go on."""
    waiting: dict[tuple[str, int], str] = {}
    for at in cycles_of(job):
        if (at.strategy, at.seed) in waiting:
            continue
        state = cycle(at.cycle, str(at.params), str(at.workdir), at.data and str(at.data), at.strategy, at.seed,
                      return_state=True)
        if not state.is_completed():
            return state
        if is_waiting(state):
            waiting[at.strategy, at.seed] = state.message
    return Completed(name=WAITING, message="; ".join(waiting.values())) if waiting else None


def _cycle_runs(job: Job) -> State | None:
    """Has all cycles run as flow runs that people can resume, and this one suspended meanwhile; gives the state in
    which it ends where one of them failed."""
    going_on: dict[tuple[str, int], Job] = {}
    for at in cycles_of(job):
        if (at.strategy, at.seed) in going_on:
            continue
        run = run_of(at)
        if not run.state.is_final():
            going_on[at.strategy, at.seed] = at
        elif not run.state.is_completed():
            return Failed(message=f"{run.name}: {run.state.name}. {run.state.message or ''}")
    if going_on:
        suspend_until_one_ends(lambda: any(run_of(at).state.is_final() for at in going_on.values()))
    return None
