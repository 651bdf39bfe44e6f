"""Each fault of a data set is found, named and explained; all of them at once."""

import os

import numpy as np
import pytest
from PIL import Image

from mgral.config import DataConfig
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


def test_one_split_for_two_roles(tmp_path):
    config = DataConfig(format="coco", reward="test")
    assert "different splits, got 'test' more than once" in problems(config, write_coco_set(tmp_path / "c"))[0]


def test_missing_files_of_annotations(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "expected a COCO annotation file, got nothing there" in problems(COCO, tmp_path / "empty")[0]
    assert "expected YOLO's data.yaml, got nothing there" in problems(YOLO, tmp_path / "empty")[0]
    assert "expected Annotations, ImageSets/Main, JPEGImages in it" in problems(VOC, tmp_path / "empty")[0]
    root = write_voc_set(tmp_path / "v")
    (root / "ImageSets" / "Main" / "test.txt").unlink()
    assert problems(VOC, root) == (f"{root / 'ImageSets' / 'Main' / 'test.txt'}: expected a list of image names, got "
                                   "nothing there; check data.format and the path",)


def test_file_that_cannot_be_read(tmp_path):
    root = write_coco_set(tmp_path / "c")
    path = root / "annotations" / "instances_test.json"
    path.write_bytes(b"\xff\xfe{")
    assert "expected UTF-8 text, got" in problems(COCO, root)[0]
    path.unlink()
    os.symlink(path, path)
    assert "expected a COCO annotation file, got" in problems(COCO, root)[0]


def test_no_image_at_all(tmp_path):
    (tmp_path / "images" / "train").mkdir(parents=True)
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: [bee]\n")
    config = DataConfig(format="yolo", reward=0.1, test=0.1)
    assert "expected at least one image, got none" in problems(config, tmp_path)[0]


def test_no_class_at_all(tmp_path):
    root = write_voc_set(tmp_path / "v")
    for path in (root / "Annotations").glob("*.xml"):
        path.write_text("<annotation></annotation>")
    assert "expected at least one class, got none" in problems(VOC, root)[0]


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


def test_too_large_an_image(tmp_path, monkeypatch):
    root = write_coco_set(tmp_path / "c")
    monkeypatch.setattr("mgral.data.decoding.MAX_PIXELS", 1000)
    assert "expected at most 1000 pixels, got more (40 × 30 pixels)" in problems(COCO, root)[0]


def test_decompression_bomb(tmp_path, monkeypatch):
    root = write_coco_set(tmp_path / "c")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert "pixels, got more (Image size (1200 pixels) exceeds limit" in problems(COCO, root)[0]


def test_size_unlike_the_annotation(tmp_path):
    root = write_coco_set(tmp_path / "c")
    save_image(root / "images" / "6.jpg", 30, 40)
    assert "to have 40 × 30 pixels as annotated, got 30 × 40 as seen after EXIF rotation" in problems(COCO, root)[0]
    root = write_voc_set(tmp_path / "v")
    save_image(root / "JPEGImages" / "6.jpg", 30, 40)
    assert problems(VOC, root)[0].startswith(f"{root / 'Annotations' / '6.xml'}: expected")


@pytest.mark.parametrize(("bbox", "repaired"), [
    ([-3, 5, 10, 10], [0, 5, 7, 15]), ([35, 25, 10, 10], [35, 25, 40, 30]), ([5, 5, 0, 10], None),
    ([5, 5, -4, 10], None), ([50, 5, 10, 10], None), ([1e300, 5, 10, 10], None)])
def test_invalid_boxes_are_refused_or_repaired(tmp_path, bbox, repaired):
    root = write_coco_set(tmp_path / "c")
    edit(root, "test", lambda content: content["annotations"][0].update(bbox=bbox))
    faults = problems(COCO, root)
    assert len(faults) == 1
    assert faults[0].startswith(f"{root / 'annotations' / 'instances_test.json'}: annotation 1: expected a box with")
    assert faults[0].endswith("correct it or set `data.invalid_boxes: repair`")
    loaded = load_dataset(DataConfig(format="coco", invalid_boxes="repair"), root)
    assert loaded.dataset.boxes["6"].xyxy.tolist() == ([repaired] if repaired else [])
    assert len(loaded.notes) == 1
    assert ("clipped to" if repaired else "dropped") in loaded.notes[0]


def test_rounding_is_clipped_in_silence(tmp_path):
    root = write_coco_set(tmp_path / "c")
    edit(root, "test", lambda content: content["annotations"][0].update(bbox=[-0.01, 0, 40.015, 30]))
    loaded = load_dataset(COCO, root)
    assert loaded.notes == ()
    np.testing.assert_allclose(loaded.dataset.boxes["6"].xyxy, [[0, 0, 40, 30]], atol=0.006)
    assert loaded.dataset.boxes["6"].xyxy.min() == 0


@pytest.mark.parametrize(("bbox", "got"), [
    ([1, 2, float("nan"), 4], "finite numbers"), ([1, 2, float("inf"), 4], "finite numbers"),
    ([1, 2, 10**400, 4], "finite numbers"), ([1, 2, "3", 4], "4 numbers"), ([1, 2, True, 4], "4 numbers"),
    ([1, 2, 3], "4 numbers"), (None, "4 numbers")])
@pytest.mark.parametrize("policy", ["error", "repair"])
def test_coordinates_that_are_no_numbers(tmp_path, bbox, got, policy):
    root = write_coco_set(tmp_path / "c")
    edit(root, "test", lambda content: content["annotations"][0].update(bbox=bbox))
    faults = problems(DataConfig(format="coco", invalid_boxes=policy), root)
    assert len(faults) == 1
    assert f"annotation 1: expected {got}, got" in faults[0]


@pytest.mark.parametrize(("text", "match"), [
    ("x", "expected 4 numbers, got"), ("nan", "expected finite numbers, got"), ("", "expected 4 numbers, got")])
def test_voc_coordinates_that_are_no_numbers(tmp_path, text, match):
    root = write_voc_set(tmp_path / "v")
    path = root / "Annotations" / "6.xml"
    path.write_text(path.read_text().replace("<xmin>8</xmin>", f"<xmin>{text}</xmin>"))
    assert f"{path}: object 1 (ant): {match}" in problems(VOC, root)[0]


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
    (lambda c: c["annotations"][0].update(category_id=7), r"annotation 1: expected a category id of \[1, 2\], got 7"),
    (lambda c: c["annotations"][0].update(category_id=[7]), r"expected a category id of \[1, 2\], got \[7\]"),
    (lambda c: c["annotations"][0].update(image_id=77), "expected the id of an image in this file, got 77"),
    (lambda c: c["annotations"].append(dict(c["annotations"][0])), "annotation 1: expected an id of its own"),
    (lambda c: c["images"].append(dict(c["images"][0])), "image 6: expected an id of its own, got that of '6.jpg'"),
    (lambda c: c["images"].append({**c["images"][0], "id": 8}), "expected each image once, got images/6.jpg again"),
    (lambda c: c["images"].append({"id": 8}), "expected an id and a file_name, got 8 and None"),
    (lambda c: c["images"][0].update(width=0), r"expected width and height as whole numbers above 0, got \(0, 30\)"),
    (lambda c: c["images"][0].update(file_name="../6.jpg"), r"expected a path inside .*, got \.\./6\.jpg"),
    (lambda c: c["images"][0].update(file_name="a/../6.jpg"), r"expected a path inside .*, got a/\.\./6\.jpg"),
    (lambda c: c["images"][0].update(file_name="/etc/6.jpg"), "expected a path inside .*, got /etc/6.jpg"),
    (lambda c: c["categories"].append({"id": 2, "name": "wasp"}), "expected an id and a name of its own, got 'wasp'"),
    (lambda c: c["categories"].append({"id": 3, "name": "bee"}), "expected an id and a name of its own, got 'bee'"),
    (lambda c: c["categories"].append({"id": "3", "name": "fly"}), "expected a whole number as id and a name, got '3'"),
    (lambda c: c["categories"][0].update(name="wasp"), "expected the same ids and names in all splits, got 'wasp'"),
    (lambda c: c.pop("images"), "expected a list of objects under 'images', got NoneType"),
    (lambda c: c.update(annotations=[3]), "expected a list of objects under 'annotations', got list"),
])
def test_coco_faults(tmp_path, change, match):
    root = write_coco_set(tmp_path / "c")
    edit(root, "test", change)
    with pytest.raises(DataError, match=match):
        load_dataset(COCO, root)


def test_coco_ids_that_collide_between_splits(tmp_path):
    root = write_coco_set(tmp_path / "c")

    def renumber(content):
        content["images"][0]["id"] = content["annotations"][0]["image_id"] = 1
    edit(root, "test", renumber)
    assert problems(COCO, root) == (
        f"{root / 'annotations' / 'instances_test.json'}: image 1: expected an image id of its own, got '1', which "
        f"images/1.jpg has ({root / 'annotations' / 'instances_train.json'}: image 1); renumber or rename one of them",)


def test_image_in_two_splits(tmp_path):
    root = write_coco_set(tmp_path / "c")
    edit(root, "test", lambda content: content["images"][0].update(file_name="1.jpg"))
    assert "expected each image in one split, got images/1.jpg in 'train' and 'test'" in problems(COCO, root)[0]
    root = write_voc_set(tmp_path / "v")
    (root / "ImageSets" / "Main" / "test.txt").write_text("6\n1\n")
    assert "expected each image in one split, got JPEGImages/1.jpg in 'train' and 'test'" in problems(VOC, root)[0]


def test_link_that_leaves_the_folder(any_set, tmp_path):
    config, root = any_set
    outside = tmp_path / "outside.jpg"
    save_image(outside)
    path = next(root.rglob("6.jpg"))
    path.unlink()
    path.symlink_to(outside)
    assert any(f"expected a path inside {root}, got" in fault for fault in problems(config, root))


def test_linked_folder_that_leaves_the_folder(tmp_path):
    root = write_coco_set(tmp_path / "c")
    (root / "images").rename(tmp_path / "images")
    (root / "images").symlink_to(tmp_path / "images")
    assert len(problems(COCO, root)) == 6


def test_label_file_that_leaves_the_folder(tmp_path):
    root = write_yolo_set(tmp_path / "y")
    path = root / "labels" / "test" / "6.txt"
    path.rename(tmp_path / "6.txt")
    path.symlink_to(tmp_path / "6.txt")
    assert f"{path}: expected a label file inside {root}, got a link out of it" in problems(YOLO, root)[0]


@pytest.mark.parametrize("name", ["../6", "a/6"])
def test_voc_name_with_a_path(tmp_path, name):
    root = write_voc_set(tmp_path / "v")
    (root / "ImageSets" / "Main" / "test.txt").write_text(f"6\n{name}\n")
    path = root / "ImageSets" / "Main" / "test.txt"
    assert problems(VOC, root)[0].startswith(f"{path}:2: expected the name of an image inside {root}, got {name!r}")


def test_malformed_json_names_the_line(tmp_path):
    root = write_coco_set(tmp_path / "c")
    path = root / "annotations" / "instances_test.json"
    path.write_text('{"images": [],\n"annotations": [,]}')
    assert problems(COCO, root)[0].startswith(f"{path}:2: expected JSON, got an error at column 17")
    path.write_text("[" * 100_000)
    assert "got JSON nested too deeply" in problems(COCO, root)[0]
    path.write_text("[]")
    assert len(problems(COCO, root)) == 3


def test_malformed_xml_names_the_line(tmp_path):
    root = write_voc_set(tmp_path / "v")
    path = root / "Annotations" / "6.xml"
    path.write_text("<annotation>\n<object>\n</annotation>")
    assert problems(VOC, root)[0].startswith(f"{path}:3: expected XML, got mismatched tag")
    path.write_text('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>')
    assert f"{path}: expected plain XML, got DTDForbidden" in problems(VOC, root)[0]
    path.write_bytes(b'<?xml version="1.0" encoding="nonsense"?><annotation/>')
    assert str(path) in problems(VOC, root)[0]
    path.unlink()
    path.mkdir()
    assert f"{path}: expected readable XML, got" in problems(VOC, root)[0]


def test_voc_object_without_name(tmp_path):
    root = write_voc_set(tmp_path / "v")
    path = root / "Annotations" / "6.xml"
    path.write_text(path.read_text().replace("<name>ant</name>", ""))
    assert "object 1 (): expected a name, got none" in problems(VOC, root)[0]


def test_voc_size_that_is_no_number(tmp_path):
    root = write_voc_set(tmp_path / "v")
    path = root / "Annotations" / "6.xml"
    path.write_text(path.read_text().replace("<width>40</width>", "<width>wide</width>"))
    assert f"{path}: size: expected 2 numbers, got ['wide', 30.0]" in problems(VOC, root)[0]


def test_two_voc_images_of_one_name(tmp_path):
    root = write_voc_set(tmp_path / "v")
    save_image(root / "JPEGImages" / "6.png")
    assert "expected one image a name, got 6.jpg too" in problems(VOC, root)[0]


def test_two_voc_layouts(tmp_path):
    for name in ("a", "b"):
        write_voc_set(tmp_path / "outer" / name)
    assert "in it or in one sub-folder, got a, b" in problems(VOC, tmp_path / "outer")[0]


@pytest.mark.parametrize(("line", "match"), [
    ("0 0.5 0.5 0.5", "expected 5 numbers, got"), ("0 0.5 0.5 0.5 0.5 0.9", "expected 5 numbers, got"),
    ("0 0.5 x 0.5 0.5", "expected 5 numbers, got"), ("0 0.5 nan 0.5 0.5", "expected finite numbers"),
    ("2 0.5 0.5 0.5 0.5", "expected a class number from 0 to 1, got 2"),
    ("0.5 0.5 0.5 0.5 0.5", "expected a class number from 0 to 1, got 0.5"),
    ("0 0.9 0.5 0.5 0.5", "expected a box with an area and inside 40 × 30 pixels, got [26, 7.5, 46, 22.5]")])
def test_yolo_faults_name_the_line(tmp_path, line, match):
    root = write_yolo_set(tmp_path / "y")
    path = root / "labels" / "test" / "6.txt"
    path.write_text(f"1 0.5 0.5 0.1 0.1\n{line}\n")
    faults = problems(YOLO, root)
    assert len(faults) == 1
    assert faults[0].startswith(f"{path}:2: {match}")


@pytest.mark.parametrize(("settings", "match"), [
    ("names: [bee", r"data\.yaml:1: expected YAML, got"), ("- a", "expected settings such as `names:`, got list"),
    ("train: images/train\nreward: images/reward\nnames: [bee, ant]", "test: expected a folder or a list file, got No"),
    ("train: images/train\nreward: images/reward\ntest: /data\nnames: [bee, ant]", "expected a path inside"),
    ("train: images/train\nreward: images/reward\ntest: images/no\nnames: [bee, ant]",
     "images/no: expected a folder of images or a list of them, got nothing there"),
    ("train: images/train\nreward: images/reward\ntest: images/test", "names: expected a list of class names"),
    ("train: images/train\nreward: images/reward\ntest: images/test\nnames: {1: bee, 2: ant}", "or a mapping from 0"),
    ("train: images/train\nreward: images/reward\ntest: images/test\nnames: [bee, bee]", "expected each class once")])
def test_yolo_settings_that_cannot_be_used(tmp_path, settings, match):
    root = write_yolo_set(tmp_path / "y")
    (root / "data.yaml").write_text(settings)
    with pytest.raises(DataError, match=match):
        load_dataset(YOLO, root)
