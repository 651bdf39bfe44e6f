"""What Prefect shows of flow runs: their names, their log, and how they end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import State, get_run_logger
from prefect.states import Completed, Failed

from flows.arguments import as_given, job_of
from mgral.errors import MgralError
from mgral.progress import Lines, Progress, current
from mgral.study.results import Awaiting
from tasks.job import Job


def as_state(work: Callable[[], Any]) -> Any | State:
    """Runs a flow's work; a fault of the world is the run's last state, in its own words, and no traceback."""
    log = get_run_logger()
    current.set(Progress(Lines(log.info)))
    try:
        return work()
    except MgralError as error:
        for problem in error.problems:
            log.error(problem)
        return Failed(message="; ".join(error.problems))


WAITING = "Awaiting annotations"


def awaiting_state(batches: Sequence[Awaiting], job: Job) -> State:
    """How a run ends that has done all it can until people have labelled something."""
    words = [batch.in_words(as_given(job)) for batch in batches]
    for line in words:
        get_run_logger().info(line)
    return Completed(name=WAITING, message="; ".join(words))


def is_waiting(state: State) -> bool:
    return state.name == WAITING


def cycle_of(given: Mapping[str, Any]) -> str:
    """The name of a cycle's run, from its parameters."""
    try:
        return job_of(Path(given.get("params", "params.yaml")), Path(), None, given.get("strategy"),
                      given.get("cycle", 1), given.get("seed")).name
    except MgralError:  # the run itself will say so
        return f"cycle {given.get('cycle', 1)}"


def study_of(given: Mapping[str, Any]) -> str:
    """The name of a study's run, from its parameters."""
    try:
        return f"study {job_of(Path(given.get('params', 'params.yaml')), Path(), None).config.study.name}"
    except MgralError:
        return "study"
