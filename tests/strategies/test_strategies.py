"""What each strategy does beyond the contract that all of them pass."""

import numpy as np
import pytest

from mgral.data.dataset import Boxes
from mgral.pool.inspection import Inspection
from mgral.strategies import PoolView, chosen, get
from tests.small_data import blank_dataset


def choose(name, view, budget, rng):
    return chosen(get(name), view, budget, rng).ids


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
    view = PoolView(("common1", "common2", "rare", "rarest", "empty"), ("known",), truth=truth)
    assert choose("rare_first", view, 5, np.random.default_rng(0)) == ("rarest", "rare", "common2", "common1", "empty")


def test_rare_first_counts_what_it_has_chosen_already():
    truth = blank_dataset({"three": [0, 0, 0], "two": [0, 0], "other": [1]}).boxes
    view = PoolView(("three", "two", "other"), (), truth=truth)
    assert choose("rare_first", view, 3, np.random.default_rng(0)) == ("three", "other", "two")


def test_rare_first_does_not_count_what_is_ignored():
    truth = {"crowd": Boxes.of([(1, 1, 9, 9)] * 5, [1] * 5, [True] * 5), "one": Boxes.of([(1, 1, 9, 9)], [0])}
    view = PoolView(("crowd", "one"), (), truth=truth)
    assert choose("rare_first", view, 1, np.random.default_rng(0)) == ("one",)


def inspected(embedding):
    ids = tuple(embedding)
    rows = np.array([embedding[image_id] for image_id in ids], dtype=np.float32)
    return Inspection(ids, rows, np.zeros((len(ids), 1, 1)), ())


def test_rare_first_needs_the_truth():
    for truth in (None, {"a": Boxes.of()}):
        with pytest.raises(ValueError, match="expected the true boxes of the pool, got a pool without"):
            choose("rare_first", PoolView(("a", "b"), (), truth=truth), 1, np.random.default_rng(0))


def test_coreset_takes_the_farthest_from_all_that_is_labelled_or_chosen():
    embedding = {"known": (0, 0), "near": (1.5, 0), "far": (0, 9), "beside far": (0, 8), "middle": (5, 0)}
    view = PoolView(("near", "far", "beside far", "middle"), ("known",), inspected(embedding))
    assert choose("coreset", view, 3, np.random.default_rng(0)) == ("far", "middle", "near")


def test_k_centre_against_a_slow_oracle():
    from mgral.strategies.coreset import k_centre

    rng = np.random.default_rng(1)
    points, covered = rng.normal(size=(40, 3)), rng.normal(size=(5, 3))
    rows, distances = k_centre(points, covered, 12)
    centres = list(covered)
    for row, distance in zip(rows, distances, strict=True):
        apart = [min(np.linalg.norm(point - centre) for centre in centres) for point in points]
        assert row == int(np.argmax(apart))
        assert distance == pytest.approx(apart[row], rel=1e-5)
        centres.append(points[row])
    barred = np.where(np.arange(40) < 20, -np.inf, 0.0)
    assert k_centre(points, covered, 5, barred)[0].min() >= 20
    assert k_centre(points, covered[:0], 2)[0][0] == 0
