"""What public fault reports say of COCO files: each kind is read as it is meant, or refused with the reason."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgral.config import DataConfig
from mgral.data.description import as_data
from mgral.data.formats import read_dataset
from tests.small_data import save_image


def base() -> dict:
    return {"images": [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 10, 8], "area": 80, "iscrowd": 0,
                             "segmentation": []}],
            "categories": [{"id": 1, "name": "cell"}]}


BOX = [5, 5, 15, 13, "cell"]


def described(root: Path, content, name: str = "labels.json", images=("images/a.jpg",), **config) -> dict:
    """What mgral makes of a folder with this file and these pictures."""
    for image in images:
        if not (root / image).exists():
            save_image(root / image, seed=len(image))
    if content is not None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return as_data(read_dataset(DataConfig(**config), root))


def boxes(data: dict, image: str = "images/a.jpg") -> list:
    assert data["problems"] == []
    return data["images"][image]["boxes"]


def changed(change) -> dict:
    content = base()
    change(content)
    return content


@pytest.mark.parametrize("change", [
    lambda c: (c["images"][0].update(id="0000001_d_05"), c["annotations"][0].update(image_id="0000001_d_05")),
    lambda c: (c["images"][0].update(id="7"), c["annotations"][0].update(image_id=7)),
    lambda c: (c["images"][0].update(id=7), c["annotations"][0].update(image_id=" 7")),
    lambda c: (c["images"][0].update(id=7.0), c["annotations"][0].update(image_id=7.0, category_id=1.0)),
    lambda c: (c["categories"][0].update(id="1"), c["images"][0].update(width=40.0, height="30")),
    lambda c: [c["annotations"][0].pop(key) for key in ("area", "iscrowd", "segmentation")],
    lambda c: (c["categories"][0].update(id=0), c["annotations"][0].update(category_id=0)),
    lambda c: (c["categories"][0].update(id=2147483647), c["annotations"][0].update(category_id=2147483647)),
    lambda c: c["annotations"][0].update(keypoints=[10, 10, 2, 0, 0, 0], num_keypoints=1),
    lambda c: c["annotations"][0].update(attributes={"occluded": False, "rotation": 0.0}),
    lambda c: c["images"][0].pop("width"), lambda c: (c["images"][0].pop("width"), c["images"][0].pop("height")),
    lambda c: c["categories"].append({"id": 9, "name": "unsure"}),
    lambda c: c.update(info={}, licenses=[]), lambda c: c["categories"][0].update(name=" cell ")])
def test_what_common_tools_write_is_read(tmp_path, change):
    assert boxes(described(tmp_path, changed(change))) == [BOX]


@settings(max_examples=25, deadline=None)
@given(image=st.one_of(st.integers(0, 2**40), st.text(st.characters(codec="utf-8"), min_size=1).map(str.strip).filter(
    bool)), category=st.integers(0, 2**31), as_float=st.booleans(), as_text=st.booleans())
def test_any_id_joins(tmp_path_factory, image, category, as_float, as_text):
    def spelled(value):
        return str(value) if as_text else float(value) if as_float and isinstance(value, int) else value

    def change(content):
        content["images"][0]["id"] = image
        content["categories"][0]["id"] = category
        content["annotations"][0].update(image_id=spelled(image), category_id=spelled(category))
    assert boxes(described(tmp_path_factory.mktemp("ids"), changed(change))) == [BOX]


def test_a_class_that_only_groups_others_is_left_out(tmp_path):
    content = base() | {"categories": [
        {"id": 0, "name": "cells", "supercategory": "none"}, {"id": 1, "name": "cell", "supercategory": "cells"},
        {"id": 2, "name": "rare", "supercategory": "cells"}]}
    data = described(tmp_path, content)
    assert (data["classes"], boxes(data)) == (["cell", "rare"], [BOX])
    assert sum("'cells' is left out" in note for note in data["notes"]) == 1
    content["annotations"][0]["category_id"] = 0
    data = described(tmp_path, content)
    assert data["classes"] == ["cells", "cell", "rare"], "a class that a box uses stays"


def test_a_class_named_like_its_own_group_stays(tmp_path):
    content = base() | {"categories": [{"id": 1, "name": "cell", "supercategory": "cell"},
                                       {"id": 2, "name": "dog", "supercategory": "dog"}]}
    assert described(tmp_path, content)["classes"] == ["cell", "dog"]


@pytest.mark.parametrize("ids", [(0, 0), (1, 1), ("x", "x"), (None, None)])
def test_annotation_ids_that_repeat(tmp_path, ids):
    content = base()
    content["annotations"] = [{**content["annotations"][0], "id": number, "bbox": [x, 5, 10, 8]}
                              for number, x in zip(ids, (5, 20), strict=True)]
    data = described(tmp_path, content)
    assert boxes(data) == [BOX, [20, 5, 30, 13, "cell"]]
    assert sum("an id that another has" in note for note in data["notes"]) == (ids[0] is not None)


def test_a_crowd_is_ignored(tmp_path):
    content = base()
    content["annotations"].append({"id": 2, "image_id": 1, "category_id": 1, "bbox": [0, 0, 40, 30], "iscrowd": 1,
                                   "segmentation": {"counts": [0, 10, 1190], "size": [30, 40]}})
    data = described(tmp_path, content)
    assert boxes(data) == [BOX]
    assert data["images"]["images/a.jpg"]["ignore"] == [[0, 0, 40, 30, "cell"]]


@pytest.mark.parametrize("polygons", [[[5, 5, 15, 5, 15, 13, 5, 13]], [[5, 5, 9, 9, 7, 7], [15, 13, 8, 8, 9, 9]]])
@pytest.mark.parametrize("bbox", [None, []])
def test_a_polygon_without_a_box(tmp_path, polygons, bbox):
    data = described(tmp_path, changed(lambda c: c["annotations"][0].update(bbox=bbox, segmentation=polygons)))
    assert boxes(data) == [BOX]
    assert sum("envelope of its polygon" in note for note in data["notes"]) == 1


@pytest.mark.parametrize("segmentation", [
    {"counts": [0, 10, 1190], "size": [30, 40]}, {"counts": "PP1"}, [], [[]], [[1, 2]], [["a", "b"] * 3], "x", None])
def test_no_box_and_no_polygon(tmp_path, segmentation):
    def change(content):
        del content["annotations"][0]["bbox"]
        content["annotations"][0]["segmentation"] = segmentation
    (problem,) = described(tmp_path, changed(change))["problems"]
    assert "labels.json: annotation 1: expected" in problem


@pytest.mark.parametrize("size", [(-1, -1), (0, 0), (40, 0), (-1, 30)])
def test_a_size_that_is_none_is_taken_from_the_file(tmp_path, size):
    data = described(tmp_path, changed(lambda c: c["images"][0].update(width=size[0], height=size[1])))
    assert boxes(data) == [BOX]
    assert sum("are taken from the image file" in note for note in data["notes"]) == 1


@pytest.mark.parametrize("size", [("a", 30), ([], {}), (40.5, 30), (True, 30)])
def test_a_size_that_is_no_number_is_one_problem(tmp_path, size):
    data = described(tmp_path, changed(lambda c: c["images"][0].update(width=size[0], height=size[1])))
    (problem,) = data["problems"]
    assert "labels.json: image 1: expected width and height as whole numbers" in problem


def test_an_annotation_of_an_unlisted_image(tmp_path):
    content = base()
    content["annotations"].append({**content["annotations"][0], "id": 2, "image_id": 99})
    (problem,) = described(tmp_path, content)["problems"]
    assert "annotation 2: expected the id of an image in this file, got 99" in problem
    data = described(tmp_path, content, invalid_boxes="repair")
    assert boxes(data) == [BOX]
    assert any("annotation 2" in note and "left out" in note for note in data["notes"])


@pytest.mark.parametrize(("gone", "said"), [(1, "1 of 4 images are missing"), (4, "4 of 4 images are missing")])
def test_missing_files_are_counted(tmp_path, gone, said):
    content = base()
    names = [f"{number}.jpg" for number in range(4)]
    content["images"] = [{"id": number, "file_name": name} for number, name in enumerate(names)]
    content["annotations"][0]["image_id"] = 3
    data = described(tmp_path, content, images=["images/other.jpg", *[f"images/{name}" for name in names[gone:]]])
    problems = [problem for problem in data["problems"] if "missing" in problem]
    assert len(problems) == 1
    assert said in problems[0]
    assert "'0.jpg'" in problems[0]


def test_a_file_that_is_listed_twice(tmp_path):
    content = base()
    content["images"].append({**content["images"][0], "id": 2})
    (problem,) = described(tmp_path, content)["problems"]
    assert "expected each image once, got images/a.jpg again" in problem


def test_two_files_of_one_id(tmp_path):
    content = base()
    content["images"] = [{"id": 1, "file_name": f"cam{number}/0001.jpg"} for number in (1, 2)]
    (problem,) = described(tmp_path, content, images=["cam1/0001.jpg", "cam2/0001.jpg"])["problems"]
    assert "image 1: expected an id of its own, got that of 'cam1/0001.jpg'" in problem


def test_the_same_picture_under_two_names(tmp_path):
    from mgral.config import Config
    from mgral.study.preparation import describe
    from mgral.study.workspace import Workspace

    for split in ("train", "val"):
        content = base()
        content["images"][0]["file_name"] = f"{split}.jpg"
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
        save_image(tmp_path / "images" / f"{split}.jpg", seed=7)
    notes = describe(Config(), Workspace(tmp_path / "work", "s", 0), tmp_path, detector=False).notes
    assert any("copies" in note or "copy" in note for note in notes)
    assert any("images/train.jpg (train)" in note and "images/val.jpg (val)" in note for note in notes)


@pytest.mark.parametrize(("rotation", "expected"), [
    (90, [6, 4, 14, 14]), (180, [5, 5, 15, 13]), (-90.0, [6, 4, 14, 14]), ("90", [6, 4, 14, 14]),
    (45, [3.636, 2.636, 16.364, 15.364])])
def test_a_rotated_box_is_its_envelope(tmp_path, rotation, expected):
    data = described(tmp_path, changed(lambda c: c["annotations"][0].update(
        attributes={"occluded": False, "rotation": rotation})))
    assert boxes(data)[0][:4] == pytest.approx(expected, abs=1e-3)
    assert sum("its upright envelope is taken" in note for note in data["notes"]) == 1


@pytest.mark.parametrize("name", [
    "images\\a.jpg", "..\\..\\label-studio\\media\\upload\\4\\a.jpg", "/data/local-files/?d=images/a.jpg",
    "C:\\Users\\x\\set\\images\\a.jpg", "/home/x/set/images/a.jpg", "images%2Fa.jpg", "./images/a.jpg",
    "s3://bucket/images/a.jpg", "https://host/images/a.jpg", "images/cb0618f6-a.jpg"])
def test_other_machines_paths(tmp_path, name):
    content = changed(lambda c: c["images"][0].update(file_name=name))
    data = described(tmp_path, content, images=["images/a.jpg", "images/b.jpg"])
    assert boxes(data) == [BOX]
    content["images"].append({"id": 2, "file_name": name.replace("a.jpg", "b.jpg")})
    data = described(tmp_path, content)
    assert sum(repr(name) in note for note in data["notes"]) <= 1, "one note for the set"
    assert data["images"]["images/b.jpg"]["boxes"] == []


def test_a_path_that_may_mean_two_files(tmp_path):
    data = described(tmp_path, changed(lambda c: c["images"][0].update(file_name="D:\\old\\a.jpg")),
                     images=["one/a.jpg", "two/a.jpg"])
    (problem,) = data["problems"]
    assert "'one/a.jpg' or 'two/a.jpg'" in problem


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..\\x.jpg", "a\0.jpg", "../outside.jpg"])
def test_no_path_leaves_the_folder(tmp_path, name):
    save_image(tmp_path / "outside.jpg")
    data = described(tmp_path / "set", changed(lambda c: c["images"][0].update(file_name=name)),
                     images=["images/b.jpg"])
    assert len(data["problems"]) == 1
    assert set(data["images"]) <= {"images/b.jpg"}


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_composed_and_decomposed_names(tmp_path, forms):
    written, lying = (unicodedata.normalize(form, "Décran_학점.jpg") for form in forms)
    data = described(tmp_path, changed(lambda c: c["images"][0].update(file_name=written)), images=[f"images/{lying}"])
    assert boxes(data, f"images/{lying}") == [BOX]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark(tmp_path, encoding):
    (tmp_path / "labels.json").write_bytes(json.dumps(base()).encode(encoding))
    assert boxes(described(tmp_path, None)) == [BOX]


@pytest.mark.parametrize("bbox", [[float("nan"), 5, 10, 8], [5, 5, float("inf"), 8], [5, 5, 10, 10**400]])
def test_boxes_that_are_not_finite(tmp_path, bbox):
    content = changed(lambda c: c["annotations"].append({**c["annotations"][0], "id": 2, "bbox": bbox}))
    (problem,) = described(tmp_path, content)["problems"]
    assert "annotation 2: expected finite numbers" in problem
    assert boxes(described(tmp_path, content, invalid_boxes="repair")) == [BOX]


@pytest.mark.parametrize(("bbox", "repaired"), [
    ([15, 13, -10, -8], None), ([5, 5, 0, 8], None), ([-3, -2, 20, 20], [0, 0, 17, 18]),
    ([30, 10, 14, 8], [30, 10, 40, 18])])
def test_boxes_that_are_refused_or_repaired(tmp_path, bbox, repaired):
    content = changed(lambda c: c["annotations"][0].update(bbox=bbox))
    (problem,) = described(tmp_path, content)["problems"]
    assert "labels.json: annotation 1: expected" in problem
    assert "set `data.invalid_boxes: repair`" in problem
    data = described(tmp_path, content, invalid_boxes="repair")
    assert boxes(data) == (repaired and [[*repaired, "cell"]]), "without its only box it counts as not annotated"


@pytest.mark.parametrize("bbox", [[30, 10, 11, 8], [-1, 10, 11, 8], [30, 21.5, 10, 9.4]])
def test_an_overhang_of_a_pixel_is_rounding(tmp_path, bbox):
    data = described(tmp_path, changed(lambda c: c["annotations"][0].update(bbox=bbox)))
    (box,) = boxes(data)
    assert (min(box[:2]) >= 0, box[2] <= 40, box[3] <= 30) == (True, True, True)
    assert sum("over the edge by a pixel at most" in note for note in data["notes"]) == 1


def test_images_without_boxes_are_said(tmp_path):
    content = base()
    content["images"].append({"id": 2, "file_name": "b.jpg"})
    files = ["images/a.jpg", "images/b.jpg", "images/c.jpg"]
    data = described(tmp_path, content, images=files)
    assert boxes(data, "images/b.jpg") == []
    assert boxes(data, "images/c.jpg") is None, "not listed: nobody has looked at it"
    assert sum("1 of 2 listed images have no box and count as annotated and empty" in note
               for note in data["notes"]) == 1
    assert boxes(described(tmp_path, content, without_boxes="unlabelled"), "images/b.jpg") is None
    assert not any("no box" in note for note in described(tmp_path, content, without_boxes="empty")["notes"])


def test_a_class_of_another_case(tmp_path):
    content = changed(lambda c: c["categories"][0].update(name="Cell"))
    problems = described(tmp_path, content, classes=("cell",))["problems"]
    assert any("did you mean" in problem for problem in problems)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_damage_ends_in_a_traceback(tmp_path_factory, data):
    text = json.dumps(base())
    start = data.draw(st.integers(0, len(text)))
    junk = data.draw(st.sampled_from(["", "null", "[]", "{}", "-1", "1e400", '"x"', "NaN", "\0", "[[[[", "true"]))
    end = data.draw(st.integers(start, min(len(text), start + 30)))
    seen = described(tmp_path_factory.mktemp("damage"), text[:start] + junk + text[end:])
    assert isinstance(seen["problems"], list)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_value_ends_in_a_traceback(tmp_path_factory, data):
    content = base()
    part = content[data.draw(st.sampled_from(["images", "annotations", "categories"]))][0]
    key = data.draw(st.sampled_from(sorted(part)))
    values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                          lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner,
                                                                                      max_size=2), max_leaves=5)
    part[key] = data.draw(values)
    seen = described(tmp_path_factory.mktemp("value"), content)
    assert isinstance(seen["problems"], list)
