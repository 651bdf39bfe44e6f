import numpy as np

from mgral.lookup.estimator import Ridge
from mgral.lookup.fidelity import Settled
from mgral.lookup.history import lessons
from tests.lookup.pools import described

WEIGHTS = np.array([1.0, -2.0, 0.5, 0.0, 3.0, 1.0])


def table(rng, count, weights=WEIGHTS, level=0.0, noise=0.3):
    rows = rng.normal(size=(count, len(weights)))
    rewards = level + rows @ weights + rng.normal(0, noise, count)
    return described(rows), Settled(tuple((str(row),) for row in range(count)), rewards, np.ones(count),
                                    np.arange(count))


def test_earlier_records_of_the_same_kind_help_and_are_moved_to_todays_level():
    rng = np.random.default_rng(0)
    now, before = table(rng, 10), table(rng, 60, level=7.0)
    known = lessons(Ridge(), now, [before])
    assert known.weight > 0
    assert (known.present, len(known.rewards)) == (10, 70)
    assert abs(known.rewards[10:].mean() - known.rewards[:10].mean()) < 1e-9
    queries, truth = table(rng, 500, noise=0.0)
    with_them, alone = (np.corrcoef(one.teach(Ridge()).predict(queries).value, truth.rewards)[0, 1]
                        for one in (known, lessons(Ridge(), now)))
    assert 1 - with_them < (1 - alone) / 10
    assert "60 records of earlier cycles count" in str(known)


def test_earlier_records_that_contradict_are_left_out():
    rng = np.random.default_rng(1)
    now, before = table(rng, 20), table(rng, 60, weights=-WEIGHTS)
    known = lessons(Ridge(), now, [before])
    assert (known.weight, len(known.rewards), str(known)) == (0.0, 20, "")


def test_only_this_cycles_records_are_judged():
    rng = np.random.default_rng(2)
    now, before = table(rng, 8), table(rng, 40)
    known = lessons(Ridge(), now, [before])
    left = known.left_out(Ridge())
    assert left.value.shape == left.deviation.shape == (8,)
    first = Ridge().fit(known.described[np.arange(len(known.rewards)) > 0], known.rewards[1:], known.noise[1:])
    assert np.isclose(first.predict(known.described[[0]]).value[0], left.value[0])
