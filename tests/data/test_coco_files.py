"""Several COCO files of a set: splits by their names, images that more than one lists, and what pycocotools reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from mgral.data.formats.coco import split_name
from tests.data.test_coco_cases import BOX, base, boxes, described
from tests.data.test_coco_sets import one, read, write
from tests.small_data import save_image


@pytest.mark.parametrize(("path", "split"), [
    ("instances_train.json", "train"), ("annotations/instances_val2017.json", "val2017"),
    ("instances_pool.json", "pool"),
    ("instances_train_part1.json", "train"), ("instances_part2-train.json", "train"), ("train.json", "train"),
    ("instances_minival2014.json", "minival2014"), ("instances_trainval.json", "trainval"),
    ("instances_test-dev2017.json", "test-dev2017"), ("instances_train_val.json", "train_val"), ("Valid.JSON", "Valid"),
    ("train/_annotations.coco.json", "train"), ("fold3/_annotations.coco.json", "fold3"), ("labels.json", None),
    ("train/labels.json", "train"), ("test/labels_train.json", "train"), ("annotations/labels.json", None),
    ("set.train.v2.json", "train"), ("train_test_split.json", None), ("_annotations.coco.json", None)])
def test_the_split_of_a_file(path, split):
    assert split_name(path) == split


def test_files_of_no_known_split_are_splits_by_their_names():
    assert [split_name(name, several=True) for name in ("night.json", "day/labels.json", "val/labels.json")] == [
        "night", "labels", "val"]


def test_parts_of_one_split(tmp_path):
    for part, name in enumerate(("a.jpg", "b.jpg", "c.jpg")):
        write(tmp_path / f"instances_train_part{part}.json", one(name))
        save_image(tmp_path / "images" / name)
    loaded = read(tmp_path)
    assert loaded.problems == ()
    assert loaded.dataset.splits == {"train": ("images/a.jpg", "images/b.jpg", "images/c.jpg")}


def test_one_name_in_the_folder_of_each_split(tmp_path):
    for split, bbox in (("train", (5, 5, 10, 8)), ("val", (1, 1, 4, 4))):
        write(tmp_path / "annotations" / f"{split}.json", one("0001.jpg", bbox=bbox))
        save_image(tmp_path / "images" / split / "0001.jpg")
    loaded = read(tmp_path)
    assert loaded.problems == ()
    assert {name: of.xyxy.tolist() for name, of in loaded.dataset.boxes.items()} == {
        "images/train/0001.jpg": [[5, 5, 15, 13]], "images/val/0001.jpg": [[1, 1, 5, 5]]}


LISTING = {"images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}]}


@pytest.mark.parametrize("more", [{}, {"categories": base()["categories"]}, {"annotations": None}])
@pytest.mark.parametrize("names", [("a_all.json", "b_labelled.json"), ("b_all.json", "a_labelled.json")])
def test_a_file_without_annotations_only_lists_images(tmp_path, more, names):
    write(tmp_path / names[0], LISTING | more)
    write(tmp_path / names[1], base())
    data = described(tmp_path, None, images=("images/a.jpg", "images/b.jpg"))
    assert (boxes(data), boxes(data, "images/b.jpg")) == ([BOX], None)
    assert any(f"{names[0]}: has no list of annotations" in note for note in data["notes"])
    assert not any("have no box" in note for note in data["notes"])


def test_an_empty_list_of_annotations_says_that_images_were_looked_at(tmp_path):
    data = described(tmp_path, LISTING | {"annotations": [], "categories": []}, images=("images/a.jpg", "images/b.jpg"))
    assert (boxes(data), boxes(data, "images/b.jpg")) == ([], [])
    assert any("2 of 2 listed images have no box" in note for note in data["notes"])


@pytest.mark.parametrize(("change", "said"), [
    (lambda c: c.pop("categories"), "expected a list of objects under 'categories'"),
    (lambda c: c.update(images={}), "expected a list of objects under 'images', got dict"),
    (lambda c: c.update(annotations={}), "expected a list of objects under 'annotations', got dict"),
    (lambda c: c.update(categories=[]), "of which the file has none")])
def test_a_file_with_a_part_that_is_none_is_one_problem(tmp_path, change, said):
    content = base()
    change(content)
    (problem,) = described(tmp_path, content)["problems"]
    assert said in problem


def test_an_image_in_two_files_with_other_boxes(tmp_path):
    write(tmp_path / "train.json", one("a.jpg"))
    write(tmp_path / "all.json", one("a.jpg", bbox=(5, 5, 10, 9)) | {"annotations": []})
    (problem,) = described(tmp_path, None)["problems"]
    assert "expected the boxes that" in problem
    assert "name the right files in data.annotations" in problem
    data = described(tmp_path, None, annotations="train.json")
    assert boxes(data) == [BOX]


def random_files(draw) -> list[dict]:
    """Some files that share neither images nor numbers, but classes by name."""
    names = draw(st.lists(st.sampled_from(["ant", "bee", "cat", "dog"]), min_size=1, max_size=4, unique=True))
    files, image = [], 0
    for _ in range(draw(st.integers(1, 3))):
        numbers = draw(st.lists(st.integers(0, 200), min_size=len(names), max_size=len(names), unique=True))
        images, annotations = [], []
        for number in draw(st.lists(st.integers(0, 1000), min_size=1, max_size=4, unique=True)):
            images.append({"id": number, "file_name": f"{image}.jpg", "width": 40, "height": 30})
            image += 1
            for _ in range(draw(st.integers(0, 3))):
                x, y = draw(st.integers(0, 30)), draw(st.integers(0, 20))
                bbox = [x, y, draw(st.integers(1, 40 - x)), draw(st.integers(1, 30 - y))]
                annotations.append({"id": len(annotations) + 1, "image_id": number, "bbox": bbox,
                                    "category_id": draw(st.sampled_from(numbers)), "iscrowd": draw(st.integers(0, 1))})
        files.append({"images": images, "annotations": annotations, "categories": [
            {"id": number, "name": name} for number, name in zip(numbers, names, strict=True)]})
    return files


def by_pycocotools(path: Path) -> dict[str, list]:
    coco = COCO(str(path))
    return {image["file_name"]: sorted(
        [*entry["bbox"][:2], entry["bbox"][0] + entry["bbox"][2], entry["bbox"][1] + entry["bbox"][3],
         coco.loadCats([entry["category_id"]])[0]["name"], entry["iscrowd"]]
        for entry in coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))) for image in coco.loadImgs(coco.getImgIds())}


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_pycocotools_reads_the_same(tmp_path_factory, data):
    root, expected = tmp_path_factory.mktemp("files"), {}
    for number, content in enumerate(random_files(data.draw)):
        (root / f"part{number}.json").write_text(json.dumps(content))
        expected |= by_pycocotools(root / f"part{number}.json")
    for name in expected:
        save_image(root / "images" / name)
    described_ = described(root, None, images=())
    assert described_["problems"] == []
    found = {name.removeprefix("images/"): sorted([*box, 0] for box in image["boxes"]) + sorted(
        [*box, 1] for box in image["ignore"]) for name, image in described_["images"].items()}
    assert {name: sorted(rows) for name, rows in found.items()} == expected
