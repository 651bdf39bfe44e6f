import json

import numpy as np
import pytest

from mgral.config import AgentConfig
from mgral.errors import StateError
from mgral.lookup.estimator import Ensemble, GaussianProcess, InverseDistance, Ridge
from mgral.lookup.reward import TableReward
from mgral.search.agent import AgentSearch
from tests.lookup.pools import described

RECORDS, REWARDS = described([[0.0, 0], [3, 0], [0, 4]]), np.array([0.1, 0.2, 0.3])  # threshold 3.18


def represent(batches):
    """Images are named by their place in the plane."""
    return described([np.mean([[float(x) for x in image_id.split(",")] for image_id in batch], axis=0)
                      for batch in batches])


def reward(cap=2, run=lambda batch: 0.9, estimator=None, **settings):
    return TableReward(represent, estimator or InverseDistance(2).fit(RECORDS, REWARDS), run, cap, **settings)


NEAR, FAR, FARTHER = ("1,1",), ("-9,0",), ("-14,0",)


def test_near_the_table_the_estimate_counts():
    table = reward(run=pytest.fail)
    assert table([NEAR, ("0,0",)]).tolist() == pytest.approx([*InverseDistance(2).fit(RECORDS, REWARDS).predict(
        described([[1.0, 1]])).value, 0.1])
    assert str(table) == "0 of at most 2 fall-back experiments, 0 batches asked."


def test_of_the_batches_far_out_the_farthest_is_run_and_its_result_joins_the_table():
    ran = []
    table = reward(run=lambda batch: ran.append(batch) or 0.9)
    values = table([NEAR, FAR, FARTHER])
    assert ran == [FARTHER]
    assert values[2] == 0.9
    assert len(table.estimator.rewards) == 4
    # FAR lies 5 from the new record and 9 from the origin
    assert values[1] == pytest.approx((0.9 / 5 + 0.1 / 9) / (1 / 5 + 1 / 9))
    assert table([FARTHER]).tolist() == [0.9]
    assert ran == [FARTHER]
    assert str(table) == "1 of at most 2 fall-back experiments, 2 batches asked."


def test_a_measurement_counts_as_it_is_even_where_the_estimator_smooths():
    assert reward(estimator=Ridge().fit(RECORDS, REWARDS))([FARTHER]).tolist() == [0.9]


def test_the_cap_binds_and_is_counted():
    table = reward(cap=1)
    table([FARTHER])
    table([("0,99",), ("99,0",), NEAR])
    assert str(table) == "1 of at most 1 fall-back experiments, 3 batches asked; the cap refused 2 batches more."


def test_no_fall_back_is_run_with_a_cap_of_zero():
    table = reward(cap=0, run=pytest.fail)
    table([FARTHER])
    assert table.refused == 1


def test_an_estimate_asks_for_no_experiment_and_changes_nothing():
    table = reward(risk_aversion=0.5, run=pytest.fail)
    expected = InverseDistance(2).fit(RECORDS, REWARDS).predict(represent([NEAR, FARTHER]))
    before = table.state()
    assert table.estimate([NEAR, FARTHER]).tolist() == (expected.value - 0.5 * expected.deviation).tolist()
    assert table.state() == before


def test_the_pace_keeps_calls_between_experiments():
    calls = []
    table = reward(cap=9, interval=3, run=lambda batch: calls.append(table.calls) or 0.5)
    for call in range(8):
        table([(f"{(-7) ** (call + 2)},0",)])
    assert calls == [1, 4, 7]
    assert table.refused == 0


def test_risk_aversion_takes_off_the_deviation_of_estimates_but_not_of_measurements():
    estimate = InverseDistance(2).fit(RECORDS, REWARDS).predict(represent([NEAR]))
    table = reward(risk_aversion=0.5)
    assert table([NEAR])[0] == pytest.approx(estimate.value[0] - 0.5 * estimate.deviation[0])
    assert table([FARTHER])[0] == 0.9


@pytest.mark.parametrize("make", [InverseDistance, Ridge, lambda: GaussianProcess(("a/0", "a/1")),
                                  lambda: Ensemble(np.zeros((1, 1)), ("a/0", "a/1"), 0, members=2)])
def test_saved_loaded_and_continued_it_equals_the_uninterrupted_one(make):
    def fitted():
        return make().fit(RECORDS, REWARDS)

    def run(batch):
        return float(represent([batch]).rows[0, 0]) / 100

    calls = [[NEAR, FAR], [("0,-30",), NEAR], [("50,50",)], [("-40,7",), FARTHER]]
    whole = reward(cap=3, interval=2, run=run, estimator=fitted())
    expected = [whole(call).tolist() for call in calls]
    first = reward(cap=3, interval=2, run=run, estimator=fitted())
    begun = [first(call).tolist() for call in calls[:2]]
    saved = json.loads(json.dumps(first.state()))
    later = reward(cap=3, interval=2, run=run, estimator=fitted(), state=saved)
    assert begun + [later(call).tolist() for call in calls[2:]] == expected
    assert later.state() == whole.state()
    assert later.fallbacks == whole.fallbacks


def test_a_state_of_more_experiments_than_the_cap_is_refused():
    table = reward()
    table([FARTHER])
    with pytest.raises(StateError, match=r"expected at most 0 fall-back experiments, got 1; raise table\.fallback_cap"):
        reward(cap=0, state=table.state())


def test_an_experiment_without_a_result_changes_nothing():
    table = reward(run=lambda batch: float("nan"))
    with pytest.raises(ValueError, match="expected a finite reward of the fall-back experiment, got nan"):
        table([FARTHER])
    assert len(table.estimator.rewards) == 3
    assert table.fallbacks == []


def test_a_search_on_the_table_goes_on_where_it_was_interrupted():
    rng = np.random.default_rng(0)
    places = rng.normal(size=(30, 2)) * 5
    ids = [f"{x:.3f},{y:.3f}" for x, y in places]

    def pair(states=(None, None)):
        table = reward(cap=3, interval=2, run=lambda batch: float(represent([batch]).rows[0].sum()) / 50,
                       state=states[1])
        return AgentSearch(ids, places, 4, table, AgentConfig(lr=1e-2), 0, states[0]), table

    whole, table = pair()
    figures = [(iteration.mean, iteration.best, iteration.gradient_norm) for iteration in whole.until(8)]
    first, begun = pair()
    for _ in first.until(3):
        pass
    later, continued = pair((first.state(), begun.state()))
    continuation = [(iteration.mean, iteration.best, iteration.gradient_norm) for iteration in later.until(8)]
    assert continuation == figures[3:]
    assert table.fallbacks == continued.fallbacks != []
    assert later.candidates() == whole.candidates()
