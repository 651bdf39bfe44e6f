"""What people changed of the boxes that they were given."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mgral.annotation.changes import Changes, as_boxes, changes_of
from mgral.data.dataset import Boxes
from mgral.pool.inspection import Detections

BEFORE = Boxes.of([(0, 0, 20, 20), (30, 0, 50, 20), (60, 60, 90, 90)], [0, 1, 0])


def counted(after: Boxes, before: Boxes = BEFORE) -> Changes:
    return changes_of({"a.jpg": before}, {"a.jpg": after}, ["a.jpg"])


@pytest.mark.parametrize(("xyxy", "labels", "counts"), [
    ([(0, 0, 20, 20), (30, 0, 50, 20), (60, 60, 90, 90)], [0, 1, 0], (3, 0, 0, 0, 0)),
    ([(60, 60, 90, 90), (30, 0, 50, 20), (0, 0, 20, 20)], [0, 1, 0], (3, 0, 0, 0, 0)),  # in another order
    ([(0.5, 0, 20, 20.9), (30, 0, 50, 20), (60, 60, 90, 90)], [0, 1, 0], (3, 0, 0, 0, 0)),  # rounded by a tool
    ([(3, 0, 23, 20), (30, 0, 50, 20), (60, 60, 90, 90)], [0, 1, 0], (2, 1, 0, 0, 0)),
    ([(0, 0, 20, 20), (30, 0, 50, 20), (60, 60, 90, 90)], [1, 1, 0], (2, 0, 1, 0, 0)),
    ([(3, 0, 23, 20), (30, 0, 50, 20), (60, 60, 90, 90)], [1, 1, 0], (2, 0, 1, 0, 0)),
    ([(0, 0, 20, 20)], [0], (1, 0, 0, 2, 0)),
    ([(0, 0, 20, 20), (30, 0, 50, 20), (60, 60, 90, 90), (0, 70, 9, 80)], [0, 1, 0, 1], (3, 0, 0, 0, 1)),
    ([(15, 0, 35, 20), (30, 0, 50, 20), (60, 60, 90, 90)], [0, 1, 0], (2, 0, 0, 1, 1)),  # too far to be the same
    ([], [], (0, 0, 0, 3, 0))])
def test_boxes_are_paired_by_place(xyxy, labels, counts):
    assert counted(Boxes.of(xyxy, labels)) == Changes(*counts)


def test_of_two_in_one_place_the_one_of_its_class_is_the_same():
    before = Boxes.of([(0, 0, 20, 20), (1, 0, 21, 20)], [0, 1])
    assert counted(Boxes.of([(1, 0, 21, 20), (0, 0, 20, 20)], [1, 0]), before) == Changes(kept=2)


def test_an_image_that_went_out_without_boxes():
    assert changes_of({}, {"a.jpg": BEFORE}, ["a.jpg"]) == Changes(added=3)


def test_the_sum_and_the_words():
    changes = Changes(1, 2, 3, 4, 5) + Changes(1, 1, 1, 1, 1)
    assert changes.in_words() == "2 kept, 3 moved, 4 relabelled, 5 deleted, 6 added"
    assert not changes.untouched
    assert Changes(kept=4).untouched
    assert not Changes().untouched, "nothing to look at is no sign of not having looked"


def test_predictions_as_boxes():
    found = Detections(BEFORE.xyxy, np.array([0.9, 0.8, 0.7], np.float32), BEFORE.labels)
    assert changes_of(as_boxes({"a.jpg": found}), {"a.jpg": BEFORE}, ["a.jpg"]).untouched


box = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(2, 40), st.integers(2, 40)).map(
    lambda at: (at[0], at[1], at[0] + at[2], at[1] + at[3]))
boxes = st.lists(st.tuples(box, st.integers(0, 2)), max_size=8).map(
    lambda rows: Boxes.of([corners for corners, _ in rows], [label for _, label in rows]))


@given(boxes, boxes)
def test_every_box_is_counted_once(before, after):
    changes = counted(after, before)
    assert changes.kept + changes.moved + changes.relabelled + changes.deleted == len(before)
    assert changes.kept + changes.moved + changes.relabelled + changes.added == len(after)
    assert counted(before, before) == Changes(kept=len(before))
