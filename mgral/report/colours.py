"""Colours of classes, the same in every picture and page."""

from __future__ import annotations

COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#800000", "#808000", "#000075")


def colour(label: int) -> str:
    """Of the class in this row; after the last it begins anew."""
    return COLOURS[label % len(COLOURS)]


def ink(background: str) -> str:
    """Black or white, whichever reads better on `background` (WCAG's contrast, at least 4.5 : 1 with one of them)."""
    channels = (int(background[place:place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#000000" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "#ffffff"
