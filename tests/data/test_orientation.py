"""Boxes of pictures that EXIF turns: told by the sizes and the boxes of the set, never by chance."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mgral.config import DataConfig
from mgral.data.description import as_data
from mgral.data.formats import read_dataset
from mgral.data.formats.orientation import upright
from tests.data.test_coco_cases import BOX, base, boxes, changed, described

STORED, SEEN = (40, 30), (30, 40)


def photo(path: Path, orientation: int, width: int = 40, height: int = 30) -> None:
    """Stored as width × height, with an EXIF orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)


@pytest.mark.parametrize(("bbox", "size", "expected"), [
    ([5, 25, 10, 10], (40, 30), [5, 25, 15, 35]),  # fits the upright picture (30 × 40) only
    ([30, 5, 8, 10], (40, 30), [15, 30, 25, 38]),  # fits the stored one only: turned
    ([5, 25, 10, 10], (30, 40), [5, 25, 15, 35])])  # the size is the upright one's: nothing to decide
def test_a_size_before_exif_rotation_is_decided_by_the_boxes(tmp_path, bbox, size, expected):
    photo(tmp_path / "images" / "a.jpg", 6)
    content = changed(lambda c: (c["annotations"][0].update(bbox=bbox),
                                 c["images"][0].update(width=size[0], height=size[1])))
    data = described(tmp_path, content)
    assert boxes(data) == [[*expected, "cell"]]
    assert (data["images"]["images/a.jpg"]["width"], data["images"]["images/a.jpg"]["height"]) == (30, 40)


def test_boxes_that_fit_both_pictures_are_asked_for(tmp_path):
    photo(tmp_path / "images" / "a.jpg", 6)
    (problem,) = described(tmp_path, base())["problems"]
    assert "set data.orientation to upright" in problem
    assert "stored" in problem
    assert boxes(described(tmp_path, base(), orientation="upright")) == [BOX]
    assert boxes(described(tmp_path, base(), orientation="stored")) == [[17, 5, 25, 15, "cell"]]


def test_one_box_decides_for_the_set(tmp_path):
    content = base()
    for number in range(1, 4):
        photo(tmp_path / "images" / f"{number}.jpg", 6)
    content["images"] = [{"id": number, "file_name": f"{number}.jpg", "width": 40, "height": 30}
                         for number in (1, 2, 3)]
    content["annotations"] = [{"id": number, "image_id": number, "category_id": 1, "bbox": bbox}
                              for number, bbox in enumerate(([5, 5, 10, 8], [5, 5, 10, 8], [5, 25, 10, 10]), start=1)]
    data = described(tmp_path, content, images=())
    assert boxes(data, "images/1.jpg") == [BOX]
    assert sum("before EXIF rotation" in note for note in data["notes"]) == 1


def phones(root: Path, images, **config) -> dict:
    """A set of pictures stored as 40 × 30: name, orientation, annotated size or None, and boxes of each."""
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cell"}]}
    for number, (name, orientation, size, bboxes) in enumerate(images, start=1):
        photo(root / name, orientation)
        sides = {"width": size[0], "height": size[1]} if size else {}
        content["images"].append({"id": number, "file_name": name, **sides})
        content["annotations"] += [{"image_id": number, "category_id": 1, "bbox": bbox} for bbox in bboxes]
    (root / "labels.json").write_text(json.dumps(content))
    return as_data(read_dataset(DataConfig(**config), root))


def test_a_tool_that_knows_no_exif_knows_none_of_pictures_turned_by_a_half(tmp_path):
    images = [("a.jpg", 6, STORED, [[30, 5, 8, 10]]), ("b.jpg", 3, STORED, [[1, 2, 3, 4]]),
              ("c.jpg", 2, STORED, [[1, 2, 3, 4]]), ("d.jpg", 4, STORED, [[1, 2, 3, 4]]),
              ("e.jpg", 1, STORED, [[1, 2, 3, 4]])]
    data = phones(tmp_path / "a", images)
    assert [boxes(data, f"{name}.jpg")[0][:4] for name in "bcde"] == [
        [36, 24, 39, 28], [36, 2, 39, 6], [1, 24, 4, 28], [1, 2, 4, 6]]
    assert sum("boxes of 3 images that EXIF turns by a half or mirrors" in note for note in data["notes"]) == 1
    mixed = phones(tmp_path / "b", [*images, ("f.jpg", 8, SEEN, [[1, 2, 3, 4]])])
    assert boxes(mixed, "b.jpg")[0][:4] == [1, 2, 4, 6], "this tool knows of EXIF elsewhere"
    alone = phones(tmp_path / "c", images[1:])
    assert boxes(alone, "b.jpg")[0][:4] == [1, 2, 4, 6], "nothing tells otherwise"


def test_sizes_that_are_not_said_mean_upright_unless_the_settings_say_otherwise(tmp_path):
    images = [("a.jpg", 6, None, [[30, 5, 8, 10]])]
    (problem,) = phones(tmp_path, images)["problems"]
    assert "inside 30 × 40 pixels" in problem
    assert boxes(phones(tmp_path, images, orientation="stored"), "a.jpg")[0][:4] == [15, 30, 25, 38]


def test_boxes_that_fit_neither_picture(tmp_path):
    data = phones(tmp_path, [("a.jpg", 6, STORED, [[30, 5, 8, 10]]), ("b.jpg", 6, STORED, [[5, 25, 10, 10]])])
    (problem,) = data["problems"]
    assert "fit neither" in problem
    assert [data["images"][name]["boxes"] for name in ("a.jpg", "b.jpg")] == [None, None]


def test_pictures_without_boxes_decide_nothing(tmp_path):
    data = phones(tmp_path, [("a.jpg", 6, STORED, [])])
    assert boxes(data, "a.jpg") == []
    assert any("which have no box" in note for note in data["notes"])


def test_shares_of_a_picture_are_those_of_the_one_that_they_were_drawn_on(tmp_path):
    photo(tmp_path / "a.jpg", 6)
    (tmp_path / "a.txt").write_text("0 0.875 0.5 0.25 0.5\n")
    (tmp_path / "classes.txt").write_text("cell\n")
    assert boxes(as_data(read_dataset(DataConfig(), tmp_path)), "a.jpg") == [[22.5, 10, 30, 30, "cell"]]
    stored = as_data(read_dataset(DataConfig(orientation="stored"), tmp_path))
    assert boxes(stored, "a.jpg") == [[7.5, 30, 22.5, 40, "cell"]]


@settings(max_examples=80, deadline=None)
@given(orientation=st.integers(1, 8), x=st.integers(0, 30), y=st.integers(0, 20),
       sides=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_boxes_turn_as_pixels_do(orientation, x, y, sides):
    stored = np.zeros((30, 40), np.uint8)
    stored[y:y + sides[1], x:x + sides[0]] = 255
    turned = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: np.transpose,
              6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).T, 8: np.rot90}[orientation](stored)
    rows, columns = np.nonzero(turned)
    expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    height, width = turned.shape
    assert upright(np.array([x, y, x + sides[0], y + sides[1]]), orientation, width, height).tolist() == expected


@settings(max_examples=25, deadline=None)
@given(orientation=st.sampled_from([5, 6, 7, 8]), x=st.integers(31, 35), y=st.integers(0, 20),
       sides=st.tuples(st.integers(1, 5), st.integers(1, 9)))
def test_any_box_that_fits_the_stored_picture_only_is_turned(tmp_path_factory, orientation, x, y, sides):
    data = phones(tmp_path_factory.mktemp("turned"), [("a.jpg", orientation, STORED, [[x, y, *sides]])])
    stored = np.array([x, y, x + sides[0], y + sides[1]], float)
    assert boxes(data, "a.jpg")[0][:4] == upright(stored, orientation, *SEEN).tolist()
