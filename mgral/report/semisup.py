"""Semi-supervised methods side by side, as Soft Teacher's Table 2 shows them: mean ± deviation over folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, stdev

from mgral.comparison.partial_labels import Trial, TrialResult
from mgral.files import write_json, writing
from mgral.training.from_scratch import SUPERVISED

Results = Mapping[Trial, TrialResult]


def write_comparison(path: Path, results: Results) -> None:
    """Every trial; times are left out, which differ from run to run."""
    write_json(path, [{**asdict(trial), **{name: value for name, value in asdict(result).items() if name != "seconds"}}
                      for trial, result in results.items()])


def table_text(results: Results) -> str:
    """The table for a terminal and, as last line, a plain sentence."""
    table = _cells(results)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) if place == 0 else cell.rjust(width)
                       for place, (cell, width) in enumerate(zip(row, widths, strict=True))) for row in table]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*lines, "", *verdicts(results)])


def table_markdown(results: Results) -> str:
    head, *rows = _cells(results)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows)) + "\n\n" + "\n".join(
        f"- {line}" for line in verdicts(results)) + "\n"


def verdicts(results: Results) -> list[str]:
    """For each share of labels: every method against the baseline on the same folds, and what the gap is worth."""
    lines = []
    for fraction in _fractions(results):
        base = _maps(results, SUPERVISED, fraction)
        for method in _methods(results):
            mine = _maps(results, method, fraction)
            folds = sorted(set(base) & set(mine))
            if method == SUPERVISED or len(folds) < 2:
                continue
            gaps = [100 * (mine[fold] - base[fold]) for fold in folds]
            error = stdev(gaps) / len(gaps) ** 0.5
            word = "above" if fmean(gaps) > 2 * error else "below" if fmean(gaps) < -2 * error else "level with"
            lines.append(f"{100 * fraction:g} % labelled: {method} is {word} {SUPERVISED}: {fmean(gaps):+.1f} ± "
                         f"{error:.1f} mAP (standard error over {len(folds)} paired folds).")
    return lines


def draw_comparison(path: Path, results: Results) -> None:
    """mAP and AP50 against the share of labels, one line a method, a dot a fold."""
    from matplotlib.figure import Figure

    fractions, methods = _fractions(results), _methods(results)
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for place, (name, title) in enumerate((("map", "mAP"), ("ap50", "AP50"))):
        axes = figure.add_subplot(1, 2, place + 1, title=f"{title} on the test split", xlabel="labelled images, %")
        for number, method in enumerate(methods):
            # Side by side, so that error bars of methods at the same share can be told apart.
            shift = 0.12 * (number - (len(methods) - 1) / 2)
            points = [[100 * getattr(result, name) for trial, result in results.items()
                       if (trial.method, trial.fraction) == (method, fraction)] for fraction in fractions]
            columns = [row + shift for row in range(len(fractions))]
            deviations = [stdev(values) if len(values) > 1 else 0.0 for values in points]
            bars = axes.errorbar(columns, [fmean(values) if values else float("nan") for values in points], deviations,
                                 marker="o", capsize=3, label=method)
            for column, values in zip(columns, points, strict=True):
                axes.scatter([column] * len(values), values, s=9, alpha=0.45, color=bars[0].get_color())
        axes.set_xticks(range(len(fractions)), [f"{100 * fraction:g}" for fraction in fractions])
        axes.set_xlim(-0.5, len(fractions) - 0.5)
        axes.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=8)
    with writing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})


def _cells(results: Results) -> list[tuple[str, ...]]:
    fractions = _fractions(results)
    head = ("method", *(f"{name} {100 * fraction:g} %" for name in ("mAP", "AP50") for fraction in fractions))
    return [head, *((method, *(_cell(results, method, fraction, name) for name in ("map", "ap50")
                               for fraction in fractions)) for method in _methods(results))]


def _cell(results: Results, method: str, fraction: float, name: str) -> str:
    values = [100 * getattr(result, name) for trial, result in results.items()
              if (trial.method, trial.fraction) == (method, fraction)]
    if len(values) < 2:
        return f"{values[0]:.2f}" if values else "-"
    return f"{fmean(values):.2f} ± {stdev(values):.2f}"


def _maps(results: Results, method: str, fraction: float) -> dict[int, float]:
    return {trial.fold: result.map for trial, result in results.items()
            if (trial.method, trial.fraction) == (method, fraction)}


def _methods(results: Results) -> list[str]:
    return list(dict.fromkeys(trial.method for trial in results))


def _fractions(results: Results) -> list[float]:
    return sorted({trial.fraction for trial in results})
