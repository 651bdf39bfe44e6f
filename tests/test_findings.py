"""Like faults are counted, not repeated."""

from mgral.findings import Findings


def test_like_lines_are_counted():
    found = Findings()
    for number in range(500):
        found.problem(f"a.json: annotation {number}: expected a box", "box")
    found.problem("a.json: expected a list")
    assert found.problems == (
        "a.json: annotation 0: expected a box", "a.json: annotation 1: expected a box",
        "a.json: annotation 2: expected a box (and 497 more like this)", "a.json: expected a list")
    assert found.notes == ()


def test_a_line_stays_one_line_whatever_is_quoted():
    found = Findings()
    found.problem("a\nb.jpg\ud800: expected é")
    assert found.problems == ("a\\nb.jpg\\ud800: expected é",)


def test_the_same_line_is_said_once():
    found = Findings()
    for _ in range(3):
        found.note("a.json: no class has a box")
    assert found.notes == ("a.json: no class has a box",)
