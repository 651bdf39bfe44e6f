"""How many boxes somebody will have to draw."""

import numpy as np
import pytest

from mgral.data.dataset import Boxes
from mgral.pool.effort import affordable, expected_boxes
from mgral.pool.inspection import Detections, Inspection


def inspection_of(scores):
    found = tuple(Detections(np.zeros((len(of_image), 4), np.float32), np.array(of_image, np.float32),
                             np.zeros(len(of_image), np.int64)) for of_image in scores.values())
    count = len(scores)
    return Inspection(tuple(scores), np.zeros((count, 2), np.float32), np.zeros((count, 1, 1), np.float32), found)


@pytest.fixture
def seen():
    """Four images, with detections whose scores add up to 2, 1, 0.5 and 0."""
    return inspection_of({"a": [0.9, 0.6, 0.5], "b": [0.7, 0.3], "c": [0.5], "d": []})


def boxes(count):
    return Boxes.of([(0, 0, 9, 9)] * count, [0] * count)


def test_in_the_measure_of_what_is_labelled(seen):
    assert expected_boxes(seen, ["a", "c", "d"], {"b": boxes(3)}) == pytest.approx([6, 1.5, 0])
    assert expected_boxes(seen, ["a", "c"], {"a": boxes(1), "b": boxes(0), "d": boxes(2)}) == pytest.approx([2, 0.5])


def test_where_nothing_is_known_scores_are_taken_as_they_are(seen):
    assert expected_boxes(seen, ["a", "b"], {}) == pytest.approx([2, 1])
    assert expected_boxes(seen, ["a", "b"], {"d": boxes(2)}) == pytest.approx([2, 1])
    assert expected_boxes(seen, ["a", "b"], {"a": boxes(0)}) == pytest.approx([2, 1])


def test_detections_that_are_not_counted_elsewhere_are_not_here():
    seen = inspection_of({"a": [0.5] + [0.01] * 50})
    assert expected_boxes(seen, ["a"], {}) == pytest.approx([0.5])


@pytest.mark.parametrize(("budget", "count"), [(0.1, 1), (2, 1), (4.9, 1), (5, 3), (5.5, 3), (100, 4)])
def test_the_best_images_that_fit(budget, count):
    assert affordable(np.array([2.0, 3.0, 0.0, 1.0]), budget) == count
