"""Learning curves: as figures for machines, and as a picture."""

from __future__ import annotations

import csv
from pathlib import Path

from mgral.files import write_json, writing
from mgral.study.results import StudyResult


def write_metrics(path: Path, result: StudyResult) -> None:
    """The last detectors' mAP and AP50 by strategy, as DVC compares them."""
    write_json(path, {one.strategy: {"labelled": one.final.labelled, "map": one.final.map, "ap50": one.final.ap50}
                      for one in result.strategies})


def write_curves(path: Path, result: StudyResult) -> None:
    """One row a detector: strategy, labelled images, mAP, AP50 (fractions)."""
    with writing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("strategy", "labelled", "map", "ap50"))
        for one in result.strategies:
            table.writerows((one.strategy, *point) for point in one.curve())


def draw_curves(path: Path, result: StudyResult) -> None:
    """mAP and AP50 against the number of labelled images, one line a strategy."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for place, (name, column) in enumerate((("mAP", 1), ("AP50", 2))):
        axes = figure.add_subplot(1, 2, place + 1, title=f"{name} on the test split", xlabel="labelled images")
        for one in result.strategies:
            points = one.curve()
            axes.plot([point[0] for point in points], [point[column] for point in points], marker="o",
                      label=one.strategy)
        axes.grid(alpha=0.3)
        axes.legend()
    with writing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
