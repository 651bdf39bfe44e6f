"""The boxes of a COCO file as columns, for all entries that are as they should be: ten times as fast as one by one.

Nothing is refused here and nothing is noted: a stretch of entries that has anything out of the ordinary in it is left
to `mgral.data.formats.coco`, which looks at them one by one; tests hold both to the same answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

STRETCH = 2048
"""Entries that are looked at together."""
SET = (1, True, "1", "true", "True")
"""What `iscrowd` and `ignore` may be for a box that is to be ignored."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Boxes of plain entries, row by row: id, row of the image, class name, corners (n, 4) in pixels, to be ignored."""

    ids: list[int]
    rows: list[int]
    labels: list[str]
    corners: np.ndarray
    ignore: list[bool]


def columns_of(entries: Sequence[Mapping[str, Any]], rows: Mapping[str, int],
               categories: Mapping[str, str]) -> Columns | None:
    """The boxes of these annotations; None where one of them is out of the ordinary.

    `rows` of images and names of `categories` by id as text.
    """
    ids, images, kinds, boxes = ([entry.get(name) for entry in entries]
                                 for name in ("id", "image_id", "category_id", "bbox"))
    if _types(ids) != {int} or _types(boxes) != {list} or not _types(chain(images, kinds)) <= {int, str} or any(
            map(_is_turned, entries)):
        return None
    corners = _corners(boxes)
    found, labels = [rows.get(str(image), -1) for image in images], [categories.get(str(kind)) for kind in kinds]
    if corners is None or -1 in found or None in labels:
        return None
    ignore = [entry.get("iscrowd") in SET or entry.get("ignore") in SET for entry in entries]
    return Columns(ids, found, labels, corners, ignore)


def _types(values: Iterable) -> set[type]:
    return set(map(type, values))


def _is_turned(entry: Mapping) -> bool:
    """Whether a box may be rotated: tools write `"rotation": 0.0` for those that are not."""
    attributes = entry.get("attributes")
    if attributes is None:
        return False
    return not isinstance(attributes, dict) or attributes.get("rotation", 0) not in (0, "0", "0.0")


def _corners(boxes: Sequence[list]) -> np.ndarray | None:
    """x1, y1, x2, y2 of x, y, width, height; None if not all are four finite numbers."""
    if set(map(len, boxes)) != {4} or not _types(chain.from_iterable(boxes)) <= {int, float}:
        return None
    try:
        corners = np.array(boxes, dtype=np.float64)
    except OverflowError:
        return None
    if not np.isfinite(corners).all():
        return None
    with np.errstate(over="ignore"):  # what is too large is refused as any box outside
        corners[:, 2:] += corners[:, :2]
    return corners
