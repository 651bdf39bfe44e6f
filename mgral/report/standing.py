"""Where studies stand, in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from mgral.report.foretold import foretold
from mgral.study.sent import page_of
from mgral.study.status import CHOSEN, DONE, LABELLED, WAITING, CycleStatus, Standing
from mgral.study.waiting import waiting_runs
from mgral.study.workspace import Workspace


def in_words(workspace: Workspace, standing: Standing) -> Iterator[str]:
    """Lines on a strategy of a study."""
    yield f"{standing.strategy}, seed {standing.seed}: {_so_far(standing)}"
    for cycle in standing.cycles:
        yield from (f"  {line}" for line in _cycle(workspace, standing, cycle))
    if standing.ended is not None:
        yield f"  the last detector: mAP {standing.ended:.3f}"


def next_step(standings: list[Standing], workspaces: list[Workspace], options: list[str], given: str = "") -> str:
    """What to type next, for all strategies and seeds of a study; `options` are what a command needs to find each."""
    waiting = [(standing, cycle) for standing in standings if (cycle := standing.waiting) is not None]
    going = [standing for standing in standings if standing.waiting is None and standing.ended is None]
    if going or not waiting:
        finished = all(standing.ended is not None and not _outdated(standing) for standing in standings)
        return f"nothing: the study is finished, {workspaces[0].report}" if finished else f"mgral run{given}"
    standing, cycle = waiting[0]
    row = standings.index(standing)
    this = f"{given}{options[row]} --cycle {cycle.cycle}"
    sent = page_of(workspaces[row], standing.strategy, cycle.cycle) is not None
    return f"mgral pull{this}" if sent else f"mgral import{this} FILE"


def _so_far(standing: Standing) -> str:
    done = sum(cycle.state == DONE for cycle in standing.cycles if cycle.cycle)
    return f"{done} of {standing.planned} cycles done"


def _outdated(standing: Standing) -> bool:
    return any(cycle.outdated for cycle in standing.cycles)


def _cycle(workspace: Workspace, standing: Standing, cycle: CycleStatus) -> Iterator[str]:
    name = f"cycle {cycle.cycle}" if cycle.cycle else "first batch"
    images = _count(cycle.images, "image")
    if cycle.state == WAITING:
        some = f"{cycle.left} of {images}" if cycle.left < cycle.images else images
        folder = workspace.batch(standing.strategy, cycle.cycle)
        yield f"{name}: WAITING for annotations of {some}{_so_good(cycle)}; {folder}"
        yield from (f"  {line}" for line in _where(workspace, standing.strategy, cycle.cycle))
    elif cycle.state == LABELLED:
        yield f"{name}: its {images} are labelled; `mgral run` goes on"
    elif cycle.state == CHOSEN:
        yield f"{name}: {images} chosen; `mgral run` goes on"
    else:
        yield f"{name}: done{_reached(cycle)}"
    if cycle.outdated:
        yield "  built on labels that were corrected since: `mgral run` trains its detector anew, the batch stays"
    if cycle.labels is not None:
        yield from (f"  {line}" for line in _labels(cycle))
    if said := foretold(cycle.search, cycle.gain):
        yield f"  {said}"


def _so_good(cycle: CycleStatus) -> str:
    return "" if cycle.reached is None else f" (its detector: mAP {cycle.reached:.3f})"


def _where(workspace: Workspace, strategy: str, cycle: int) -> Iterator[str]:
    """Where else people see the batch, and what goes on by itself when they are done."""
    if page := page_of(workspace, strategy, cycle):
        yield f"in Label Studio: {page}"
    for _, run in waiting_runs(workspace, strategy, cycle):
        yield f"Prefect's flow run {run.name} goes on then: {run.page}"


def _reached(cycle: CycleStatus) -> str:
    if cycle.result is None:
        return f", {_count(cycle.images, 'image')} labelled"
    result = cycle.result
    return (f", {_count(result.labelled, 'labelled image')}: mAP {result.map:.3f}; chose {cycle.images} "
            f"({result.choice.origin})")


def _labels(cycle: CycleStatus) -> Iterator[str]:
    labels = cycle.labels
    when = labels.when[:16].replace("T", " ")
    yield (f"labels: import {labels.number}, {when} UTC, {_count(labels.images, 'image')}, "
           f"{_count(labels.boxes, 'box', 'boxes')}; of the boxes that went out {labels.changes.in_words()}")
    if labels.pace():
        yield f"people worked {labels.pace()}"


def _count(number: int, singular: str, plural: str | None = None) -> str:
    return f"{number} {singular if number == 1 else plural or singular + 's'}"
