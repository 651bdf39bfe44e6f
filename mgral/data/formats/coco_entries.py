"""What single entries of a COCO file say: ids, sizes, and the box of an annotation."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from mgral.data.formats.reading import Corners, Reading, numbers, shown
from mgral.findings import Findings

WHOLE = re.compile(r"[+-]?\d{1,15}(?:\.0*)?", re.ASCII)
LARGEST_SIDE = 2**31
"""Pixels: more than any image format can say."""


def key_of(value: object) -> str | None:
    """An id as text, the same for 7, 7.0, "7" and "7.0"; None for what is no id."""
    if type(value) is int:
        return str(value)
    if isinstance(value, str):
        text = value.strip()
        return str(int(float(text))) if "." in text and WHOLE.fullmatch(text) else text or None
    whole = whole_number(value)
    return None if whole is None else key_of(whole)


def whole_number(value: object) -> int | None:
    """The whole number that a value is or spells; None for others."""
    if isinstance(value, str):
        return int(float(value)) if WHOLE.fullmatch(value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if isinstance(value, int) or (math.isfinite(value) and value.is_integer()) else None


def name_of(entry: Mapping, row: int) -> str:
    return shown(entry["id"]) if "id" in entry else f"at row {row}"


def size_of(where: str, entry: Mapping, findings: Findings) -> tuple[int, int] | bool | None:
    """Width and height; None where the file has to say; False and a problem for what is no size."""
    sides = entry.get("width"), entry.get("height")
    if type(sides[0]) is type(sides[1]) is int and min(sides) > 0 and max(sides) < LARGEST_SIDE:
        return sides
    if sides == (None, None):
        return None
    whole = [whole_number(side) for side in sides]
    if any(side in (None, "") or (isinstance(side, float) and math.isnan(side)) or (number is not None and number <= 0)
           for side, number in zip(sides, whole, strict=True)):
        findings.note(f"{where}: width and height {shown(sides)} are taken from the image file", "size from file")
        return None
    if None in whole or max(whole) > LARGEST_SIDE:
        findings.problem(f"{where}: expected width and height as whole numbers, got {shown(sides)}; correct them",
                         "size")
        return False
    return whole[0], whole[1]


def corners_of(reading: Reading, where: str, entry: Mapping, row: int | None) -> Corners | None:
    """The box of an annotation of image `row`, x1, y1, x2, y2; None, and a problem or a note, if there is none."""
    bbox = entry.get("bbox")
    corners = _plain(bbox) if "attributes" not in entry else None
    if corners is not None:
        return corners
    if bbox in (None, []) and entry.get("segmentation"):
        return _envelope(reading, where, entry["segmentation"], row)
    if bbox in (None, []):
        _refuse(reading, where, "a bbox or a polygon", "neither", row)
        return None
    xywh, angle = numbers(bbox, 4, where, reading, row), _rotation(reading, where, entry, row)
    if xywh is None or angle is None:
        return None
    x, y, width, height = xywh
    if not angle:
        return x, y, x + width, y + height
    reading.findings.note(f"{where}: box rotated by {angle:g} degrees: its upright envelope is taken", "rotated box")
    return turned((x, y, x + width, y + height), angle)


def _plain(bbox: object) -> Corners | None:
    """The corners of a box that is as it should be, quickly: nearly all are."""
    if type(bbox) is not list or len(bbox) != 4:
        return None
    for value in bbox:
        if type(value) is not float and (type(value) is not int or abs(value) > LARGEST_SIDE):
            return None
    x, y, width, height = bbox
    return (x, y, x + width, y + height) if math.isfinite(x + y + width + height) else None


def _envelope(reading: Reading, where: str, segmentation: object, row: int | None) -> Corners | None:
    """The box around a polygon: lists of x, y, x, y, … in one list, one alone, or a list of points."""
    if not isinstance(segmentation, list):
        got = "a mask" if isinstance(segmentation, dict) else shown(segmentation)
        _refuse(reading, where, "a bbox or a polygon", f"{got} only", row, "write the bbox beside the mask")
        return None
    parts = segmentation if all(isinstance(part, list) for part in segmentation) else [segmentation]
    flat = [value for part in parts for value in part]
    if len(flat) < 6 or any(len(part) % 2 for part in parts):
        _refuse(reading, where, "a bbox or a polygon of three points x, y or more", shown(segmentation), row)
        return None
    points = numbers(flat, len(flat), where, reading, row)
    if points is None:
        return None
    reading.findings.note(f"{where}: no bbox: the envelope of its polygon is taken", "polygon")
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])


def _rotation(reading: Reading, where: str, entry: Mapping, row: int | None) -> float | None:
    """Degrees by which CVAT has turned the box about its centre; None and a problem for what is no angle."""
    attributes = entry.get("attributes")
    value = attributes.get("rotation") if isinstance(attributes, dict) else None
    if value in (None, "", False):
        return 0.0
    try:
        angle = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        angle = math.nan
    if math.isfinite(angle):
        return angle % 360
    _refuse(reading, where, "a rotation in degrees", shown(value), row)
    return None


def _refuse(reading: Reading, where: str, expected: str, got: str, row: int | None, advice: str = "") -> None:
    reading.unusable(f"{where}: expected {expected}, got {got}" + (f": {advice}" if advice else ""), expected, row)


def turned(corners: Corners, degrees: float) -> Corners:
    """The upright envelope of a box that is turned about its centre."""
    x1, y1, x2, y2 = corners
    cosine, sine = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    half = ((x2 - x1) * cosine + (y2 - y1) * sine) / 2, ((x2 - x1) * sine + (y2 - y1) * cosine) / 2
    centre = (x1 + x2) / 2, (y1 + y2) / 2
    return centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1]
