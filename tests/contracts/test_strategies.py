"""What every query strategy must do."""

import copy

import numpy as np
import pytest

from mgral.inspection import Detections, Inspection
from mgral.strategies import STRATEGIES, PoolView, choose
from tests.small_data import blank_dataset

POOL = tuple(f"p{row:02d}" for row in range(24))
LABELLED = ("a", "b", "c")


def view(order=POOL):
    rng = np.random.default_rng(0)
    ids = (*POOL, *LABELLED)
    truth = blank_dataset({one: rng.integers(0, 4, rng.integers(0, 4)).tolist() for one in ids}).boxes
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    inspection = Inspection(ids, rng.normal(size=(27, 256)).astype(np.float32),
                            rng.random((27, 5, 4)).astype(np.float32), (nothing,) * 27)
    return PoolView(tuple(order), LABELLED, inspection, truth)


@pytest.fixture(params=STRATEGIES)
def name(request):
    return request.param


@pytest.mark.parametrize("budget", [1, 7, 24])
def test_gives_the_budget_in_distinct_unlabelled_ids(name, budget):
    chosen = choose(name, view(), budget, np.random.default_rng(1))
    assert isinstance(chosen, tuple)
    assert len(chosen) == len(set(chosen)) == budget
    assert set(chosen) <= set(POOL)


def test_needs_no_detector(name):
    chosen = choose(name, PoolView(POOL, LABELLED, None, view().truth), 24, np.random.default_rng(1))
    assert sorted(chosen) == sorted(POOL)


def test_same_seed_same_ids_and_other_seed_others(name):
    first, again = (choose(name, view(), 7, np.random.default_rng(1)) for _ in range(2))
    assert first == again
    flat = PoolView(POOL, LABELLED, None, dict.fromkeys((*POOL, *LABELLED), view().truth["a"]))
    assert len({choose(name, flat, 7, np.random.default_rng(seed)) for seed in range(5)}) > 1


def test_order_of_the_pool_does_not_matter(name):
    expected = choose(name, view(), 7, np.random.default_rng(1))
    for order in (POOL[::-1], POOL[9:] + POOL[:9]):
        assert choose(name, view(order), 7, np.random.default_rng(1)) == expected


def test_inputs_stay_as_they_are(name):
    given = view()
    before = copy.deepcopy(given)
    choose(name, given, 7, np.random.default_rng(1))
    assert (given.pool, given.labelled) == (before.pool, before.labelled)
    np.testing.assert_array_equal(given.inspection.embedding, before.inspection.embedding)
    assert given.truth.keys() == before.truth.keys()
    for image_id, boxes in given.truth.items():
        np.testing.assert_array_equal(boxes.labels, before.truth[image_id].labels)


@pytest.mark.parametrize("budget", [0, 25])
def test_too_small_a_pool_is_refused(name, budget):
    with pytest.raises(ValueError, match=f"expected a budget from 1 to the 24 images of the pool, got {budget}"):
        choose(name, view(), budget, np.random.default_rng(1))


@pytest.mark.parametrize("pool", [("p00", "p01", "p01"), ("p00", "a")])
def test_pool_with_labelled_or_repeated_images_is_refused(name, pool):
    with pytest.raises(ValueError, match="expected a pool of distinct images that are not labelled"):
        choose(name, view(pool), 1, np.random.default_rng(1))


def test_unknown_strategy():
    with pytest.raises(ValueError, match="expected a strategy of random, balanced_entropy, rare_first, got 'best'"):
        choose("best", view(), 1, np.random.default_rng(1))
