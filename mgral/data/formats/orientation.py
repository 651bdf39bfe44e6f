"""Pictures that EXIF turns: whether boxes were drawn on them as one sees them or on their pixels as they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mgral.data.formats.reading import OVERHANG, Reading
from mgral.data.headers import Header

SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations in which width and height change places."""
SHARE_DIGITS = 1e-6
"""By how much of a side the corners of a box in shares may be off: half a digit for its centre, a quarter for its size,
and what their sum is rounded by."""


@dataclass(frozen=True, slots=True)
class Turned:
    """Rows of images that EXIF turns, by what their annotated sizes say.

    `stored`: by a quarter, the size is the one before; `seen`: by a quarter, the size is the one after; `alike`: by a
    half or mirrored, where both are the same; `unsaid`: nothing says their size.
    """

    stored: list[int] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    alike: list[int] = field(default_factory=list)
    unsaid: list[int] = field(default_factory=list)


def place(reading: Reading, headers: Mapping[str, Header], image: np.ndarray, corners: np.ndarray,
          rule: str) -> tuple[np.ndarray, set[int]]:
    """Boxes in pixels of the pictures as seen, and the rows of images whose boxes cannot be placed.

    `image` (n,) the row of each box's image; `corners` (n, 4), pixels or shares as the reading has them; `rule` auto,
    upright or stored. What was decided is noted, and an annotated size that is not the picture's is a problem.
    """
    size, faulty, turned = _compared(reading, headers)
    rows = [*turned.stored, *(turned.unsaid if rule == "stored" else [])]
    if rows and rule == "auto":
        rule = _told_by_boxes(reading, size, image, corners, rows)
    if rule == "stored" and not turned.seen:  # a tool that knows of EXIF for some pictures does for all
        rows += turned.alike
        if turned.alike:
            reading.findings.note(f"{reading.images[turned.alike[0]].where}: boxes of {len(turned.alike)} images that "
                                  "EXIF turns by a half or mirrors are taken to be on the stored pixels too")
    orientation = np.ones(len(reading.images), dtype=np.int64)
    if rule == "stored":
        orientation[rows] = [headers[reading.images[row].file_name].orientation for row in rows]
    if reading.normalised:
        drawn_on = np.where(np.isin(orientation, SIDEWAYS)[:, None], size[:, ::-1], size)
        corners = _snapped(corners * np.tile(drawn_on[image], 2), np.tile(drawn_on[image], 2))
    _turn(orientation[image], size[image], corners)
    return corners, faulty if rule else faulty | set(turned.stored)


def _compared(reading: Reading, headers: Mapping[str, Header]) -> tuple[np.ndarray, set[int], Turned]:
    """Sizes of the pictures as seen, NaN for those that cannot be read; rows of those of another size; and of those
    that EXIF turns."""
    size, faulty, turned = np.full((len(reading.images), 2), np.nan), set(), Turned()
    for row, found in enumerate(reading.images):
        header = headers.get(found.file_name)
        if header is None:
            continue
        seen = header.width, header.height
        size[row] = seen
        if found.size in (None, seen):
            if header.orientation != 1:
                told = turned.seen if header.orientation in SIDEWAYS else turned.alike
                (turned.unsaid if found.size is None else told).append(row)
        elif header.orientation in SIDEWAYS and found.size == seen[::-1]:
            turned.stored.append(row)
        else:
            faulty.add(row)
            after = " as seen after EXIF rotation" if header.orientation != 1 else ""
            reading.findings.problem(
                f"{found.where}: expected {reading.folder.root / found.file_name} to have {found.size[0]} × "
                f"{found.size[1]} pixels as annotated, got {seen[0]} × {seen[1]}{after}; restore the image that was "
                "annotated or correct its size", "size unlike the annotation")
    return size, faulty, turned


def _told_by_boxes(reading: Reading, size: np.ndarray, image: np.ndarray, corners: np.ndarray,
                   stored: Sequence[int]) -> str:
    """Whether the boxes of these images were drawn on the picture as seen (upright) or as stored; empty and a problem
    where both readings put every box inside, or neither does."""
    where = reading.images[stored[0]].where
    pictures = f"{len(stored)} image{'s' if len(stored) > 1 else ''} that EXIF turns by a quarter"
    boxes = np.isin(image, stored)
    if not boxes.any():
        reading.findings.note(f"{where}: size before EXIF rotation for {pictures}, which have no box")
        return "upright"
    theirs, of = corners[boxes], size[image[boxes]]
    fits = {rule: bool((theirs[:, :2] >= -OVERHANG).all() and (theirs[:, 2:] <= limits + OVERHANG).all())
            for rule, limits in (("upright", of), ("stored", of[:, ::-1]))}
    fitting = [rule for rule, fit in fits.items() if fit]
    if len(fitting) == 1 and not reading.normalised:
        reading.findings.note(f"{where}: size before EXIF rotation for {pictures}; their boxes fit the picture as "
                              f"{'seen (upright)' if fitting[0] == 'upright' else 'stored'} only")
        return fitting[0]
    both = "both" if fitting else "neither"
    reading.findings.problem(f"{where}: expected boxes of {pictures} to fit the picture as seen or as stored, got "
                             f"sizes before rotation and boxes that fit {both}; set data.orientation to upright (boxes "
                             "as one sees the picture) or stored (boxes on the pixels as they are stored)")
    return ""


def _snapped(corners: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Shares of an image are written with six digits: what they cannot tell from a whole or half pixel is one."""
    nearest = np.round(corners * 2) / 2
    return np.where(np.abs(corners - nearest) <= SHARE_DIGITS * sides, nearest, corners)


def _turn(orientation: np.ndarray, size: np.ndarray, corners: np.ndarray) -> None:
    """Turns boxes upright, in place: (n,) orientations, (n, 2) sizes of the pictures as seen, (n, 4) corners."""
    for kind in np.unique(orientation):
        if kind != 1:
            boxes = orientation == kind
            corners[boxes] = upright(corners[boxes], int(kind), *size[boxes].T)


def upright(corners: np.ndarray, orientation: int, width: float | np.ndarray, height: float | np.ndarray) -> np.ndarray:
    """Boxes (…, 4) x1, y1, x2, y2 on the stored pixels, as they lie in the picture of `width` × `height` that EXIF
    turns upright; EXIF 2.3, tag 0x0112."""
    x1, y1, x2, y2 = np.moveaxis(np.asarray(corners), -1, 0)
    turned = {1: (x1, y1, x2, y2), 2: (width - x2, y1, width - x1, y2),
              3: (width - x2, height - y2, width - x1, height - y1), 4: (x1, height - y2, x2, height - y1),
              5: (y1, x1, y2, x2), 6: (width - y2, x1, width - y1, x2),
              7: (width - y2, height - x2, width - y1, height - x1), 8: (y1, height - x2, y2, height - x1)}
    return np.stack(np.broadcast_arrays(*turned[orientation]), axis=-1)
