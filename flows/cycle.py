"""One active-learning cycle: `mgral cycle`, or `prefect deployment run cycle/mgral-cycle --param cycle=1`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from prefect import State, flow, get_run_logger
from prefect.runtime import flow_run

from flows.arguments import job_of
from flows.awaiting import when_labelled
from flows.cycle_runs import wake_study
from flows.deployed import as_state, awaiting_state, cycle_of
from mgral.progress import current
from mgral.report.summary import in_one_line
from mgral.study.alone import DATA, alone
from mgral.study.plan import cycle_stage, stages, work
from mgral.study.results import Awaiting, CycleResult
from tasks.annotation import annotate_batch, export_chosen
from tasks.bookkeeping import commit_cycle, record_cycle
from tasks.choice import choose_batch, start_processes
from tasks.detector import inspect_pool, train_detector
from tasks.job import Job
from tasks.opened import open_study
from tasks.prepare import prepare_data


def run_cycle(job: Job) -> CycleResult | Awaiting:
    """Trains, chooses, has annotated and takes a new snapshot; what was done before is used again.

    Where people have to label the batch, it ends with what it waits for; run again, it goes on from there. While
    another process works on the same strategy, it waits.
    """
    with alone(job.workspace, job.strategy):
        return _run_cycle(job)


def _run_cycle(job: Job) -> CycleResult | Awaiting:
    prepared = prepare_data(job)
    if isinstance(prepared, Awaiting):
        return prepared
    start_processes(job)
    trained = train_detector(job, job.cycle - 1)
    inspected = inspect_pool(job, trained)
    chosen = choose_batch(job, trained, inspected)
    export_chosen(job, chosen.choice, inspected)
    annotated = annotate_batch(job, chosen.choice.ids)
    if isinstance(annotated, Awaiting):
        return replace(annotated, so_far=f"{trained.labelled} labelled images, mAP {trained.map:.3f}")
    result = record_cycle(job, trained, inspected, chosen, annotated)
    commit_cycle(job)
    return result


def expect_cycle(job: Job) -> None:
    """Has the remaining time count what the cycle needs."""
    name = cycle_stage(job.config.study, job.seed, job.strategy, job.cycle)
    planned = [stage for stage in stages(job.config) if stage.name == name]
    current.get().expect(work(job.config, open_study(job).splits, planned))


@flow(name="cycle", flow_run_name=lambda: cycle_of(flow_run.parameters), persist_result=False,
      on_completion=[wake_study], on_failure=[wake_study], on_crashed=[wake_study], on_cancellation=[wake_study])
def cycle(cycle: int = 1, params: str = "params.yaml", workdir: str = ".", data: str | None = None,
          strategy: str | None = None, seed: int | None = None) -> CycleResult | State:
    """One active-learning cycle: trains, chooses images, has them annotated.

    Where people have to label them, a run of a deployment is suspended until `mgral import` has taken the labels or
    their file is typed on resuming; any other run ends in the state "Awaiting annotations".

    Args:
        cycle: Which cycle, from 1; the cycles before it must have been run.
        params: The file of settings.
        workdir: The folder under which everything is written.
        data: The data set's folder, instead of data.root in the settings.
        strategy: One of study.strategies in the settings; the first where none is given.
        seed: One of study.seeds in the settings; the first where none is given.
    """
    return as_state(lambda: _cycle(job_of(Path(params), Path(workdir), Path(data) if data else None, strategy, cycle,
                                          seed)))


def _cycle(job: Job) -> CycleResult | State:
    # Who imports labels holds these parts too: they come before this run has seen that they are missing, or when it is
    # suspended, never between.
    with alone(job.workspace, job.strategy):
        with alone(job.workspace, DATA):
            prepared = when_labelled(replace(job, cycle=0), lambda: prepare_data(job))
        if isinstance(prepared, Awaiting):
            return awaiting_state([prepared], job)
        expect_cycle(job)
        result = when_labelled(job, lambda: run_cycle(job))
    if isinstance(result, Awaiting):
        return awaiting_state([result], job)
    get_run_logger().info(f"{job.title} {in_one_line(result)}, in {job.workspace.cycle(job.strategy, job.cycle)}")
    return result
