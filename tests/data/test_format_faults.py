"""Each fault of a data set is found, named and explained; all of them at once."""

import os

import pytest

from mgral.data.formats import load_dataset
from mgral.errors import DataError
from tests.data.sets import COCO, VOC, YOLO, edit, problems
from tests.small_data import save_image, write_coco_set, write_voc_set, write_yolo_set


def test_all_problems_at_once(tmp_path):
    root = write_coco_set(tmp_path / "c")
    (root / "images" / "1.jpg").unlink()
    edit(root, "reward", lambda content: content["annotations"][0].update(bbox=[0, 0, 99, 5]))
    edit(root, "test", lambda content: content["annotations"][0].update(category_id=9))
    assert len(problems(COCO, root)) == 3


def test_missing_folder(tmp_path):
    assert "expected the data set's folder, got nothing there" in problems(COCO, tmp_path / "no")[0]


def test_file_that_cannot_be_read(tmp_path):
    root = write_coco_set(tmp_path / "c")
    path = root / "annotations" / "instances_test.json"
    path.write_bytes(b"\xff\xfe{")
    assert "as the file says it is, got byte" in problems(COCO, root)[0]
    path.unlink()
    os.symlink(path, path)
    assert "expected JSON, got Too many levels of symbolic links" in problems(COCO, root)[0]


@pytest.mark.parametrize("where", ["images", "JPEGImages", "images/test"])
def test_missing_image_file(tmp_path, where):
    config, write = {"images": (COCO, write_coco_set), "JPEGImages": (VOC, write_voc_set),
                     "images/test": (YOLO, write_yolo_set)}[where]
    root = write(tmp_path / "set")
    (root / where / "6.jpg").unlink()
    if config is YOLO:
        (root / "data.yaml").write_text((root / "data.yaml").read_text().replace("images/test", "test.txt"))
        (root / "test.txt").write_text("./images/test/6.jpg\n")
    faults = problems(config, root)
    assert len(faults) == 1
    assert "got nothing there" in faults[0] or f"expected an image 6.* in {root / where}, got none" in faults[0]


def test_file_that_is_no_image(any_set):
    config, root = any_set
    path = next(root.rglob("6.jpg"))
    path.write_bytes(b"not an image")
    assert problems(config, root) == (f"{path}: expected a readable image, got a file of no known image format; "
                                      "replace the file or remove the image from the data set",)


def test_too_large_an_image(tmp_path):
    root = write_coco_set(tmp_path / "c")
    assert "raise data.max_pixels" in problems(COCO.model_copy(update={"max_pixels": 1000}), root)[0]


def test_size_unlike_the_annotation(tmp_path):
    root = write_coco_set(tmp_path / "c")
    save_image(root / "images" / "6.jpg", 30, 40)
    assert "to have 40 × 30 pixels as annotated, got 30 × 40" in problems(COCO, root)[0]
    root = write_voc_set(tmp_path / "v")
    save_image(root / "JPEGImages" / "6.jpg", 30, 40)
    assert problems(VOC, root)[0].startswith(f"{root / 'Annotations' / '6.xml'}: expected")


def test_unknown_class(any_set):
    config, root = any_set
    faults = problems(config.model_copy(update={"classes": ("bee",)}), root)
    assert len(faults) == 3
    assert all("expected a class of bee, got 'ant'; correct it or extend data.classes" in fault for fault in faults)


def test_unknown_name_in_the_settings(any_set):
    config, root = any_set
    assert "data.classes: expected classes of the data set" in problems(
        config.model_copy(update={"classes": ("bee", "ant", "wasp")}), root)[0]
    assert "expected each class once, got 'bee' again" in problems(
        config.model_copy(update={"classes": ("bee", "ant", "bee")}), root)[0]


@pytest.mark.parametrize(("change", "match"), [
    (lambda c: c["annotations"][0].update(category_id=7), r"annotation 1: expected a category id of 2, 1, got 7"),
    (lambda c: c["annotations"][0].update(category_id=[7]), r"expected a category id of 2, 1, got \[7\]"),
    (lambda c: c["annotations"][0].update(bbox=[1, 2, "3", 4]), "annotation 1: expected 4 numbers, got"),
    (lambda c: c["annotations"][0].update(bbox=[1, 2, True, 4]), "annotation 1: expected 4 numbers, got"),
    (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "annotation 1: expected 4 numbers, got"),
    (lambda c: c["annotations"][0].update(bbox=None), "annotation 1: expected a bbox or a polygon, got neither"),
    (lambda c: c["images"].append(dict(c["images"][0])), "image 6: expected an id of its own, got that of '6.jpg'"),
    (lambda c: c["images"].append({"id": 8}), "expected an id and a file_name, got 8 and None"),
    (lambda c: c["categories"].append({"id": 2, "name": "wasp"}), "expected an id and a name of its own, got 'wasp'"),
    (lambda c: c["categories"].append({"id": 3, "name": "bee"}), "expected an id and a name of its own, got 'bee'"),
    (lambda c: c["categories"].append({"id": 3, "name": "\ud800"}), "expected a whole number as id and a name, got 3"),
    (lambda c: c["categories"].append({"id": None, "name": "fly"}), "expected a whole number as id and a name, got"),
    (lambda c: c.pop("images"), "expected a list of objects under 'images', got NoneType"),
    (lambda c: c.update(annotations=[3]), "expected a list of objects under 'annotations', got list"),
])
def test_coco_faults(tmp_path, change, match):
    root = write_coco_set(tmp_path / "c")
    edit(root, "test", change)
    with pytest.raises(DataError, match=match):
        load_dataset(COCO, root)


def test_link_that_leaves_the_folder(any_set, tmp_path):
    config, root = any_set
    outside = tmp_path / "outside.jpg"
    save_image(outside)
    path = next(root.rglob("6.jpg"))
    path.unlink()
    path.symlink_to(outside)
    assert any(f"expected a path inside {root}, got" in fault for fault in problems(config, root))


def test_malformed_json_names_the_line(tmp_path):
    root = write_coco_set(tmp_path / "c")
    path = root / "annotations" / "instances_test.json"
    path.write_text('{"images": [],\n"annotations": [,]}')
    assert problems(COCO, root)[0].startswith(f"{path}:2: expected JSON, got an error at column 17")
    path.write_text("[" * 100_000)
    assert "got JSON nested too deeply" in problems(COCO, root)[0]
    path.write_text("[]")
    assert any(f"{path}: not read, it holds nothing" in note for note in load_dataset(COCO, root).notes)
