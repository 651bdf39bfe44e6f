"""Draws the picture of the README: one cycle of mgral, from labelled images to the next labelled images.

    python docs/figures/loop.py        # writes docs/figures/loop.png
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle, Wedge

PAPER, INK, FAINT, LINE = "#fbfaf7", "#1f2933", "#52606d", "#9aa5b1"
SKY, BLUE, ORANGE, GREEN = "#dfe7ee", "#2563a8", "#d9730d", "#2f855a"
SHAPES = ("#c2412f", "#e0a80d", "#3f7d4e", "#7b57a8")
WIDTH, HEIGHT = 16.0, 8.9
CARD = (3.3, 3.35)
"""Width and height of a step's card."""
LEFTS = (0.35, 4.35, 8.35, 12.35)
TOP, BOTTOM = 4.75, 0.55


def main() -> None:
    figure = plt.figure(figsize=(8, 8 * HEIGHT / WIDTH), dpi=200, facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, HEIGHT))
    axes.axis("off")
    axes.text(WIDTH / 2, HEIGHT - 0.42, "One cycle: which images shall people annotate next?", color=INK, ha="center",
              va="center", fontsize=11.5, weight="bold")
    steps = [
        (LEFTS[0], TOP, "1  labelled images", "few, since labels cost", labelled),
        (LEFTS[1], TOP, "2  detector", "trained on them", detector),
        (LEFTS[2], TOP, "3  pool", "what it sees without labels", pool),
        (LEFTS[3], TOP, "4  table of experiments", "which batch earns what", experiments),
        (LEFTS[3], BOTTOM, "5  agent", "an LSTM, trained by reward", agent),
        (LEFTS[2], BOTTOM, "6  batch", "of the highest estimate", batch),
        (LEFTS[1], BOTTOM, "7  annotators", "draw and correct boxes", annotators)]
    for left, bottom, title, what, draw in steps:
        card(axes, left, bottom, title, what)
        draw(axes, left, bottom)
    arrows(axes)
    path = Path(__file__).with_name("loop.png")
    figure.savefig(path, facecolor=PAPER, pil_kwargs={"optimize": True})


def card(axes: Axes, left: float, bottom: float, title: str, what: str) -> None:
    width, height = CARD
    axes.add_patch(FancyBboxPatch((left, bottom), width, height, boxstyle="round,pad=0,rounding_size=0.18", fc="white",
                                  ec=LINE, lw=0.9))
    axes.text(left + width / 2, bottom + height - 0.36, title, color=INK, ha="center", va="center", fontsize=8.6,
              weight="bold")
    axes.text(left + width / 2, bottom + 0.3, what, color=FAINT, ha="center", va="center", fontsize=7.1)


def thumbnail(axes: Axes, x: float, y: float, size: float, seed: int, boxed: str | None = None,
              chosen: bool = False) -> None:
    """A small picture of one or two things; `boxed` is the style of the line around each."""
    rng = np.random.default_rng(seed)
    edge = (ORANGE, 1.8) if chosen else (LINE, 0.5)
    axes.add_patch(Rectangle((x, y), size, size, fc=SKY, ec=edge[0], lw=edge[1]))
    places = [(0.32, 0.62), (0.7, 0.32)][:1 + seed % 2]
    for place_x, place_y in places:
        half, colour = size * rng.uniform(0.13, 0.2), SHAPES[rng.integers(len(SHAPES))]
        centre = x + size * place_x, y + size * place_y
        if rng.random() < 0.5:
            axes.add_patch(Circle(centre, half, fc=colour, ec="none"))
        else:
            corners = [(centre[0] - half, centre[1] - half), (centre[0] + half, centre[1] - half),
                       (centre[0], centre[1] + half)]
            axes.add_patch(Polygon(corners, fc=colour, ec="none"))
        if boxed:
            around = half * 1.3
            axes.add_patch(Rectangle((centre[0] - around, centre[1] - around), 2 * around, 2 * around, fc="none",
                                     ec=BLUE, lw=1.1, ls=boxed))


def labelled(axes: Axes, left: float, bottom: float) -> None:
    for number in range(6):
        thumbnail(axes, left + 0.42 + 0.86 * (number % 3), bottom + 0.75 + 0.86 * (number // 3), 0.74, number, "-")


def detector(axes: Axes, left: float, bottom: float) -> None:
    heights = (1.75, 1.4, 1.05, 0.72)
    for number, height in enumerate(heights):
        x = left + 0.5 + 0.42 * number
        axes.add_patch(Rectangle((x, bottom + 1.58 - height / 2), 0.28, height, fc=BLUE, ec="none",
                                 alpha=0.45 + 0.16 * number))
    thumbnail(axes, left + 2.28, bottom + 1.24, 0.72, 3, "-")


def pool(axes: Axes, left: float, bottom: float) -> None:
    for number in range(12):
        thumbnail(axes, left + 0.4 + 0.65 * (number % 4), bottom + 0.7 + 0.65 * (number // 4), 0.55, 20 + number,
                  (0, (1.6, 1.2)) if number % 3 else None)


def experiments(axes: Axes, left: float, bottom: float) -> None:
    for row, worth in enumerate((0.55, 1.0, 0.3, 0.75)):
        y = bottom + 2.25 - 0.51 * row
        for number in range(3):
            thumbnail(axes, left + 0.35 + 0.44 * number, y, 0.38, 20 + (5 * row + 3 * number) % 12)
        axes.text(left + 1.78, y + 0.19, "→", color=FAINT, ha="center", va="center", fontsize=8)
        axes.add_patch(Rectangle((left + 2.0, y + 0.07), 0.98 * worth, 0.24, fc=GREEN, ec="none"))


def agent(axes: Axes, left: float, bottom: float) -> None:
    for number, score in enumerate((0.25, 0.8, 0.4, 0.65)):
        x = left + 0.38 + 0.66 * number
        thumbnail(axes, x, bottom + 0.7, 0.52, 21 + 2 * number)
        axes.add_patch(FancyBboxPatch((x, bottom + 1.42), 0.52, 0.42, boxstyle="round,pad=0,rounding_size=0.08",
                                      fc=BLUE, ec="none"))
        axes.add_patch(Rectangle((x + 0.13, bottom + 1.97), 0.26, 0.8 * score, fc=ORANGE, ec="none"))
        axes.plot([x + 0.26] * 2, [bottom + 1.22, bottom + 1.42], color=FAINT, lw=1)
        if number < 3:
            axes.plot([x + 0.52, x + 0.66], [bottom + 1.63] * 2, color=FAINT, lw=1)


def batch(axes: Axes, left: float, bottom: float) -> None:
    for number, seed in enumerate((23, 27, 22, 31)):
        thumbnail(axes, left + 0.72 + 1.0 * (number % 2), bottom + 0.72 + 1.0 * (number // 2), 0.86, seed, chosen=True)


def annotators(axes: Axes, left: float, bottom: float) -> None:
    for number, (x, colour) in enumerate(((left + 0.75, GREEN), (left + 1.42, BLUE))):
        y = bottom + 0.95 + 0.12 * number
        axes.add_patch(Wedge((x, y - 0.15), 0.42, 0, 180, fc=colour, ec="white", lw=0.8))
        axes.add_patch(Circle((x, y + 0.55), 0.25, fc=colour, ec="white", lw=0.8))
    thumbnail(axes, left + 1.95, bottom + 0.85, 1.05, 23, "-")
    pencil = np.array([(0, 0), (0.09, 0.2), (0.46, 0.72), (0.6, 0.62), (0.22, 0.1)])
    axes.add_patch(Polygon(pencil + (left + 2.36, bottom + 1.75), fc=ORANGE, ec="white", lw=0.6))


def arrows(axes: Axes) -> None:
    middle, width = TOP + CARD[1] / 2, CARD[0]
    for left in LEFTS[:3]:
        arrow(axes, (left + width + 0.04, middle), (left + 4.0 - 0.04, middle))
    low = BOTTOM + CARD[1] / 2
    for left in (LEFTS[3], LEFTS[2]):
        arrow(axes, (left - 0.04, low), (left - 0.66, low))
    x = LEFTS[3] + width / 2
    arrow(axes, (x + 0.5, TOP - 0.05), (x + 0.5, BOTTOM + CARD[1] + 0.05))
    arrow(axes, (x - 0.5, BOTTOM + CARD[1] + 0.05), (x - 0.5, TOP - 0.05))
    corner = LEFTS[0] + width / 2
    axes.plot([LEFTS[1] - 0.04, corner], [low, low], color=INK, lw=1.6)
    arrow(axes, (corner, low), (corner, TOP - 0.05))
    axes.text(corner, low - 0.42, "a new version of\nthe labelled set;\nthe next cycle begins", color=FAINT,
              ha="center", va="top", fontsize=7.1, linespacing=1.35)
    between = (TOP + BOTTOM + CARD[1]) / 2
    axes.text(x + 0.72, between, "estimates", color=FAINT, ha="left", va="center", fontsize=7.1)
    axes.text(x - 0.72, between, "a doubtful batch is tried", color=FAINT, ha="right", va="center", fontsize=7.1)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, color=INK, lw=1.6, shrinkA=0,
                                   shrinkB=0))


if __name__ == "__main__":
    main()
