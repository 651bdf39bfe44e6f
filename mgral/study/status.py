"""Where a study stands, told by the files of its cycles alone: no data set, no detector and no server is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mgral.errors import DataError
from mgral.files import md5, read_json
from mgral.study.batches import batch_files
from mgral.study.labels import LABELS, Import, in_force, names_in
from mgral.study.results import ChoiceRecord, CycleResult, SearchResult
from mgral.study.workspace import Workspace

DONE, WAITING, LABELLED, CHOSEN = "done", "waiting", "labelled", "chosen"


@dataclass(frozen=True, slots=True)
class CycleStatus:
    """One cycle that has begun; cycle 0 is the first batch.

    `state` is "chosen" (nobody was asked yet), "waiting" (for people), "labelled" (but not gone on with) or "done".
    `images` in the batch, `left` of them without a label of people's. `reached` is the mAP of its detector on the test
    split (a fraction), `search` what its search found; `outdated`: that detector was trained on labels that were
    corrected since. `gain` is what the next detector gained, None where there is none yet.
    """

    cycle: int
    state: str
    images: int
    left: int = 0
    labels: Import | None = None
    result: CycleResult | None = None
    reached: float | None = None
    search: SearchResult | None = None
    outdated: bool = False
    gain: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """A strategy with a seed: cycles that have begun, of so many `planned`; `ended` is the mAP of the last detector."""

    strategy: str
    seed: int
    cycles: tuple[CycleStatus, ...]
    planned: int
    ended: float | None = None

    @property
    def waiting(self) -> CycleStatus | None:
        """The cycle that waits for people."""
        return next((cycle for cycle in self.cycles if cycle.state == WAITING), None)


def standing(workspace: Workspace, strategy: str, planned: int) -> Standing:
    """Where a strategy of a seed stands.

    Raises:
        DataError: a file was damaged.
    """
    begun = [state for cycle in range(planned + 1) if (state := _status(workspace, strategy, cycle)) is not None]
    ended = _ended(workspace, strategy, planned)
    reached = {state.cycle: state.reached for state in begun if state.reached is not None and not state.outdated}
    reached |= {} if ended is None else {planned + 1: ended}
    cycles = tuple(replace(state, gain=reached[state.cycle + 1] - reached[state.cycle])
                   if {state.cycle, state.cycle + 1} <= reached.keys() else state for state in begun)
    return Standing(strategy, workspace.seed, cycles, planned, ended)


def _status(workspace: Workspace, strategy: str, cycle: int) -> CycleStatus | None:
    handed_out, folder = workspace.handed_out(strategy, cycle), workspace.batch(strategy, cycle)
    if not handed_out.exists() and not (cycle and workspace.choice(strategy, cycle).exists()):
        return None
    ids, labels = batch_files(workspace, strategy, cycle).choice().ids, in_force(folder)
    left = len(set(ids) - names_in(folder / LABELS)) if labels else len(ids)
    path = workspace.cycle(strategy, cycle) / "result.json"
    if not cycle and workspace.splits.exists():
        return CycleStatus(cycle, DONE, len(ids), 0, labels)
    if cycle and path.exists():
        result = _read(path, CycleResult.read)
        return CycleStatus(cycle, DONE, len(ids), 0, labels, result, result.map, result.search,
                           result.trained_on != _version(workspace, strategy, cycle - 1))
    state = LABELLED if not left else WAITING if handed_out.exists() else CHOSEN
    path = workspace.choice(strategy, cycle)
    if not cycle or not path.exists():
        return CycleStatus(cycle, state, len(ids), left, labels)
    chosen = _read(path, ChoiceRecord.read)
    return CycleStatus(cycle, state, len(ids), left, labels, None, chosen.reached, chosen.search)


def _ended(workspace: Workspace, strategy: str, planned: int) -> float | None:
    """The mAP of the detector after the last cycle, where it was trained on the labels that are known now."""
    path, now = workspace.final, _version(workspace, strategy, planned)

    def reached(path: Path) -> list[float]:
        return [run["map"] for run in read_json(path)
                if (run["strategy"], run["seed"], run["snapshot"]) == (strategy, workspace.seed, now)]

    return next(iter(_read(path, reached)), None) if path.exists() else None


def _version(workspace: Workspace, strategy: str, cycle: int) -> str | None:
    path = workspace.snapshot(strategy, cycle)
    return md5(path) if path.exists() else None


def _read(path: Path, read: Callable[[Path], Any]) -> Any:
    try:
        return read(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: expected what mgral wrote, got {error}; restore the file, or delete it: what can be "
                        "computed is made again") from error
