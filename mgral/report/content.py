"""Is what is expected in an image really there? The content model's calibration as a picture."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np

from mgral.files import writing
from mgral.pool.content import Calibration

BINS = 8
LINE = 120
"""Letters in a line of the title."""
CLASSES = 20
"""Classes that are drawn one by one: those of most objects."""


def draw_calibration(path: Path, calibration: Calibration | None) -> None:
    """Left: objects counted against objects expected, images and classes pooled. Right: the share of the variation in
    counts that is explained, class by class, beside that of the detector's own counts. Says so where there is none."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    if calibration is None:
        figure.suptitle("Too few annotated images to learn from what is in the others", fontsize=10)
    else:
        figure.suptitle("\n".join(textwrap.wrap(calibration.verdict, LINE)), fontsize=8)
        _draw_counts(left, calibration)
        _draw_classes(right, calibration)
    with writing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})


def _draw_counts(axes, calibration: Calibration) -> None:
    expected, counted = calibration.expected.ravel(), calibration.counted.ravel()
    order = np.argsort(expected, kind="stable")
    groups = [group for group in np.array_split(order, BINS) if len(group)]
    centres = [expected[group].mean() for group in groups]
    means = [counted[group].mean() for group in groups]
    errors = [counted[group].std() / len(group) ** 0.5 for group in groups]
    most = max(*centres, *means, 0.1)
    axes.plot([0, most], [0, most], color="grey", linewidth=0.8, linestyle=":", label="as many as expected")
    axes.errorbar(centres, means, errors, marker="o", linestyle="", capsize=3, label="mean of images, ± error")
    axes.set(xlabel="objects expected (of a class, in an image left out)", ylabel="objects counted")
    axes.legend(fontsize=8)


def _draw_classes(axes, calibration: Calibration) -> None:
    order = np.argsort(-calibration.counted.sum(axis=0), kind="stable")[:CLASSES]
    place = np.arange(len(order))
    for shift, counts, name in ((-0.2, calibration.expected, "expected"), (0.2, calibration.seen, "its own counts")):
        axes.bar(place + shift, [_explained(calibration, counts, label) for label in order], 0.4, label=name)
    axes.set_xticks(place, [calibration.classes[label][:16] for label in order], rotation=60, ha="right",
                    fontsize=8, parse_math=False)
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set(ylabel="share of the variation explained", ylim=(-0.2, 1))
    axes.legend(fontsize=8)


def _explained(calibration: Calibration, counts: np.ndarray, label: int) -> float:
    column = slice(label, label + 1)
    alone = Calibration(calibration.classes[column], calibration.counted[:, column], counts[:, column],
                        calibration.seen[:, column])
    return alone.explained(counts[:, column])
