"""What people changed of the boxes that they were given: how useful those were, and what an import would change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from pycocotools import mask
from scipy.optimize import linear_sum_assignment

from mgral.data.dataset import Boxes, ImageId
from mgral.pool.inspection import Detections

SAME_OBJECT = 0.5
"""Least IoU of a box and the one that it was before, as mAP counts a box as found."""
ROUNDING = 1.0
"""Pixels by which formats and tools round corners: a box that moved by no more was left as it was."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Counts of boxes: `kept` as they were, `moved`, `relabelled` (moved or not), `deleted` and `added`."""

    kept: int = 0
    moved: int = 0
    relabelled: int = 0
    deleted: int = 0
    added: int = 0

    def __add__(self, other: Changes) -> Changes:
        ours, theirs = asdict(self), asdict(other)
        return Changes(**{name: ours[name] + theirs[name] for name in ours})

    @property
    def untouched(self) -> bool:
        """Whether there were boxes and nothing was done to any of them."""
        return bool(self.kept) and not (self.moved or self.relabelled or self.deleted or self.added)

    def in_words(self) -> str:
        return (f"{self.kept} kept, {self.moved} moved, {self.relabelled} relabelled, {self.deleted} deleted, "
                f"{self.added} added")


def changes_of(before: Mapping[ImageId, Boxes], after: Mapping[ImageId, Boxes], ids: Iterable[ImageId]) -> Changes:
    """All changes in these images; an image without boxes before may be missing there."""
    total = Changes()
    for image_id in ids:
        total += _changes(before.get(image_id, Boxes.of()), after[image_id])
    return total


def as_boxes(detections: Mapping[ImageId, Detections]) -> dict[ImageId, Boxes]:
    """Predicted boxes as if somebody had drawn them."""
    return {image_id: Boxes.of(found.xyxy, found.labels) for image_id, found in detections.items()}


def _changes(before: Boxes, after: Boxes) -> Changes:
    """Pairs boxes such that those of one class and place go together first, then by overlap."""
    if not len(before) or not len(after):
        return Changes(deleted=len(before), added=len(after))
    overlap = mask.iou(_xywh(before), _xywh(after), [False] * len(after))
    same = before.labels[:, None] == after.labels
    worth = np.where(overlap >= SAME_OBJECT, overlap + same, 0.0)
    ours, theirs = linear_sum_assignment(worth, maximize=True)
    paired = worth[ours, theirs] > 0
    ours, theirs = ours[paired], theirs[paired]
    still = np.abs(before.xyxy[ours] - after.xyxy[theirs]).max(axis=1, initial=0) <= ROUNDING
    alike = same[ours, theirs]
    return Changes(int((alike & still).sum()), int((alike & ~still).sum()), int((~alike).sum()),
                   len(before) - len(ours), len(after) - len(theirs))


def _xywh(boxes: Boxes) -> np.ndarray:
    xyxy = boxes.xyxy.astype(np.float64)
    return np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)
