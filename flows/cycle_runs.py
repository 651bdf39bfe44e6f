"""The cycles of a study as flow runs of their own deployment: a study that people label is suspended while they go on,
and each that ends has it go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from prefect import get_run_logger, suspend_flow_run
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import Flow, FlowRun, State
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import FlowRunContext
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, Pause

from flows.deployed import is_waiting
from mgral.errors import StateError
from tasks.job import Job

DEPLOYMENT = "cycle/mgral-cycle"
"""As prefect.yaml names it."""
LATEST = 200
"""Flow runs that are looked at, the latest first: as many as Prefect gives at once."""


def run_of(job: Job) -> FlowRun:
    """The flow run of a job's cycle: the one that goes on, else the one that ended since this study's run began, else
    one that is started now. So a cycle has one, however often its study is suspended and goes on."""
    runs, begun = [run for run in _runs("cycle") if _is_of(run, job)], FlowRunContext.get().flow_run.created
    ended = [run for run in runs if run.end_time is not None and run.end_time > begun and not is_waiting(run.state)]
    for run in [run for run in runs if not run.state.is_final()] + ended:
        return run
    parameters = {**_given(job), "strategy": job.strategy, "seed": job.seed, "cycle": job.cycle}
    try:
        run = run_deployment(DEPLOYMENT, parameters=parameters, flow_run_name=job.name, timeout=0, as_subflow=False)
    except ObjectNotFound as error:
        raise StateError(f"{DEPLOYMENT}: expected this deployment beside that of the study, got none; "
                         "prefect deploy --all") from error
    get_run_logger().info(f"{job.title} a flow run of its own has begun: {run.name}")
    return run


def suspend_until_one_ends(ended: Callable[[], bool]) -> None:
    """Suspends this flow run of a study; a cycle that `ended` before the suspension stood could not end it."""
    try:
        suspend_flow_run(key=f"cycles-{uuid4()}", timeout=None)
    except Pause:
        if ended():
            _resume(FlowRunContext.get().flow_run.id)
        raise


def wake_study(flow: Flow, flow_run: FlowRun, state: State) -> None:
    """When a cycle's flow run has ended: has the studies go on that are suspended until then."""
    if flow_run.deployment_id is None or flow_run.parent_task_run_id is not None:
        return
    work = _work(flow_run.parameters)
    for study in _runs("study"):
        if study.state.is_paused() and _work(study.parameters) == work:
            _resume(study.id)


def _resume(run: UUID) -> None:
    with get_client(sync_client=True) as client:
        client.resume_flow_run(run)


def _runs(name: str) -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[name])), limit=LATEST,
                                      sort=FlowRunSort.EXPECTED_START_TIME_DESC)
    return [run for run in found if run.deployment_id is not None and run.parent_task_run_id is None]


def _is_of(run: FlowRun, job: Job) -> bool:
    study, given = job.config.study, run.parameters
    named = (given.get("cycle", 1), given.get("strategy") or study.strategies[0],
             study.seeds[0] if given.get("seed") is None else given["seed"])
    return named == (job.cycle, job.strategy, job.seed) and _work(given) == _work(_given(job))


def _given(job: Job) -> dict[str, Any]:
    return {"params": str(job.params), "workdir": str(job.workdir), "data": None if job.data is None else str(job.data)}


def _work(parameters: Mapping[str, Any]) -> tuple[Path, Path, Path | None]:
    """What a flow run works on, however its parameters spell it."""
    data = parameters.get("data")
    return (Path(parameters.get("params", "params.yaml")).resolve(), Path(parameters.get("workdir", ".")).resolve(),
            Path(data).resolve() if data else None)
