"""Versions of the labelled set: a chain of immutable files, each naming its parent by hash.

A snapshot holds only what its cycle added, so it stays small; because it names its parent, its own MD5 stands for
the whole labelled set, boxes included. That MD5 is the one DVC computes, so DVC, Prefect, MLflow and the SQL record
speak of the same version.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mgral.annotation.coco import import_annotations
from mgral.data.dataset import Boxes, Dataset, ImageId
from mgral.data.formats.coco import write_coco
from mgral.errors import StateError
from mgral.files import md5, read_json, write_json
from mgral.study.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`added` are the ids that the cycle labelled, sorted; `annotations` the MD5 of their annotation file."""

    cycle: int
    dataset: str
    parent: str | None
    annotations: str
    added: tuple[ImageId, ...]

    @classmethod
    def read(cls, path: Path) -> Snapshot:
        values = read_json(path)
        return cls(**{**values, "added": tuple(values["added"])})


def take_snapshot(workspace: Workspace, strategy: str, cycle: int, dataset: Dataset, source: str,
                  boxes: dict[ImageId, Boxes]) -> str:
    """Writes the annotations and the snapshot that a cycle adds; returns the snapshot's MD5."""
    parent = version(workspace, strategy, cycle - 1) if cycle else None
    annotations = workspace.annotations(strategy, cycle)
    write_coco(annotations, replace(dataset, boxes=boxes), sorted(boxes))
    snapshot = Snapshot(cycle, source, parent, md5(annotations), tuple(sorted(boxes)))
    path = workspace.snapshot(strategy, cycle)
    write_json(path, asdict(snapshot))
    return md5(path)


def version(workspace: Workspace, strategy: str, cycle: int) -> str:
    """The MD5 of the labelled set after `cycle` cycles of `strategy`.

    Raises:
        StateError: that cycle has not been done.
    """
    path = workspace.snapshot(strategy, cycle)
    if not path.exists():
        before = f"cycle {cycle} of {strategy}" if cycle else "the preparation"
        raise StateError(f"{path}: expected the snapshot of {before}, got no file; run {before} first")
    return md5(path)


def labelled(workspace: Workspace, strategy: str, cycle: int, dataset: Dataset) -> dict[ImageId, Boxes]:
    """All boxes known after `cycle` cycles, by image id, read back through the chain.

    Raises:
        StateError: a snapshot is missing, or a file was changed after later snapshots were built on it.
    """
    boxes: dict[ImageId, Boxes] = {}
    expected = version(workspace, strategy, cycle)
    for step in range(cycle, -1, -1):
        path = workspace.snapshot(strategy, step)
        _check(path, expected, version(workspace, strategy, step))
        snapshot = Snapshot.read(path)
        annotations = workspace.annotations(strategy, step)
        _check(annotations, snapshot.annotations, md5(annotations))
        boxes |= import_annotations(annotations, dataset, snapshot.added)
        expected = snapshot.parent
    return boxes


def _check(path: Path, expected: str | None, got: str) -> None:
    if expected != got:
        raise StateError(f"{path}: expected MD5 {expected}, got {got}; the file changed after later work was built on "
                         f"it: restore it, or delete the cycles that came after it")
