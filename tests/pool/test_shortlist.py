import numpy as np
import pytest

from mgral.pool.near_duplicates import NEAR
from mgral.pool.shortlist import RANDOM, apportioned, shortlist


def pool(sizes=(2000, 500, 100, 20), dimensions=8, apart=14.0, seed=0):
    """Points (N, d) in well-separated clusters, and the cluster of each."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(sizes), dimensions))
    centres *= apart / np.linalg.norm(centres, axis=1, keepdims=True)
    cell = np.repeat(np.arange(len(sizes)), sizes)
    return (centres[cell] + rng.normal(size=(len(cell), dimensions))).astype(np.float32), cell


POINTS, CELL = pool()


def near(points):
    return NEAR * (2 * points.var(axis=0, dtype=float).sum()) ** 0.5


def without_chance(monkeypatch):
    monkeypatch.setattr("mgral.pool.shortlist.RANDOM", 0.0)


def test_rows_are_distinct_unlabelled_ascending_and_follow_the_seed():
    known = np.arange(0, 300, 3)
    rows = shortlist(POINTS, known, 200, 1)
    assert len(rows) == 200
    assert (np.diff(rows) > 0).all()
    assert not set(rows) & set(known)
    np.testing.assert_array_equal(rows, shortlist(POINTS, known[::-1], 200, 1))
    assert set(rows) != set(shortlist(POINTS, known, 200, 2))


@pytest.mark.parametrize("block", [1, 7, 1000, 10**6])
def test_blocks_decide_nothing(monkeypatch, block):
    signal, known = np.random.default_rng(0).random(len(POINTS)), np.arange(50)
    rows = shortlist(POINTS, known, 150, 0, signal)
    monkeypatch.setattr("mgral.pool.shortlist.BLOCK", block)
    np.testing.assert_array_equal(shortlist(POINTS, known, 150, 0, signal), rows)


def test_a_memory_map_gives_the_same(tmp_path):
    np.save(tmp_path / "points.npy", POINTS)
    mapped = np.load(tmp_path / "points.npy", mmap_mode="r")
    np.testing.assert_array_equal(shortlist(mapped, [1, 2], 100, 0), shortlist(POINTS, [1, 2], 100, 0))


def test_small_clusters_are_served_better_than_by_chance_and_large_ones_get_most():
    counts = sum(np.bincount(CELL[shortlist(POINTS, [], 200, seed)]) for seed in range(5)) / 5
    shares = counts / np.bincount(CELL)
    assert shares[3] > shares[2] > shares[1] > shares[0]
    assert counts.argmax() == 0


def test_what_is_labelled_already_gets_fewer_places():
    points, cell = pool((1000, 1000))
    known = np.flatnonzero(cell == 0)[::2]
    counts = np.bincount(cell[shortlist(points, known, 200, 0)])
    assert counts[1] > 2 * counts[0]


def test_the_most_novel_of_a_cluster_come_first(monkeypatch):
    """One cluster, no chance, no copies: the distances to the nearest labelled image, by brute force, decide."""
    without_chance(monkeypatch)
    monkeypatch.setattr("mgral.pool.near_duplicates.NEAR", 1e-6)
    monkeypatch.setattr("mgral.pool.shortlist.CELLS", 1)
    points, known = POINTS[CELL == 0], np.arange(40)
    distance = np.sqrt(((points[:, None] - points[known][None]) ** 2).sum(axis=2)).min(axis=1)
    np.testing.assert_array_equal(shortlist(points, known, 100, 0), np.sort(np.argsort(-distance)[:100]))


def test_a_signal_counts_as_much_as_novelty(monkeypatch):
    """Without labelled images novelty tells none apart: the signal alone decides, whatever its units."""
    without_chance(monkeypatch)
    monkeypatch.setattr("mgral.pool.near_duplicates.NEAR", 1e-6)
    monkeypatch.setattr("mgral.pool.shortlist.CELLS", 1)
    points = POINTS[CELL == 0]
    signal = np.random.default_rng(3).random(len(points))
    rows = shortlist(points, [], 100, 0, signal)
    np.testing.assert_array_equal(rows, np.sort(np.argsort(-signal)[:100]))
    np.testing.assert_array_equal(rows, shortlist(points, [], 100, 0, 1000 * signal**3))


def test_near_duplicates_are_passed_over(monkeypatch):
    without_chance(monkeypatch)
    copies = np.repeat(POINTS[CELL == 0][:300], 6, axis=0)
    copies += np.random.default_rng(0).normal(scale=1e-3, size=copies.shape).astype(np.float32)
    monkeypatch.setattr("mgral.pool.near_duplicates.NEAR", 0.02)
    monkeypatch.setattr("mgral.pool.shortlist.CANDIDATES", 10)
    rows = shortlist(copies, np.arange(6), 40, 0)
    assert len(set(rows // 6)) == 40
    assert 0 not in rows // 6, "the labelled image's copies"
    assert len(set(np.random.default_rng(0).choice(1794, 40, replace=False) // 6)) < 40, "chance would take some twice"


def test_no_image_is_ruled_out():
    """The copy of a labelled image has but the random share's chance."""
    points = POINTS[:100].copy()
    points[1] = points[0]
    taken = [1 in shortlist(points, [0], 30, seed) for seed in range(150)]
    assert 0.02 < np.mean(taken) < 0.25
    left = 99 - (30 - round(RANDOM * 30))
    assert round(RANDOM * 30) / left == pytest.approx(0.08, abs=0.005), "what it comes to at least"


def test_degenerate_pools():
    same = np.ones((20, 3), np.float32)
    assert len(shortlist(same, [0], 5, 0)) == 5
    assert len(shortlist(same, [], 20, 0)) == 20
    np.testing.assert_array_equal(shortlist(POINTS[:9], [4], 8, 0), [0, 1, 2, 3, 5, 6, 7, 8])
    assert len(shortlist(POINTS[:5], [], 1, 0)) == 1


def test_only_images_that_may_be_taken_are():
    pool = np.array([8, 1, 2, 3, 6])
    np.testing.assert_array_equal(shortlist(POINTS[:9], [4], 5, 0, pool=pool), np.sort(pool))
    assert set(shortlist(POINTS, [4], 30, 0, pool=np.arange(5, 60))) < set(range(5, 60))
    np.testing.assert_array_equal(shortlist(POINTS, [4], 30, 0, pool=np.setdiff1d(np.arange(len(POINTS)), [4])),
                                  shortlist(POINTS, [4], 30, 0))
    with pytest.raises(ValueError, match="expected a shortlist of 1 to 4 images, got 5"):
        shortlist(POINTS[:9], [8], 5, 0, pool=pool)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="expected a shortlist of 1 to 8 images, got 9"):
        shortlist(POINTS[:9], [4], 9, 0)
    with pytest.raises(ValueError, match=r"expected a signal of shape \(9,\), got \(8,\)"):
        shortlist(POINTS[:9], [4], 3, 0, np.zeros(8))


@pytest.mark.parametrize(("weights", "limits", "total", "expected"), [
    ([1, 1, 2], [9, 9, 9], 8, [2, 2, 4]), ([1, 1, 2], [9, 9, 3], 9, [3, 3, 3]),
    ([1, 1, 100], [5, 9, 1], 9, [4, 4, 1]), ([0, 0], [3, 3], 4, [2, 2]), ([0, 1], [9, 2], 5, [3, 2]),
    ([1, 1, 1], [5, 5, 5], 4, [2, 1, 1]), ([3, 1], [2, 2], 4, [2, 2])])
def test_places_by_hand(weights, limits, total, expected):
    assert apportioned(np.array(weights, float), np.array(limits), total).tolist() == expected


def test_places_add_up_within_their_limits():
    rng = np.random.default_rng(0)
    for _ in range(200):
        limits = rng.integers(0, 50, size=12)
        weights = rng.exponential(size=12) * (limits > 0)
        total = int(rng.integers(0, limits.sum() + 1))
        places = apportioned(weights, limits, total)
        assert places.sum() == total
        assert (places <= limits).all()
        free = places < limits
        if free.sum() > 1:  # what is not cut off is in proportion, within the rounding
            share = places[free] - weights[free] / weights[free].sum() * places[free].sum()
            assert np.abs(share).max() < 1.5
