"""Learning curves: as figures for machines, and as a picture."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from mgral.config import folder_name
from mgral.files import write_json, writing
from mgral.study.plan import curve_path
from mgral.study.results import StrategyResult, StudyResult


def write_metrics(path: Path, result: StudyResult) -> None:
    """The last detectors' mAP and AP50 by strategy, means over seeds, as DVC compares them."""
    ends = {strategy: _mean_curve(runs)[-1] for strategy, runs in result.strategies.items()}
    write_json(path, {folder_name(strategy): dict(zip(("labelled", "map", "ap50"), end, strict=True))
                      for strategy, end in ends.items()})


def write_curves(folder: Path, result: StudyResult) -> None:
    """`learning_curve.csv`, one row a detector, and a file STRATEGY.csv of means over seeds for each line of a plot.

    mAP and AP50 are fractions.
    """
    _write_table(folder / "learning_curve.csv", ("strategy", "seed", "labelled", "map", "ap50"),
                 [(run.strategy, run.seed, *point) for run in result.runs for point in run.curve()])
    for strategy, runs in result.strategies.items():
        _write_table(curve_path(folder, strategy), ("labelled", "map", "ap50"), _mean_curve(runs))


def _write_table(path: Path, head: tuple[str, ...], rows: list[tuple]) -> None:
    with writing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])


def _mean_curve(runs: list[StrategyResult]) -> list[tuple[int, float, float]]:
    """(labelled images, mAP, AP50) of each detector, means over seeds."""
    points = np.mean([run.curve() for run in runs], axis=0)
    return [(int(labelled), float(reached), float(ap50)) for labelled, reached, ap50 in points]


def draw_curves(path: Path, result: StudyResult) -> None:
    """mAP and AP50 against the number of labelled images, one line a strategy: the mean over its seeds, with a band of
    one standard error where there are several."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    seeds = len(next(iter(result.strategies.values())))
    note = "one seed: gaps of one or two points are noise" if seeds == 1 else f"mean ± standard error of {seeds} seeds"
    figure.suptitle(f"{result.study}: {note}", fontsize=9)
    for place, (name, column) in enumerate((("mAP", 1), ("AP50", 2))):
        axes = figure.add_subplot(1, 2, place + 1, title=f"{name} on the test split", xlabel="labelled images")
        for strategy, runs in result.strategies.items():
            _draw(axes, strategy, runs, column)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend()
    with writing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})


def _draw(axes, strategy: str, runs: list[StrategyResult], column: int) -> None:
    labelled = [point[0] for point in runs[0].curve()]
    reached = np.array([[point[column] for point in run.curve()] for run in runs])
    mean = reached.mean(axis=0)
    (line,) = axes.plot(labelled, mean, marker="o", label=folder_name(strategy))
    if len(runs) > 1:
        error = reached.std(axis=0, ddof=1) / len(runs) ** 0.5
        axes.fill_between(labelled, mean - error, mean + error, alpha=0.2, color=line.get_color())
