"""What is made of boxes and images that a reader found, whatever the format: counted, never guessed, never lost."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgral.data.formats.checking import Rules, dataset_of
from mgral.data.formats.folder import Folder
from mgral.data.formats.reading import Reading
from mgral.data.headers import Header
from mgral.findings import Findings
from tests.data.test_coco_cases import BOX, base, boxes, changed, described

GROUPED = [{"id": 0, "name": "cells", "supercategory": "none"}, {"id": 1, "name": "cell", "supercategory": "cells"},
           {"id": 2, "name": "rare", "supercategory": "cells"}]


def with_boxes(*bboxes) -> dict:
    return base() | {"annotations": [{"image_id": 1, "category_id": 1, "bbox": list(bbox)} for bbox in bboxes]}


def test_a_group_that_the_settings_name_is_a_class(tmp_path):
    data = described(tmp_path, base() | {"categories": GROUPED}, classes=("cells", "cell", "rare"))
    assert (data["classes"], boxes(data)) == (["cells", "cell", "rare"], [BOX])
    assert not any("left out" in note for note in data["notes"])


def test_a_group_may_be_called_like_one_of_its_classes(tmp_path):
    categories = [{"id": 0, "name": "cell", "supercategory": "none"},
                  {"id": 1, "name": "cell", "supercategory": "cell"}]
    data = described(tmp_path, base() | {"categories": categories})
    assert (data["classes"], boxes(data)) == (["cell"], [BOX])


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_group_is_one_in_any_order_and_of_any_depth(tmp_path, order):
    categories = [{"id": 7, "name": "thing", "supercategory": "thing"},
                  {"id": 5, "name": "animal", "supercategory": "thing"},
                  {"id": 1, "name": "cell", "supercategory": "animal"}]
    data = described(tmp_path, base() | {"categories": [categories[row] for row in order]})
    assert (data["classes"], boxes(data)) == (["cell"], [BOX])


def test_a_group_that_a_box_of_another_file_uses_stays(tmp_path):
    for name, category in (("train", 1), ("val", 0)):
        content = base() | {"categories": GROUPED}
        content["images"][0]["file_name"] = f"{name}.jpg"
        content["annotations"][0]["category_id"] = category
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    data = described(tmp_path, None, images=("train.jpg", "val.jpg"))
    assert data["problems"] == []
    assert data["classes"] == ["cells", "cell", "rare"]
    assert not any("left out" in note for note in data["notes"])


@pytest.mark.parametrize("bbox", [(5, 5, 0, 8), (30, 5, 30, 8), (float("nan"), 5, 10, 8), "x", None])
def test_an_image_with_a_refused_box_is_not_called_empty(tmp_path, bbox):
    data = described(tmp_path, changed(lambda c: c["annotations"][0].update(bbox=bbox)))
    assert len(data["problems"]) == 1
    assert data["images"]["images/a.jpg"]["boxes"] is None
    assert not any("have no box" in note for note in data["notes"])


@pytest.mark.parametrize(("bbox", "kept"), [((5, 5, 0, 8), None), ((float("nan"), 5, 10, 8), None),
                                            ((30, 5, 30, 8), [[30, 5, 40, 13, "cell"]])])
def test_repair_makes_no_negatives(tmp_path, bbox, kept):
    data = described(tmp_path, with_boxes(bbox), invalid_boxes="repair")
    assert boxes(data) == kept
    assert any("counts as not annotated" in note for note in data["notes"]) == (kept is None)
    assert boxes(described(tmp_path, with_boxes(bbox, (5, 5, 10, 8)), invalid_boxes="repair"))[-1] == BOX


def test_faults_of_a_kind_are_counted(tmp_path):
    data = described(tmp_path, with_boxes(*[(30, 5, 30, 8)] * 500))
    assert len(data["problems"]) == 3
    assert data["problems"][-1].endswith("(and 497 more like this)")
    data = described(tmp_path, with_boxes(*[(30, 5, 30, 8)] * 500), invalid_boxes="repair")
    assert sum("clipped to" in note for note in data["notes"]) == 1
    assert any("(and 499 more like this)" in note for note in data["notes"])
    data = described(tmp_path, with_boxes(*[(5, 5, 10, 8)] * 500), classes=("Cell",))
    assert "(and 497 more like this)" in data["problems"][-1]
    assert "did you mean" in data["problems"][0]


def test_many_classes_are_not_listed_all(tmp_path):
    categories = [{"id": number, "name": f"class {number}"} for number in range(1, 200)]
    data = described(tmp_path, base() | {"categories": categories}, classes=("klass 1",))
    assert all(len(problem) < 1000 for problem in data["problems"])
    assert "and 169 more" in data["problems"][0]


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=5), data=st.data(),
       repair=st.booleans())
def test_what_is_kept_lies_in_its_image(tmp_path_factory, sizes, data, repair):
    reading = Reading(Folder.of(tmp_path_factory.getbasetemp(), []), Findings(), repair=repair,
                      classes={"a": 1, "b": 2})
    for row in range(len(sizes)):
        reading.image(f"{row}.jpg", f"image {row}")
    corner = st.floats(-70, 70)
    found = data.draw(st.lists(st.tuples(st.integers(0, len(sizes) - 1), st.sampled_from("ab"), corner, corner, corner,
                                         corner), max_size=12))
    for row, label, *corners in found:
        reading.box(row, label, tuple(corners), f"box of {row}")
    headers = {f"{row}.jpg": Header(*size, 1, None, "") for row, size in enumerate(sizes)}
    dataset = dataset_of(reading, headers, Rules(repair))
    lost = len(found) - sum(map(len, dataset.boxes.values()))
    for row, (width, height) in enumerate(sizes):
        kept = dataset.boxes.get(f"{row}.jpg")
        of_image = [entry for entry in found if entry[0] == row]
        assert kept is not None or of_image, "an image without boxes stays annotated and empty"
        if kept is not None:
            assert (kept.xyxy >= 0).all()
            assert (kept.xyxy[:, 2:] <= np.array([width, height], np.float32)).all()
            assert (kept.xyxy[:, 2:] > kept.xyxy[:, :2]).all()
            expected = [dataset.classes.index(label) for _, label, *_ in of_image]
            assert repair or len(kept) < len(of_image) or kept.labels.tolist() == expected
    assert repair or reading.findings.refused == lost
