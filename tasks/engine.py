"""A step is a Prefect task inside a flow run and a plain function everywhere else.

So one body of code serves `prefect deployment run`, `dvc repro`, `mgral run` and a notebook, and the last three need
no server. Prefect's own result cache stays off: what was done before is found by fingerprint in the study's own files
and table, whichever way it was run.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext

P = ParamSpec("P")
R = TypeVar("R")


def step(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declares a step; `name` is what Prefect shows. I/O faults are tried again, wrong results never.

    A step that fails leaves no MLflow run that seems to go on.
    """

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        function = failures_close_runs()(function)
        prefect_task = task(function, name=name, cache_policy=NO_CACHE, retries=2, retry_delay_seconds=[2, 10],
                            retry_condition_fn=_is_io_fault)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return (prefect_task if in_flow_run() else function)(*args, **kwargs)

        return call

    return declare


@contextmanager
def failures_close_runs() -> Iterator[None]:
    """MLflow runs that are open when the block ends with an error or an interruption are marked as failed."""
    try:
        yield
    except BaseException:
        if "tasks.tracking" in sys.modules:  # else no run was begun; and MLflow takes seconds to import
            from tasks.tracking import fail_open_runs

            fail_open_runs()
        raise


def in_flow_run() -> bool:
    return FlowRunContext.get() is not None


def flow_run_id() -> str | None:
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context is not None and context.flow_run is not None else None


def _is_io_fault(task, task_run, state) -> bool:
    """A full disk or a lost share may come back; a setting that is wrong or a loss that diverged will not."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, OSError)
