"""The table that a run ends with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mgral.report.foretold import foretold
from mgral.search.run import RECORD
from mgral.study.results import CycleResult, SearchResult, StrategyResult, StudyResult

HEAD = ("strategy", "seed", "cycle", "labelled", "mAP", "AP50", "records", "fall-backs", "LOO R²", "Spearman",
        "seconds")

CONTRADICTION = 2
"""Deviations by which a measurement must miss the estimate to contradict it."""


def rows(result: StudyResult) -> list[tuple[str, ...]]:
    """One row a detector, as text: every cycle's, and the one trained after the last choice."""
    return [row for run in result.runs for row in _strategy_rows(run)]


def table_text(result: StudyResult) -> str:
    """The table for a terminal, with what the tables of experiments are worth and the seconds by phase."""
    table = [HEAD, *rows(result)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) if place == 0 else cell.rjust(width)
                       for place, (cell, width) in enumerate(zip(row, widths, strict=True))) for row in table]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*lines, "", *_verdicts(result), *_phases(result), comparison(result)])


def table_markdown(result: StudyResult) -> str:
    """The same without times, which differ from run to run."""
    table = [HEAD[:-1], ("---",) * (len(HEAD) - 1), *(row[:-1] for row in rows(result))]
    return "\n".join(f"| {' | '.join(row)} |" for row in table) + "\n\n" + "\n".join(
        [*_verdicts(result), comparison(result)]) + "\n"


def in_one_line(cycle: CycleResult) -> str:
    """What a cycle's detector reaches and what was chosen with it."""
    return (f"{cycle.labelled} labelled, mAP {cycle.map:.3f}, AP50 {cycle.ap50:.3f}; chose {len(cycle.choice.ids)} "
            f"({cycle.choice.origin}), snapshot {cycle.snapshot}")


def remarks(cycle: CycleResult) -> list[str]:
    """What a cycle's table is worth and what was made of it, a line each; nothing where there was no table."""
    if cycle.table is None:
        return []
    if cycle.search is None:
        return [f"{cycle.table.verdict} No search was run: the batch is that of {cycle.choice.origin}."]
    lines = [cycle.table.verdict, _against_controls(cycle.search)]
    if cycle.search.checked is not None:
        taken = (" The table's best record was measured to be worth more and is taken."
                 if cycle.choice.origin == RECORD else "")
        lines.append(_check(cycle.search) + taken)
    return lines


def comparison(result: StudyResult) -> str:
    """A plain sentence: who is ahead at the end, and that one seed decides nothing."""
    strategies = result.strategies
    first, *others = strategies
    reached = {name: np.mean([run.final.map for run in runs]) for name, runs in strategies.items()}
    if not others:
        return f"{first} ends at mAP {reached[first]:.3f}."
    # Rounded first: a gap of -0.04 reads +0.0, not -0.0.
    gaps = [f"{round(100 * (reached[first] - reached[name]), 1) + 0.0:+.1f} mAP against {name}" for name in others]
    seeds = len(strategies[first])
    caveat = ("One seed: runs differ by about as much; repeat with other seeds before believing a gap." if seeds == 1
              else f"Means over {seeds} seeds.")
    return f"{first} ends at mAP {reached[first]:.3f}: {', '.join(gaps)} at the same budget. {caveat}"


def _against_controls(search: SearchResult) -> str:
    best_first = sorted(search.controls.items(), key=lambda item: (-item[1], item[0]))
    reached = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in best_first)
    beats = ("beats all of its controls" if search.value > max(search.controls.values())
             else "does not beat the best of its controls")
    return f"estimated worth of its batch: agent {search.value:.3f}; {reached}: the agent {beats}."


def _check(search: SearchResult) -> str:
    measured = (f"one real experiment on its batch: {search.checked:.3f}, estimated {search.estimate:.3f} ± "
                f"{search.deviation:.3f}")
    if abs(search.checked - search.estimate) <= CONTRADICTION * search.deviation:
        return f"{measured}: the estimate stands."
    side = "below" if search.checked < search.estimate else "above"
    return f"{measured}: more than {CONTRADICTION} deviations {side}, which contradicts the estimate."


def _strategy_rows(run: StrategyResult) -> list[tuple[str, ...]]:
    seconds = [f"{sum(spent.values()):.0f}" if spent else "-" for spent in run.seconds]
    cells = []
    for cycle, spent in zip(run.cycles, seconds, strict=False):
        table, fallbacks = cycle.table, "-" if cycle.search is None else str(cycle.search.fallbacks)
        worth = ("-",) * 4 if table is None else (str(table.records), fallbacks, f"{table.loo_r2:.2f}",
                                                  f"{table.spearman:.2f}")
        cells.append((run.strategy, str(run.seed), str(cycle.cycle), str(cycle.labelled), f"{cycle.map:.3f}",
                      f"{cycle.ap50:.3f}", *worth, spent))
    final = run.final
    return [*cells, (run.strategy, str(run.seed), "end", str(final.labelled), f"{final.map:.3f}", f"{final.ap50:.3f}",
                     *("-",) * 4, seconds[-1])]


def _title(result: StudyResult, run: StrategyResult) -> str:
    return run.strategy if len(result.runs) == len(result.strategies) else f"{run.strategy}, seed {run.seed}"


def _verdicts(result: StudyResult) -> list[str]:
    known = [f"{_title(result, run)} {run.cycles[-1].cycle}: {run.cycles[-1].content.verdict}" for run in result.runs
             if run.cycles and run.cycles[-1].content is not None]
    return known + [f"{_title(result, run)} {cycle.cycle}: {line}" for run in result.runs
            for cycle, after in zip(run.cycles, (*run.cycles[1:], run.final), strict=True)
            for line in (*remarks(cycle), *_found(cycle, after.map))]


def _found(cycle: CycleResult, after: float) -> list[str]:
    said = foretold(cycle.search, after - cycle.map)
    return [f"{said[0].upper()}{said[1:]}."] if said and cycle.search is not None else []


def _phases(result: StudyResult) -> list[str]:
    return [f"{_title(result, run)}, seconds by phase: {_spent(run.seconds)}" for run in result.runs]


def _spent(seconds: tuple[Mapping[str, float], ...]) -> str:
    phases = list(dict.fromkeys(phase for spent in seconds for phase in spent))
    return ", ".join(f"{phase} {sum(spent.get(phase, 0.0) for spent in seconds):.0f}" for phase in phases)
