import numpy as np
import pytest

from mgral.pool import neighbours as index
from mgral.pool.neighbours import Neighbours, clusters, means, nearest


def test_clusters_are_found_again_and_the_seed_decides():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 20)
    points = np.array([[0.0, 0], [9, 0], [0, 9]])[truth] + rng.normal(scale=0.1, size=(60, 2))
    labels = clusters(points, 3, seed=1)
    assert all(len(set(labels[truth == label])) == 1 for label in range(3))
    assert len(set(labels)) == 3
    np.testing.assert_array_equal(labels, clusters(points, 3, seed=1))


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.eye(3)])
def test_no_more_clusters_than_points(points):
    assert (clusters(points, 10, seed=0) < len(points)).all()


def test_the_nearest_by_hand():
    distance, row = nearest(np.array([[0.0, 0], [3, 4]]), np.array([[0.0, 1], [3, 4], [9, 9]]))
    assert distance.tolist() == [1, 0]
    assert row.tolist() == [0, 1]


def test_any_seed_will_do():
    points = np.random.default_rng(0).normal(size=(30, 4))
    np.testing.assert_array_equal(clusters(points, 3, seed=2**62), clusters(points, 3, seed=2**62))


@pytest.mark.parametrize(("queries", "others", "offset"), [(3, 5, 0), (19, 300, 0), (3000, 700, 0), (500, 70, 1000)])
def test_exact_search_is_brute_force_and_that_of_faiss_up_to_ties(monkeypatch, queries, others, offset):
    rng = np.random.default_rng(queries)
    points, known = (offset + rng.normal(size=(size, 24)).astype(np.float32) for size in (queries, others))
    slow = np.stack([np.linalg.norm(known.astype(float) - point, axis=1) for point in points])
    distance, row = nearest(points, known)
    np.testing.assert_allclose(distance, slow.min(axis=1), rtol=1e-6)
    np.testing.assert_allclose(slow[np.arange(queries), row], slow.min(axis=1), rtol=1e-6)
    # The index that goes to the GPUs where there are some.
    monkeypatch.setattr(index.faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(index.faiss, "index_cpu_to_all_gpus", lambda cpu_index: cpu_index, raising=False)
    monkeypatch.setattr(index, "WORTH_A_GPU", 1)
    by_faiss = Neighbours(known, queries)
    assert isinstance(by_faiss._index, index.faiss.IndexFlatL2)
    np.testing.assert_allclose(by_faiss(points)[0], distance, rtol=1e-6)


def test_near_duplicates_keep_their_distance():
    points = np.random.default_rng(0).normal(size=(50, 256)).astype(np.float32) * 10 + 100
    moved = points.copy()
    moved[:, 0] += 0.25
    distance, row = nearest(moved, points)
    assert row.tolist() == list(range(50))
    np.testing.assert_allclose(distance, 0.25, rtol=1e-4)


@pytest.mark.parametrize("products", [1, 70, 10**6])
def test_blocks_of_products_change_nothing(monkeypatch, products):
    points = np.random.default_rng(0).normal(size=(40, 6))
    whole = nearest(points, points[:7] + 1)
    monkeypatch.setattr(index, "PRODUCTS", products)
    np.testing.assert_array_equal(nearest(points, points[:7] + 1), whole)
    assert [len(array) for array in nearest(points[:0], points[:7])] == [0, 0]


def test_every_point_is_in_the_cluster_of_its_nearest_mean():
    points = np.random.default_rng(0).normal(size=(200, 4))
    centres = means(points, 7, seed=3)
    slow = ((points[:, None] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(clusters(points, 7, seed=3), slow)


@pytest.mark.parametrize(("gpus", "worth", "moved"), [(0, 1, 0), (2, 1, 1), (2, 10**9, 0)])
def test_the_search_goes_to_the_gpus_where_there_are_some_and_the_work_is_worth_it(monkeypatch, gpus, worth, moved):
    """Which way is taken; a GPU itself is not tried here."""
    on_gpus = []
    monkeypatch.setattr(index.faiss, "get_num_gpus", lambda: gpus)
    monkeypatch.setattr(index.faiss, "index_cpu_to_all_gpus",
                        lambda cpu_index: on_gpus.append(cpu_index) or cpu_index, raising=False)
    monkeypatch.setattr(index, "WORTH_A_GPU", worth)
    assert Neighbours(np.eye(3), 10)(np.eye(3))[1].tolist() == [0, 1, 2]
    assert len(on_gpus) == moved
