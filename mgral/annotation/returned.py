"""What came back of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mgral.annotation.coco import names_of_classes, read_annotations
from mgral.data.dataset import Boxes, Dataset, ImageId


@dataclass(frozen=True, eq=False)
class Returned:
    """What came back of a batch."""

    format: str
    boxes: dict[ImageId, Boxes]
    missing: tuple[ImageId, ...] = ()
    unfinished: tuple[ImageId, ...] = ()
    extra: int = 0
    silent: int = 0
    seconds: float | None = None
    timed: int = 0
    timed_boxes: int = 0
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


def read_returned(path: Path, dataset: Dataset, ids: Sequence[ImageId]) -> Returned:
    if not dataset.classes:
        names = tuple(names_of_classes(path))
        dataset = replace(dataset, classes=names, category_ids=tuple(range(1, len(names) + 1)))
    boxes, notes = read_annotations(path, dataset, ids)
    return Returned("coco", boxes, silent=sum(not len(of) for of in boxes.values()), notes=notes,
                    classes=tuple(names_of_classes(path)))
