import json

import numpy as np
import pytest

from mgral.agent.search import Search
from mgral.config import SearchConfig
from mgral.errors import StateError
from mgral.lookup.estimator import Ensemble, GaussianProcess, InverseDistance, Ridge
from mgral.lookup.reward import TableReward
from tests.lookup.pools import described

RECORDS, REWARDS = described([[0.0, 0], [3, 0], [0, 4]]), np.array([0.1, 0.2, 0.3])  # threshold 3.18


def represent(batches):
    """Images are named by their place in the plane."""
    return described([np.mean([[float(x) for x in one.split(",")] for one in batch], axis=0) for batch in batches])


def reward(cap=2, run=lambda batch: 0.9, estimator=None, **settings):
    return TableReward(represent, estimator or InverseDistance(2).fit(RECORDS, REWARDS), run, cap, **settings)


NEAR, FAR, FARTHER = ("1,1",), ("-9,0",), ("-14,0",)


def test_near_the_table_the_estimate_counts():
    one = reward(run=pytest.fail)
    assert one([NEAR, ("0,0",)]).tolist() == pytest.approx([*InverseDistance(2).fit(RECORDS, REWARDS).predict(
        described([[1.0, 1]])).value, 0.1])
    assert str(one) == "0 of at most 2 fall-back experiments, 0 batches asked."


def test_of_the_batches_far_out_the_farthest_is_run_and_its_result_joins_the_table():
    ran = []
    one = reward(run=lambda batch: ran.append(batch) or 0.9)
    values = one([NEAR, FAR, FARTHER])
    assert ran == [FARTHER]
    assert values[2] == 0.9
    assert len(one.estimator.rewards) == 4
    # FAR lies 5 from the new record and 9 from the origin
    assert values[1] == pytest.approx((0.9 / 5 + 0.1 / 9) / (1 / 5 + 1 / 9))
    assert one([FARTHER]).tolist() == [0.9]
    assert ran == [FARTHER]
    assert str(one) == "1 of at most 2 fall-back experiments, 2 batches asked."


def test_a_measurement_counts_as_it_is_even_where_the_estimator_smooths():
    assert reward(estimator=Ridge().fit(RECORDS, REWARDS))([FARTHER]).tolist() == [0.9]


def test_the_cap_binds_and_is_counted():
    one = reward(cap=1)
    one([FARTHER])
    one([("0,99",), ("99,0",), NEAR])
    assert str(one) == "1 of at most 1 fall-back experiments, 3 batches asked; the cap refused 2 batches more."


def test_no_fall_back_is_run_with_a_cap_of_zero():
    one = reward(cap=0, run=pytest.fail)
    one([FARTHER])
    assert one.refused == 1


def test_an_estimate_asks_for_no_experiment_and_changes_nothing():
    one = reward(caution=0.5, run=pytest.fail)
    expected = InverseDistance(2).fit(RECORDS, REWARDS).predict(represent([NEAR, FARTHER]))
    before = one.state()
    assert one.estimate([NEAR, FARTHER]).tolist() == (expected.value - 0.5 * expected.deviation).tolist()
    assert one.state() == before


def test_the_pace_keeps_calls_between_experiments():
    calls = []
    one = reward(cap=9, pace=3, run=lambda batch: calls.append(one.calls) or 0.5)
    for call in range(8):
        one([(f"{(-7) ** (call + 2)},0",)])
    assert calls == [1, 4, 7]
    assert one.refused == 0


def test_caution_takes_off_the_deviation_of_estimates_but_not_of_measurements():
    estimate = InverseDistance(2).fit(RECORDS, REWARDS).predict(represent([NEAR]))
    one = reward(caution=0.5)
    assert one([NEAR])[0] == pytest.approx(estimate.value[0] - 0.5 * estimate.deviation[0])
    assert one([FARTHER])[0] == 0.9


@pytest.mark.parametrize("make", [InverseDistance, Ridge, lambda: GaussianProcess(("a/0", "a/1")),
                                  lambda: Ensemble(np.zeros((1, 1)), ("a/0", "a/1"), 2, 0)])
def test_saved_loaded_and_continued_it_equals_the_uninterrupted_one(make):
    def fitted():
        return make().fit(RECORDS, REWARDS)

    def run(batch):
        return float(represent([batch]).rows[0, 0]) / 100

    calls = [[NEAR, FAR], [("0,-30",), NEAR], [("50,50",)], [("-40,7",), FARTHER]]
    whole = reward(cap=3, pace=2, run=run, estimator=fitted())
    expected = [whole(call).tolist() for call in calls]
    first = reward(cap=3, pace=2, run=run, estimator=fitted())
    begun = [first(call).tolist() for call in calls[:2]]
    saved = json.loads(json.dumps(first.state()))
    later = reward(cap=3, pace=2, run=run, estimator=fitted(), state=saved)
    assert begun + [later(call).tolist() for call in calls[2:]] == expected
    assert later.state() == whole.state()
    assert later.fallbacks == whole.fallbacks


def test_a_state_of_more_experiments_than_the_cap_is_refused():
    one = reward()
    one([FARTHER])
    with pytest.raises(StateError, match=r"expected at most 0 fall-back experiments, got 1; raise table\.fallback_cap"):
        reward(cap=0, state=one.state())


def test_an_experiment_without_a_result_changes_nothing():
    one = reward(run=lambda batch: float("nan"))
    with pytest.raises(ValueError, match="expected a finite reward of the fall-back experiment, got nan"):
        one([FARTHER])
    assert len(one.estimator.rewards) == 3
    assert one.fallbacks == []


def test_a_search_on_the_table_goes_on_where_it_was_interrupted():
    rng = np.random.default_rng(0)
    places = rng.normal(size=(30, 2)) * 5
    ids = [f"{x:.3f},{y:.3f}" for x, y in places]

    def pair(states=(None, None)):
        table = reward(cap=3, pace=2, run=lambda batch: float(represent([batch]).rows[0].sum()) / 50, state=states[1])
        return Search(ids, places, 4, table, SearchConfig(iterations=8, lr=1e-2), 0, states[0]), table

    whole, table = pair()
    facts = [(one.mean, one.best, one.gradient_norm) for one in whole]
    first, begun = pair()
    steps = iter(first)
    for _ in range(3):
        next(steps)
    later, continued = pair((first.state(), begun.state()))
    assert [(one.mean, one.best, one.gradient_norm) for one in later] == facts[3:]
    assert table.fallbacks == continued.fallbacks != []
    assert later.choose() == whole.choose()
