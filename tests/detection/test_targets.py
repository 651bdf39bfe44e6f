import numpy as np
import torch

from mgral.data.dataset import Boxes
from mgral.detection.targets import Target, moved


def test_boxes_become_canvas_pixels_and_ignored_ones_stand_apart():
    target = Target.of(Boxes.of([(0, 0, 10, 20), (5, 5, 15, 15)], [1, 0], [False, True]), 0.5)
    assert target.xyxy.tolist() == [[0, 0, 5, 10]]
    assert target.labels.tolist() == [1]
    assert target.ignore.tolist() == [[2.5, 2.5, 7.5, 7.5]]
    assert target.xyxy.dtype == torch.float32
    assert target.labels.dtype == torch.int64


def shift(x, y):
    return torch.tensor([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def test_boxes_are_moved_clipped_and_dropped_when_nearly_gone():
    target = Target.of(Boxes.of([(0, 0, 10, 10), (20, 20, 30, 30)], [0, 1]), 1.0)
    empty = Target.of(Boxes.of(), 1.0)
    matrices = torch.stack([shift(-6, 0), shift(5, 5), shift(-8, 0)])
    first, second, third = moved([target, empty, target], matrices, (40, 40))
    assert first.xyxy.tolist() == [[0, 0, 4, 10], [14, 20, 24, 30]]
    assert len(second) == 0
    assert third.xyxy.tolist() == [[12, 20, 22, 30]]  # a fifth of the other was left
    assert third.labels.tolist() == [1]


def test_slivers_are_dropped():
    target = Target.of(Boxes.of([(0, 0, 4, 10)], [0]), 1.0)
    assert len(moved([target], shift(-2.5, 0)[None], (40, 40))[0]) == 0


def test_ignored_regions_move_along_without_being_dropped():
    target = Target.of(Boxes.of([(0, 0, 10, 10)], [0], [True]), 1.0)
    assert moved([target], shift(-9, 0)[None], (40, 40))[0].ignore.tolist() == [[0, 0, 1, 10]]


def test_source_is_left_as_it_was():
    boxes = Boxes.of([(0, 0, 10, 10)], [0])
    moved([Target.of(boxes, 1.0)], shift(3, 3)[None], (40, 40))
    assert np.array_equal(boxes.xyxy, [[0, 0, 10, 10]])
