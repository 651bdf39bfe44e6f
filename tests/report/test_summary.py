"""What the summary says of a cycle's table and search."""

from dataclasses import replace

import pytest

from mgral.report.summary import remarks, table_text
from mgral.search.run import RECORD
from mgral.study.results import (
    Choice,
    ContentResult,
    CycleResult,
    FinalResult,
    SearchResult,
    StrategyResult,
    StudyResult,
    TableResult,
)

CONTROLS = {"balanced_entropy": 0.31, "best_record": 0.3, "cross_entropy": 0.44, "random": 0.05, "swap": 0.45}


def cycle(verdict="Good.", origin="greedy", **figures):
    """A cycle with a table, and with a search where something is said of it."""
    table = TableResult(13, 0.5, 0.5, True, verdict) if verdict else None
    values = {"value": 0.45, "estimate": 0.48, "deviation": 0.03, "checked": None, "fallbacks": 0, "controls": CONTROLS}
    search = SearchResult(**{**values, **figures}) if figures else None
    return CycleResult(1, 60, 0.1, 0.2, {}, Choice(("a",), origin), "s", table, search)


def test_the_agent_is_set_beside_its_controls():
    rest = "swap 0.450, cross entropy 0.440, balanced entropy 0.310, best record 0.300, random 0.050"
    end = "the agent does not beat the best of its controls."
    assert remarks(cycle(value=0.42, controls=CONTROLS)) == [
        "Good.", f"estimated worth of its batch: agent 0.420; {rest}: {end}"]
    assert remarks(cycle(value=0.4501, controls=CONTROLS))[1].endswith(": the agent beats all of its controls.")


def test_a_tie_is_no_victory():
    assert "does not beat" in remarks(cycle(value=0.45, controls=CONTROLS))[1]


@pytest.mark.parametrize(("measured", "says"), [
    (0.42, "the estimate stands."), (0.539, "the estimate stands."),
    (0.39, "more than 2 deviations below, which contradicts the estimate."),
    (0.57, "more than 2 deviations above, which contradicts the estimate.")])
def test_a_check_says_whether_the_estimate_stands(measured, says):
    assert remarks(cycle(checked=measured))[2:] == [
        f"one real experiment on its batch: {measured:.3f}, estimated 0.480 ± 0.030: {says}"]


def test_it_says_when_a_record_takes_the_place_of_the_searchs_batch():
    result = cycle(checked=0.45, origin=RECORD)
    assert remarks(result)[-1].endswith("the estimate stands. The table's best record was measured to be worth more "
                                        "and is taken.")


def test_without_search_or_table():
    assert remarks(cycle(verdict="Bad.", origin="balanced_entropy, as it is")) == [
        "Bad. No search was run: the batch is that of balanced_entropy, as it is."]
    assert remarks(cycle(verdict="", origin="random")) == []


def test_how_well_it_is_known_what_is_in_images_is_said_once_a_strategy():
    cycles = tuple(replace(cycle(verdict=""), cycle=number, content=ContentResult(100, 0.5, 0.4, f"Verdict {number}."))
                   for number in (1, 2))
    final = FinalResult(80, 0.3, 0.5, {}, "s")
    text = table_text(StudyResult("s", (StrategyResult("content", 0, cycles, final, ({}, {}, {})),)))
    assert "content 2: Verdict 2." in text.splitlines()
    assert "Verdict 1." not in text
