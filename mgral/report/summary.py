"""The table that a run ends with."""

from __future__ import annotations

from collections.abc import Mapping

from mgral.study.results import RECORD, CycleResult, StrategyResult, StudyResult

HEAD = ("strategy", "cycle", "labelled", "mAP", "AP50", "records", "fall-backs", "LOO R²", "Spearman", "seconds")

CONTRADICTION = 2
"""Deviations by which a measurement must miss the estimate to contradict it."""


def rows(result: StudyResult) -> list[tuple[str, ...]]:
    """One row a detector, as text: every cycle's, and the one trained after the last choice."""
    return [row for one in result.strategies for row in _strategy_rows(one)]


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


def remarks(cycle: CycleResult) -> list[str]:
    """What a cycle's table is worth and what was made of it, a line each; nothing where there was no table."""
    if not cycle.verdict:
        return []
    if cycle.value is None:
        return [f"{cycle.verdict} No search was run: the batch is that of {cycle.origin}."]
    said = [cycle.verdict]
    if cycle.controls:
        said.append(_against_controls(cycle.value, cycle.controls))
    if cycle.checked is not None:
        taken = " The table's best record was measured to be worth more and is taken." if cycle.origin == RECORD else ""
        said.append(_check(cycle.checked, cycle.estimate, cycle.deviation) + taken)
    return said


def comparison(result: StudyResult) -> str:
    """A plain sentence: who is ahead at the end, and that one seed decides nothing."""
    main, *others = result.strategies
    if not others:
        return f"{main.strategy} ends at mAP {main.final.map:.3f}."
    # Rounded first: a gap of -0.04 reads +0.0, not -0.0.
    gaps = [f"{round(100 * (main.final.map - one.final.map), 1) + 0.0:+.1f} mAP against {one.strategy}"
            for one in others]
    return (f"{main.strategy} ends at mAP {main.final.map:.3f}: {', '.join(gaps)} at the same budget. "
            f"One seed: runs differ by about as much; repeat with other seeds before believing a gap.")


def _against_controls(value: float, controls: Mapping[str, float]) -> str:
    best_first = sorted(controls.items(), key=lambda item: (-item[1], item[0]))
    reached = ", ".join(f"{name.replace('_', ' ')} {one:.3f}" for name, one in best_first)
    beats = "beats all of its controls" if value > max(controls.values()) else "does not beat the best of its controls"
    return f"estimated worth of its batch: agent {value:.3f}; {reached}: the agent {beats}."


def _check(measured: float, estimate: float, deviation: float) -> str:
    found = f"one real experiment on its batch: {measured:.3f}, estimated {estimate:.3f} ± {deviation:.3f}"
    if abs(measured - estimate) <= CONTRADICTION * deviation:
        return f"{found}: the estimate stands."
    side = "below" if measured < estimate else "above"
    return f"{found}: more than {CONTRADICTION} deviations {side}, which contradicts the estimate."


def _strategy_rows(one: StrategyResult) -> list[tuple[str, ...]]:
    made = []
    for cycle, spent in zip(one.cycles, one.seconds, strict=False):
        made.append((one.strategy, str(cycle.cycle), str(cycle.labelled), f"{cycle.map:.3f}", f"{cycle.ap50:.3f}",
                     str(cycle.records or "-"), str(cycle.fallbacks) if cycle.records else "-",
                     _figure(cycle.loo_r2), _figure(cycle.spearman), f"{sum(spent.values()):.0f}"))
    final, spent = one.final, one.seconds[-1]
    made.append((one.strategy, "end", str(final.labelled), f"{final.map:.3f}", f"{final.ap50:.3f}", "-", "-", "-", "-",
                 f"{sum(spent.values()):.0f}"))
    return made


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _verdicts(result: StudyResult) -> list[str]:
    return [f"{one.strategy} {cycle.cycle}: {line}"
            for one in result.strategies for cycle in one.cycles for line in remarks(cycle)]


def _phases(result: StudyResult) -> list[str]:
    return [f"{one.strategy}, seconds by phase: {_spent(one.seconds)}" for one in result.strategies]


def _spent(seconds: tuple[Mapping[str, float], ...]) -> str:
    phases = list(dict.fromkeys(phase for one in seconds for phase in one))
    return ", ".join(f"{phase} {sum(one.get(phase, 0.0) for one in seconds):.0f}" for phase in phases)
