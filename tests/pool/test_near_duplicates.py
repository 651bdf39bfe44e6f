"""Which images of a pool are left when those that look alike are passed over."""

import numpy as np
import pytest

from mgral.pool import near_duplicates
from mgral.pool.inspection import Inspection
from mgral.pool.near_duplicates import NEAR, distinct


def seen(points):
    ids = tuple(points)
    return Inspection(ids, np.array(list(points.values()), np.float32), np.zeros((len(ids), 0, 0), np.float32),
                      [])


def scattered(count, seed=0):
    rng = np.random.default_rng(seed)
    scenes = rng.normal(size=(count // 3, 8))
    return {f"i{row:04d}": scenes[rng.integers(len(scenes))] + rng.normal(size=8) / 30 for row in range(count)}


def oracle(points, pool, labelled):
    """Image by image."""
    everything = list(points.values())
    usual = np.sqrt(np.mean([np.sum((a - b) ** 2) for a in everything for b in everything]))
    kept = []
    for image_id in sorted(pool):
        if all(np.linalg.norm(points[image_id] - points[other]) >= NEAR * usual for other in [*labelled, *kept]):
            kept.append(image_id)
    return tuple(kept)


@pytest.mark.parametrize("seed", range(3))
def test_the_first_of_those_that_look_alike_is_kept(seed):
    points = scattered(60, seed)
    pool, labelled = tuple(points)[10:], tuple(points)[:10]
    kept = distinct(seen(points), pool[::-1], labelled, 1)
    assert kept == oracle(points, pool, labelled)
    assert 5 < len(kept) < 40


def test_in_clusters_as_in_one(monkeypatch):
    points = scattered(400)
    pool, labelled = tuple(points)[20:], tuple(points)[:20]
    whole = distinct(seen(points), pool, labelled, 1)
    monkeypatch.setattr(near_duplicates, "CELL", 50)
    monkeypatch.setattr(near_duplicates, "BLOCK", 64)
    apart = distinct(seen(points), pool, labelled, 1)
    assert set(whole) <= set(apart)
    assert len(apart) <= 1.2 * len(whole)


def test_a_budget_that_needs_them_gets_the_farthest_back():
    points = {"a": (0.0, 0), "b": (0.1, 0), "c": (0.3, 0), "d": (9.0, 0), "e": (-9.0, 0), "known": (0, 9.0)}
    pool = tuple("abcde")
    assert distinct(seen(points), pool, ("known",), 3) == ("a", "d", "e")
    assert distinct(seen(points), pool, ("known",), 4) == ("a", "c", "d", "e")
    assert distinct(seen(points), pool, ("known",), 9) == pool


@pytest.mark.parametrize("points", [{name: () for name in "abc"}, {name: (1.0, 2.0) for name in "abc"}])
def test_an_embedding_that_says_nothing_keeps_all(points):
    assert distinct(seen(points), tuple("abc"), (), 1) == ("a", "b", "c")


def test_labelled_images_that_nobody_looked_at_do_not_count():
    points = {"a": (0.0, 0), "b": (5.0, 0)}
    assert distinct(seen(points), ("a", "b"), ("elsewhere",), 1) == ("a", "b")
