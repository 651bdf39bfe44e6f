"""COCO data sets as they lie on disk: several files, splits, exports of tools; which format a folder is in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mgral.config import DataConfig
from mgral.data.formats import read_dataset
from tests.small_data import save_image, write_coco_set, write_voc_set


def one(name: str, number: int = 1, category: int = 1, label: str = "cell", bbox=(5, 5, 10, 8)) -> dict:
    return {"images": [{"id": number, "file_name": name, "width": 40, "height": 30}],
            "annotations": [{"id": 1, "image_id": number, "category_id": category, "bbox": list(bbox)}],
            "categories": [{"id": category, "name": label}]}


def write(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def read(root: Path, **config):
    return read_dataset(DataConfig(**config), root)


@pytest.mark.parametrize(("files", "folders", "splits"), [
    (("instances_train2017.json", "instances_val2017.json"), ("train2017", "val2017"), ("train2017", "val2017")),
    (("annotations/instances_train.json", "annotations/instances_val.json"), ("images/train", "images/val"),
     ("train", "val")),
    (("annotations/train.json", "annotations/test.json"), ("images", "images"), ("train", "test")),
    (("train/_annotations.coco.json", "valid/_annotations.coco.json"), ("train", "valid"), ("train", "valid")),
    (("train_labels.json", "val-labels.json"), ("pictures", "pictures"), ("train", "val"))])
def test_a_file_a_split_each_counting_from_one(tmp_path, files, folders, splits):
    for file, folder, name in zip(files, folders, ("a.jpg", "b.jpg"), strict=True):
        write(tmp_path / file, one(name))
        save_image(tmp_path / folder / name)
    loaded = read(tmp_path)
    assert loaded.problems == ()
    assert loaded.dataset.splits == {split: (f"{folder}/{name}",) for split, folder, name in zip(
        splits, folders, ("a.jpg", "b.jpg"), strict=True)}
    assert all(len(boxes) == 1 for boxes in loaded.dataset.boxes.values())


def test_files_that_number_their_classes_differently_are_joined_by_name(tmp_path):
    write(tmp_path / "train.json", one("a.jpg", category=1, label="dog"))
    write(tmp_path / "val.json", one("b.jpg", category=1, label="cat"))
    for name in ("a.jpg", "b.jpg"):
        save_image(tmp_path / name)
    loaded = read(tmp_path)
    assert (loaded.problems, loaded.dataset.classes, loaded.dataset.category_ids) == ((), ("cat", "dog"), (1, 2))
    assert any("number their classes differently" in note for note in loaded.notes)


def test_stable_category_ids_are_kept(tmp_path):
    content = one("a.jpg", category=90)
    content["categories"] += [{"id": 13, "name": "stop sign"}, {"id": 1, "name": "person"}]
    write(tmp_path / "labels.json", content)
    save_image(tmp_path / "a.jpg")
    dataset = read(tmp_path).dataset
    assert (dataset.classes, dataset.category_ids) == (("person", "stop sign", "cell"), (1, 13, 90))


@pytest.mark.parametrize(("bbox", "problems"), [((5, 5, 10, 8), 0), ((6, 5, 10, 8), 1)])
def test_an_image_in_a_split_and_in_the_whole(tmp_path, bbox, problems):
    write(tmp_path / "instances_train.json", one("a.jpg"))
    write(tmp_path / "instances_trainval.json", one("a.jpg", number=77, bbox=bbox))
    save_image(tmp_path / "images" / "a.jpg")
    loaded = read(tmp_path)
    assert len(loaded.problems) == problems
    assert loaded.dataset.splits == {"train": ("images/a.jpg",), "trainval": ("images/a.jpg",)}


def test_instances_come_before_keypoints_and_captions(tmp_path):
    write(tmp_path / "annotations" / "instances_train.json", one("a.jpg"))
    write(tmp_path / "annotations" / "person_keypoints_train.json", one("a.jpg", bbox=(1, 1, 2, 2)))
    write(tmp_path / "annotations" / "captions_train.json", {"images": [], "annotations": [{"caption": "x"}]})
    save_image(tmp_path / "train" / "a.jpg")
    loaded = read(tmp_path)
    assert loaded.problems == ()
    assert loaded.dataset.boxes["train/a.jpg"].xyxy.tolist() == [[5, 5, 15, 13]]


def test_files_and_images_that_the_settings_name(tmp_path):
    write(tmp_path / "old" / "labels.json", one("a.jpg", bbox=(0, 0, 3, 3)))
    write(tmp_path / "new" / "labels.json", one("a.jpg"))
    for folder in ("photos", "thumbs"):
        for name in ("a.jpg", "b.jpg"):
            save_image(tmp_path / folder / name)
    loaded = read(tmp_path, annotations="new/labels.json", images="photos")
    assert loaded.problems == ()
    assert {name: len(boxes) for name, boxes in loaded.dataset.boxes.items()} == {"photos/a.jpg": 1}
    assert set(loaded.dataset.images) == {"photos/a.jpg", "photos/b.jpg"}
    away = tmp_path.parent / f"{tmp_path.name}-labels.json"
    write(away, one("a.jpg"))
    assert len(read(tmp_path, annotations=str(away), images="photos").dataset.boxes) == 1


def test_folders_without_a_labelled_image_are_passed_over_and_said(tmp_path):
    write(tmp_path / "labels.json", one("a.jpg"))
    for name in ("images/a.jpg", "images/b.jpg", "masks/a.png", "unlabelled/c.jpg"):
        save_image(tmp_path / name)
    loaded = read(tmp_path)
    assert set(loaded.dataset.images) == {"images/a.jpg", "images/b.jpg", "unlabelled/c.jpg"}
    assert any("masks: 1 images are not taken in" in note for note in loaded.notes)


def test_a_folder_of_images(tmp_path):
    for name in ("train/a.jpg", "test/b.png", "c.JPG"):
        save_image(tmp_path / name)
    (tmp_path / "._c.JPG").write_bytes(b"\0\5\x16\7")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "d.jpg").write_bytes(b"")
    loaded = read(tmp_path)
    assert (loaded.format, loaded.problems, loaded.dataset.boxes) == ("images", (), {})
    assert set(loaded.dataset.images) == {"train/a.jpg", "test/b.png", "c.JPG"}
    assert loaded.dataset.splits == {"train": ("train/a.jpg",), "test": ("test/b.png",)}


def test_nothing_there(tmp_path):
    assert read(tmp_path).problems == (f"{tmp_path}: expected images, got none below it; check --data",)


def test_two_formats_that_both_annotate(tmp_path):
    write_coco_set(tmp_path)
    write_voc_set(tmp_path)
    (problem,) = read(tmp_path).problems
    assert "expected annotations in one format, got COCO JSON" in problem
    assert "Pascal VOC XML" in problem
    assert read(tmp_path, format="coco").problems == ()


@pytest.mark.parametrize("content", ["{", "", "[1,", '{"images": [}'])
def test_json_that_is_cut_is_no_folder_without_labels(tmp_path, content):
    save_image(tmp_path / "a.jpg")
    (tmp_path / "labels.json").write_text(content)
    assert any("labels.json:1: expected JSON" in problem for problem in read(tmp_path).problems)


@pytest.mark.parametrize(("content", "said"), [
    ([{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}], "predictions"),
    ({"version": "5.0", "flags": {}, "shapes": [], "imagePath": "a.jpg"}, "labelme")])
def test_other_json_is_said(tmp_path, content, said):
    save_image(tmp_path / "a.jpg")
    write(tmp_path / "other.json", content)
    loaded = read(tmp_path)
    assert any("other.json" in line and said in line.lower() for line in (*loaded.notes, *loaded.problems))
