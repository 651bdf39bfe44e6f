"""The boxes of an image as SVG that lies over its picture."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from mgral.annotation.proposals import Proposal
from mgral.data.dataset import ImageInfo
from mgral.report.colours import COLOURS
from mgral.report.page_text import html_text

SIDE = 400
"""The longer side of a picture on the page: all coordinates are of this scale."""
LETTERS, LETTER, LINE = 18, 8, 14
"""Letters of a class name that stand in a picture; the width of one, and the height of a line."""


def shown_size(image: ImageInfo) -> tuple[float, float]:
    """Width and height of an image on the page."""
    return image.width * _scale(image), image.height * _scale(image)


def drawn_boxes(image: ImageInfo, boxes: Sequence[Proposal], classes: Sequence[str]) -> str:
    """Each box in the colour of its class with what it is where the mouse points; over them the names of the surest,
    as far as none covers another. Empty where there is no box."""
    if not boxes:
        return ""
    width, height = shown_size(image)
    # The largest first: what is drawn later is nearer to the mouse.
    frames = (_frame(image, box, classes[box.label]) for box in sorted(boxes, key=_area, reverse=True))
    return (f'<svg viewBox="0 0 {width:.2f} {height:.2f}" preserveAspectRatio="none" aria-hidden="true">'
            f'{"".join(frames)}{"".join(_names(image, boxes, classes))}</svg>')


def colour_class(label: int) -> str:
    """The name of a class's colour in the stylesheet."""
    return f"c{label % len(COLOURS)}"


def _frame(image: ImageInfo, box: Proposal, name: str) -> str:
    x1, y1, x2, y2 = _corners(image, box)
    rect = f'x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}"/>'
    return (f'<g class="{colour_class(box.label)}"><title>{html_text(name)}, score {box.score:.2f}</title>'
            f'<rect class="halo" {rect}<rect {rect}</g>')


def _names(image: ImageInfo, boxes: Sequence[Proposal], classes: Sequence[str]) -> list[str]:
    """Class and score above each box, to the left or, near the right edge, to the right; best first."""
    drawn, taken = [], []
    for box in boxes if shown_size(image)[1] >= 2 * LINE else ():
        name, (x1, y1, x2, _) = classes[box.label], _corners(image, box)
        short = name if len(name) <= LETTERS else f"{name[:LETTERS - 1]}…"
        width, bottom = LETTER * (_columns(short) + 5), max(LINE - 2.0, y1 - 4)
        at_end = x1 + width > shown_size(image)[0]
        left = max(x2 - width, 0.0) if at_end else x1
        if any(abs(bottom - other) < LINE and left < end and start < left + width for start, end, other in taken):
            continue
        taken.append((left, left + width, bottom))
        place = f'x="{max(x2 - 2, 0):.1f}" text-anchor="end"' if at_end and left else f'x="{left + 2:.1f}"'
        # Isolated (U+2068, U+2069): a name that runs from right to left leaves the score where it is.
        drawn.append(f'<text class="{colour_class(box.label)}" {place} y="{bottom:.1f}">\u2068{html_text(short)}\u2069 '
                     f"{box.score:.2f}</text>")
    return drawn


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(mark) in "WF" else 1 for mark in text)


def _corners(image: ImageInfo, box: Proposal) -> tuple[float, ...]:
    return tuple(value * _scale(image) for value in box.corners)


def _scale(image: ImageInfo) -> float:
    return SIDE / max(image.width, image.height)


def _area(box: Proposal) -> float:
    x1, y1, x2, y2 = box.corners
    return (x2 - x1) * (y2 - y1)
