"""A batch of a study as it went out to people, read from its files alone: no detector, no cache."""

from __future__ import annotations

from pathlib import Path

from mgral.annotation.coco import read_preannotations
from mgral.data.dataset import Dataset, ImageId
from mgral.errors import DataError, StateError
from mgral.files import read_json
from mgral.findings import Findings
from mgral.pool.inspection import Detections
from mgral.study.results import Choice, ChoiceRecord
from mgral.study.workspace import Workspace

BOXES = "preannotations.json"


def newest_batch(workspace: Workspace, strategy: str, cycles: int) -> int:
    """The last cycle that has chosen a batch: the one that waits, where one waits.

    Raises:
        StateError: none has.
    """
    for cycle in range(cycles, -1, -1):
        if _record(workspace, strategy, cycle) is not None:
            return cycle
    raise StateError(f"{workspace.batches}: expected a batch of {strategy}, got none yet; `mgral run` chooses one")


def read_batch(workspace: Workspace, strategy: str, cycle: int,
               dataset: Dataset) -> tuple[Choice, dict[ImageId, Detections]]:
    """The batch of a cycle, best first, and the boxes that it went out with; cycle 0 is the first batch.

    Raises:
        StateError: the cycle has chosen no batch, or no boxes of this batch are kept.
        DataError: a file that is damaged, or images that the data set has no more.
    """
    path = _record(workspace, strategy, cycle)
    if path is None:
        raise StateError(f"{workspace.batch(strategy, cycle)}: expected the batch of cycle {cycle}, got none; `mgral "
                         "run` chooses it")
    choice = _choice(path)
    _check_images(path, choice, dataset)
    places = [folder / BOXES for folder in _folders(workspace, strategy, cycle)]
    boxes = next((place for place in places if place.is_file()), None)
    if boxes is None:
        raise StateError(f"{places[0]}: expected the boxes that the batch went out with, got no file; restore it, or "
                         "`mgral run` to have it written again")
    detections = read_preannotations(boxes, dataset)
    if detections.keys() != set(choice.ids):
        raise StateError(f"{boxes}: expected the images of {path}, got others; restore the file of this batch")
    return choice, detections


def _folders(workspace: Workspace, strategy: str, cycle: int) -> tuple[Path, ...]:
    """What people keep comes first."""
    return workspace.batch(strategy, cycle), workspace.cycle(strategy, cycle) if cycle else workspace.first


def _record(workspace: Workspace, strategy: str, cycle: int) -> Path | None:
    chosen = workspace.choice(strategy, cycle) if cycle else workspace.first / "choice.json"
    return next((path for path in (workspace.handed_out(strategy, cycle), chosen) if path.is_file()), None)


def _choice(path: Path) -> Choice:
    """That of a record, or of the bare list of ids that the first batch is, best first."""
    try:
        content = read_json(path)
        choice = Choice(tuple(content), "diversity") if isinstance(content, list) else ChoiceRecord.read(path).choice
        if not all(isinstance(image_id, str) for image_id in choice.ids):
            raise ValueError("ids that are no text")
        return choice.ranked()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"{path}: expected a batch as it was chosen, got {error!r}; restore the file") from error


def _check_images(path: Path, choice: Choice, dataset: Dataset) -> None:
    findings = Findings()
    for image_id in choice.ids:
        if image_id not in dataset.images:
            findings.problem(f"{dataset.root}: expected the image {image_id!r} of {path}, got none; restore it, or "
                             "name the folder by --data", "missing image")
    if findings.problems:
        raise DataError(*findings.problems)
