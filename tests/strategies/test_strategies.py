"""What each strategy does beyond the contract that all of them pass."""

import numpy as np
import pytest

from mgral.data.dataset import Boxes
from mgral.inspection import Inspection
from mgral.strategies import PoolView, choose
from tests.small_data import blank_dataset


def test_random_is_uniform():
    view = PoolView(tuple("abcdef"), ())
    rng = np.random.default_rng(0)
    counts = np.zeros(6)
    for _ in range(3000):
        for image_id in choose("random", view, 2, rng):
            counts["abcdef".index(image_id)] += 1
    np.testing.assert_allclose(counts / 3000, 1 / 3, atol=0.03)


def test_rare_first_takes_the_rare_classes_first():
    truth = blank_dataset({"common1": [0], "common2": [0, 0], "rare": [1], "rarest": [2], "empty": [],
                           "known": [0, 0, 0, 1]}).boxes
    view = PoolView(("common1", "common2", "rare", "rarest", "empty"), ("known",), None, truth)
    assert choose("rare_first", view, 5, np.random.default_rng(0)) == ("rarest", "rare", "common2", "common1", "empty")


def test_rare_first_counts_what_it_has_chosen_already():
    truth = blank_dataset({"three": [0, 0, 0], "two": [0, 0], "other": [1]}).boxes
    view = PoolView(("three", "two", "other"), (), None, truth)
    assert choose("rare_first", view, 3, np.random.default_rng(0)) == ("three", "other", "two")


def test_rare_first_does_not_count_what_is_ignored():
    truth = {"crowd": Boxes.of([(1, 1, 9, 9)] * 5, [1] * 5, [True] * 5), "one": Boxes.of([(1, 1, 9, 9)], [0])}
    view = PoolView(("crowd", "one"), (), None, truth)
    assert choose("rare_first", view, 1, np.random.default_rng(0)) == ("one",)


def inspected(embedding):
    ids = tuple(embedding)
    return Inspection(ids, np.array([embedding[one] for one in ids], dtype=np.float32), np.zeros((len(ids), 1, 1)), ())


def test_rare_first_leaves_near_copies_to_the_end():
    truth = blank_dataset({"rare": [1, 1], "copy": [1, 1], "common": [0], "known": [0], "twin": [0, 0]}).boxes
    embedding = {"rare": (0, 0), "copy": (0, 0.1), "common": (9, 0), "known": (0, 9), "twin": (0.1, 9)}
    view = PoolView(("rare", "copy", "common", "twin"), ("known",), inspected(embedding), truth)
    chosen = choose("rare_first", view, 4, np.random.default_rng(0))
    assert {chosen[0]} < {"rare", "copy"}
    assert chosen[1] == "common"


def test_rare_first_needs_the_truth():
    for truth in (None, {"a": Boxes.of()}):
        with pytest.raises(ValueError, match="expected the true boxes of the whole pool, got a view without them"):
            choose("rare_first", PoolView(("a", "b"), (), None, truth), 1, np.random.default_rng(0))
