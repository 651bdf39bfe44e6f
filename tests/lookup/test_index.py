import numpy as np
import pytest

from mgral.lookup.index import clusters, nearest


def test_clusters_are_found_again_and_the_seed_decides():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 20)
    points = np.array([[0.0, 0], [9, 0], [0, 9]])[truth] + rng.normal(scale=0.1, size=(60, 2))
    labels = clusters(points, 3, seed=1)
    assert all(len(set(labels[truth == one])) == 1 for one in range(3))
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
