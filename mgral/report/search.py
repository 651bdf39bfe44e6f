"""A cycle's table and search as pictures and figures."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mgral.files import writing
from mgral.search.agent import Iteration

FIGURES = ("iteration", "mean", "best", "baseline", "entropy", "gradient_norm", "best_so_far")


def write_search(path: Path, iterations: Sequence[Iteration]) -> None:
    """One row an iteration, without times, which differ from run to run."""
    with writing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(FIGURES)
        table.writerows([getattr(iteration, name) for name in FIGURES] for iteration in iterations)


def draw_search(path: Path, iterations: Sequence[Iteration], reward: str, value: float | None = None,
                controls: Mapping[str, float] | None = None) -> None:
    """Mean and best estimate of the sampled batches, iteration by iteration, beside the worth of the chosen batch and
    of the controls' batches; says so if there was no search."""
    figure, axes = _figure()
    steps = [iteration.iteration for iteration in iterations]
    axes.plot(steps, [iteration.mean for iteration in iterations], label="mean of the sampled batches")
    axes.plot(steps, [iteration.best for iteration in iterations], label="best of the sampled batches", alpha=0.6)
    axes.plot(steps, [iteration.best_so_far for iteration in iterations], label="best so far", linestyle="--")
    levels = {name.replace("_", " "): value for name, value in (controls or {}).items()}
    for level in levels.values():
        axes.axhline(level, color="grey", linewidth=0.8, linestyle=":")
    if iterations and value is not None:
        axes.plot(steps[-1], value, marker="*", markersize=11, color="black", linestyle="", label="chosen batch")
    _label(axes, levels)
    title = "Search" if iterations else "No search: the table cannot guide one"
    axes.set(xlabel="iteration", ylabel=f"estimated reward ({reward})", title=title)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(fontsize=8)
    _save(figure, path)


def _label(axes, levels: Mapping[str, float]) -> None:
    """Names levels at the right edge, moved apart where they are closer than a line of text."""
    low, high = axes.get_ylim()
    line, place = (high - low) / 22, -np.inf
    for name, level in sorted(levels.items(), key=lambda item: item[1]):
        place = max(level, place + line)
        axes.annotate(name, (1, level), (1.03, place), ("axes fraction", "data"), ("axes fraction", "data"),
                      fontsize=8, va="center", color="dimgrey",
                      arrowprops={"arrowstyle": "-", "linewidth": 0.5, "color": "grey"})


def draw_table(path: Path, measured: np.ndarray, estimated: np.ndarray, deviation: np.ndarray, reward: str,
               verdict: str) -> None:
    """Does the table predict its own records? Leave-one-out estimate and its deviation against measurement, one dot a
    record; a table worth searching follows the diagonal."""
    figure, axes = _figure()
    both = np.concatenate([measured, estimated])
    axes.plot([both.min(), both.max()], [both.min(), both.max()], color="grey", linestyle=":")
    axes.errorbar(measured, estimated, deviation, fmt="o", elinewidth=0.8, ecolor="silver")
    margin = 0.5 * np.ptp(both)  # dots matter more than the ends of long error bars
    if margin:
        axes.set_ylim(both.min() - margin, both.max() + margin)
    axes.set(xlabel=f"measured reward ({reward})", ylabel="estimate from the other records ± deviation")
    question = "Does the table predict its own records? On the diagonal it does."
    axes.set_title(f"{question}\n{verdict}", fontsize=8, wrap=True)
    _save(figure, path)


def _figure():
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    return figure, axes


def _save(figure, path: Path) -> None:
    with writing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
