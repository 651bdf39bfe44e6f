import numpy as np
import pytest

from mgral.lookup.estimator import Ridge
from mgral.lookup.sequential import next_batches
from tests.lookup.pools import described


def batch(row):
    return (f"image-{row}",)


def line(places):
    """Batches on a line, named by their place among `places`."""
    return lambda batches: described(np.array([[places[int(one[0][6:])]] for one in batches], dtype=float))


PLACES = np.array([0.0, 0.1, 0.2, 5.0, -5.0, 4.9])


@pytest.fixture
def estimator():
    rng = np.random.default_rng(0)
    at = rng.uniform(-0.5, 0.5, (12, 1))
    return Ridge().fit(described(at), at[:, 0] + rng.normal(0, 0.3, 12))


def test_first_where_the_estimator_is_least_sure_then_where_most_may_be_hoped(estimator):
    candidates = [batch(row) for row in range(6)]
    represent, before = line(PLACES), len(estimator.records)
    estimate = estimator.predict(represent(candidates))
    least_sure = int(estimate.deviation.argmax())
    chosen = next_batches(represent, estimator, candidates, 2)
    assert chosen[0] == batch(least_sure)
    assert PLACES[int(chosen[1][0][6:])] > 4  # rewards rise to the right
    assert len(estimator.records) == before


def test_what_is_chosen_is_believed_and_not_chosen_again(estimator):
    candidates = [batch(row) for row in range(6)]
    chosen = next_batches(line(PLACES), estimator, candidates, 6)
    assert sorted(chosen) == candidates


def test_the_neighbour_of_a_chosen_batch_is_no_longer_strange():
    square = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]] * 3)
    flat = Ridge().fit(described(square), square.prod(axis=1))  # no slope: nothing to hope for but the unknown
    corners = np.array([[9.01, 0.0], [9.0, 0.0], [0.0, 8.0]])
    chosen = next_batches(lambda batches: described(corners[[int(one[0][6:]) for one in batches]]), flat,
                          [batch(row) for row in range(3)], 2)
    assert chosen == [batch(0), batch(2)]


def test_too_few_candidates(estimator):
    with pytest.raises(ValueError, match="expected at least 3 candidates, got 1"):
        next_batches(line(PLACES), estimator, [batch(0)], 3)
