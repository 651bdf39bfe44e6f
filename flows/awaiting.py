"""A deployed flow run that waits for people: it is suspended, holds no process, and goes on when labels have come.

On going on a flow starts at its first line; all that was done before is found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4

import httpx
from prefect import get_run_logger, suspend_flow_run
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import SetStateStatus
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.input import RunInput, keyset_from_paused_state
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)
from prefect.states import Suspended
from pydantic import Field, ValidationError

from flows.arguments import as_given
from flows.labels import take_labels
from mgral.annotation.acceptance import Accept
from mgral.errors import MgralError
from mgral.study.results import Awaiting
from mgral.study.waiting import WaitingRun, waiting_runs
from tasks.job import Job

T = TypeVar("T")
IMPORTED = "-"
"""Typed for the file where the labels are there already."""
NO_SCHEMA = "schema not found"
"""Of the reason with which Prefect refuses to resume a run that was suspended a moment ago."""
PATIENCE = 20.0
"""Seconds for which it is asked again then."""


class Labels(RunInput):
    """What is typed by who resumes a flow run; one field has no default, else nothing at all would do."""

    file: str = Field(title="File with the labels", description="File or folder that came back. If `mgral import` has "
                      f"taken it, type `{IMPORTED}`.")
    accept_empty: bool = Field(default=False, title="Accept empty images",
                               description="All images without a box were looked at and are empty.")

    accept_unchanged: bool = Field(default=False, title="Accept unchanged boxes",
                                   description="The detector's boxes were looked at and are all right.")
    partial: bool = Field(default=False, title="Take a part", description="Take the images that are labelled; the "
                          "others are waited for.")

    @property
    def accept(self) -> Accept:
        return Accept(self.partial, self.accept_empty, self.accept_unchanged)

    @property
    def path(self) -> Path | None:
        return None if self.file.strip() in ("", IMPORTED) else Path(self.file.strip())


def can_suspend() -> bool:
    """Whether this flow run is one of a deployment, and no part of another: Prefect starts no other again."""
    run = _this_run()
    return run is not None and run.deployment_id is not None and run.parent_task_run_id is None


def when_labelled(job: Job, work: Callable[[], T | Awaiting]) -> T | Awaiting:
    """Does work that may have to wait for the labels of a job's cycle; cycle 0 is the first batch.

    A flow run that can be suspended is suspended meanwhile, however often labels come that do not do; any other ends
    with what it waits for, as does one where another flow run waits for the same labels.
    """
    while isinstance(done := work(), Awaiting):
        if not can_suspend() or _another_waits(job):
            return done
        _wait(job, done)
    if can_suspend():
        _no_longer(job)
    return done


def _wait(job: Job, awaiting: Awaiting) -> None:
    """Suspends this flow run, or takes the labels that were typed when it was resumed."""
    typed, fault = _typed(job), ""
    if typed is not None and typed.path is None:
        fault = f"labels of {awaiting.missing} images are still missing"
    elif typed is not None:
        try:
            imported = take_labels(job, typed.path, typed.accept)
        except MgralError as error:
            fault = "\n".join(error.problems)
        else:
            for line in imported.lines:
                get_run_logger().info(line)
            resume_awaiting(job)  # others that wait for the first batch
            return
    for line in fault.splitlines():
        get_run_logger().error(line)
    _suspend(job, awaiting, fault)


def _suspend(job: Job, awaiting: Awaiting, fault: str) -> None:
    run, key = _this_run(), f"labels-{uuid4()}"
    for line in awaiting.in_words(as_given(job)).splitlines():
        get_run_logger().info(line)
    WaitingRun(str(run.id), run.name, PREFECT_API_URL.value() or "", key).write(_path(job))
    suspend_flow_run(Labels.with_initial_data(description=described(job, awaiting, fault)), key=key, timeout=None)


def described(job: Job, awaiting: Awaiting, fault: str = "") -> str:
    """What to label, where it lies and what to type, in Markdown; `fault` is why the labels that came did not do."""
    # code in a line of text is wrapped on the page, a block of code is cut off
    refused = [f"- `{line.replace('`', '')}`" for line in fault.splitlines()]
    return "\n\n".join([
        *(["**Not taken, and nothing was changed:**", "\n".join(refused)] if refused else []),
        f"**Label {awaiting.missing} images** ({awaiting.label}). To look at: `{awaiting.pictures.resolve()}`. "
        f"What goes out: `{awaiting.batch.parent.resolve()}`",
        "Take what comes back with this command, and the run goes on by itself: "
        f"`mgral import{as_given(job)}{awaiting.options} --cycle {awaiting.cycle} FILE`",
        f"Or type the file below, as the worker sees it from `{Path.cwd()}`."])


def _typed(job: Job) -> Labels | None:
    """What was typed when this run was resumed, told once; None where it was not suspended for this batch."""
    waiting, run = WaitingRun.read(_path(job)), _this_run()
    if waiting is None or waiting.flow_run != str(run.id) or waiting.key not in (run.empirical_policy.pause_keys or ()):
        return None
    _path(job).unlink()
    try:
        return Labels.load(keyset_from_paused_state(Suspended(pause_key=waiting.key)))
    except ValidationError:  # somebody set another state by hand, and typed nothing
        return None


def _another_waits(job: Job) -> bool:
    """Whether a flow run waits for these labels already: two would do the same work, and be resumed by turns."""
    waiting = WaitingRun.read(_path(job))
    if waiting is None or waiting.flow_run == str(_this_run().id):
        return False
    with get_client(sync_client=True) as client:
        run = _read(client, waiting)
    if run is None or not run.state.is_paused():
        return False
    get_run_logger().warning(f"flow run {waiting.name} waits for these labels already: {waiting.page}")
    return True


def _no_longer(job: Job) -> None:
    waiting = WaitingRun.read(_path(job))
    if waiting is not None and waiting.flow_run == str(_this_run().id):
        _path(job).unlink()


def _path(job: Job) -> Path:
    return job.workspace.waiting(job.strategy, job.cycle)


def _this_run() -> FlowRun | None:
    context = FlowRunContext.get()
    return None if context is None else context.flow_run


def resume_awaiting(job: Job) -> list[str]:
    """Has the flow runs go on that wait for the labels of a job's cycle; says so of each, or why it does not.

    It raises nothing: what was imported stands, whatever became of a flow run.
    """
    found = list(waiting_runs(job.workspace, job.strategy, job.cycle))
    this = _this_run()
    return [_resumed(path, run) for path, run in found if this is None or run.flow_run != str(this.id)]


def _resumed(path: Path, waiting: WaitingRun) -> str:
    by_hand = f"resume it on its page, with {IMPORTED} for the file: {waiting.page}"
    try:
        with _hasty_client() as client:
            run = _read(client, waiting)
            if run is None or run.state.is_final():
                path.unlink(missing_ok=True)
                return (f"flow run {waiting.name} waits no longer ({'not there' if run is None else run.state.name}); "
                        "run the deployment again")
            if not run.state.is_paused():
                return f"flow run {run.name} goes on already ({run.state.name})"
            if refused := _resume(client, run.id):
                return f"flow run {run.name} was not resumed: {refused}; {by_hand}"
            return f"flow run {run.name} goes on"
    except (httpx.HTTPError, OSError, PrefectException) as error:
        fault = str(error).splitlines()[0] if str(error) else type(error).__name__
        return (f"flow run {waiting.name} was not resumed: expected Prefect's server at {PREFECT_API_URL.value()} to "
                f"answer, got {fault}; {by_hand}")


@contextmanager
def _hasty_client() -> Iterator[SyncPrefectClient]:
    """A client of the server that every `prefect` command given here talks to; it gives up soon."""
    if not PREFECT_API_URL.value():  # Prefect would start a server
        raise OSError("no address; give the command where `make up` was given, or set PREFECT_API_URL")
    with temporary_settings({PREFECT_API_REQUEST_TIMEOUT: 10.0, PREFECT_CLIENT_MAX_RETRIES: 1}), \
            get_client(sync_client=True) as client:
        yield client


def _read(client: SyncPrefectClient, waiting: WaitingRun) -> FlowRun | None:
    try:
        return client.read_flow_run(UUID(waiting.flow_run))
    except (ObjectNotFound, ValueError):
        return None


def _resume(client: SyncPrefectClient, run: UUID) -> str:
    """Why Prefect refuses to resume a run; empty where it does not."""
    end = time.monotonic() + PATIENCE
    while True:
        answer = client.resume_flow_run(run, run_input=Labels(file=IMPORTED).model_dump())
        if answer.status == SetStateStatus.ACCEPT:
            return ""
        if NO_SCHEMA not in answer.details.reason or time.monotonic() > end:
            return answer.details.reason
        time.sleep(0.5)
