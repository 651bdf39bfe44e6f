import pytest

from mgral.annotation.oracle import Oracle, SimulatedOracle
from mgral.data.dataset import Dataset
from mgral.errors import DataError
from tests.small_data import blank_dataset


def test_reveals_what_is_asked_for_in_order():
    dataset = blank_dataset({"a": [0], "b": [], "c": [1, 1]})
    oracle: Oracle = SimulatedOracle(dataset)
    boxes = oracle.annotate(["c", "a"])
    assert tuple(boxes) == ("c", "a")
    assert boxes["c"] is dataset.boxes["c"]


def test_refuses_images_that_nobody_has_annotated():
    dataset = blank_dataset({"a": [0], "b": [], "c": [1]})
    partly = Dataset(dataset.root, dataset.classes, dataset.category_ids, dataset.images, {"a": dataset.boxes["a"]})
    with pytest.raises(DataError, match="image 'b': expected true boxes to reveal, got an image without") as caught:
        SimulatedOracle(partly).annotate(["a", "b", "c"])
    assert len(caught.value.problems) == 2
