"""Shapes that labelling tools know besides the upright box, and the box around them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from unicodedata import category

from mgral.data.formats.reading import Corners, Reading, shown

UNSEEN = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of what is no part of a name: controls, halves of letters, ends of lines."""
TYPES_SHOWN = 8
"""Types of shapes that are named when they are passed over; more can only be damage."""


def around_points(points: Sequence[float]) -> Corners:
    """The box around points x, y, x, y, …"""
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])


def around_ellipse(x: float, y: float, radius_x: float, radius_y: float, degrees: float) -> Corners:
    """The box around an ellipse that is turned about its centre x, y."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    half_x, half_y = math.hypot(radius_x * cosine, radius_y * sine), math.hypot(radius_x * sine, radius_y * cosine)
    return x - half_x, y - half_y, x + half_x, y + half_y


def turned_about_corner(x: float, y: float, width: float, height: float, degrees: float) -> Corners:
    """The box around a rectangle that is turned clockwise about its upper left corner x, y."""
    angle = math.radians(degrees)
    right = width * math.cos(angle), width * math.sin(angle)
    down = -height * math.sin(angle), height * math.cos(angle)
    return (x + min(0, right[0]) + min(0, down[0]), y + min(0, right[1]) + min(0, down[1]),
            x + max(0, right[0]) + max(0, down[0]), y + max(0, right[1]) + max(0, down[1]))


def label_of(value: object) -> str | None:
    """A class name as it is shown, on one line; None for what is none."""
    if not isinstance(value, str):
        return None
    label = value.strip()
    if not label.isprintable():  # such as a joiner, which belongs to the name, or a line's end, which does not
        label = " ".join("".join(" " if category(letter) in UNSEEN else letter for letter in label).split())
    return label or None


def note_passed(reading: Reading, path: Path, passed: Mapping[str, int], what: str) -> None:
    """One line for each type of shape that was passed over, the commonest first; `what` they are in the file."""
    types = sorted(passed.items(), key=lambda item: -item[1])
    for name, count in types[:TYPES_SHOWN]:
        reading.findings.note(f"{path}: {count} {what} of type {shown(name)} passed over: they are no boxes")
    if types[TYPES_SHOWN:]:
        rest = [count for _, count in types[TYPES_SHOWN:]]
        reading.findings.note(f"{path}: {sum(rest)} {what} of {len(rest)} more types passed over: they are no boxes")
