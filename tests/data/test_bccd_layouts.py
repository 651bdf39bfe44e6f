"""BCCD as it lies on disk and laid out as other tools would: the same boxes and classes, whatever the layout."""

from xml.etree import ElementTree as Xml

import numpy as np
import pytest

from mgral.data.dataset import Dataset
from tests.data.trees import clean
from tests.small_data import BCCD

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def lying() -> Dataset:
    if not BCCD.is_dir():
        pytest.skip(f"the BCCD set is not at {BCCD}")
    return clean(BCCD, invalid_boxes="repair").dataset


def by_stem(dataset: Dataset) -> dict:
    """Sorted boxes with class names by the image's name without ending; None where it is not annotated."""
    return {image.rpartition("/")[2].rpartition(".")[0]: None if image not in dataset.boxes else sorted(
        (dataset.classes[label], *(round(side, 2) for side in xyxy))
        for xyxy, label in zip(dataset.boxes[image].xyxy.tolist(), dataset.boxes[image].labels.tolist(), strict=True))
        for image in dataset.images}


def stems(members) -> set:
    return {member.rpartition("/")[2].rpartition(".")[0] for member in members}


def assert_same(dataset: Dataset, lying: Dataset, tolerance: float = 0.0) -> None:
    """Asserts that both have the same images, classes, boxes and splits."""
    ours, theirs = by_stem(dataset), by_stem(lying)
    assert sorted(dataset.classes) == sorted(lying.classes)
    assert ours.keys() == theirs.keys()
    for stem, boxes in theirs.items():
        assert len(ours[stem]) == len(boxes)
        assert [box[0] for box in ours[stem]] == [box[0] for box in boxes]
        assert len(boxes) == 0 or np.abs(np.array([box[1:] for box in ours[stem]]) -
                                         np.array([box[1:] for box in boxes])).max() <= tolerance
    for split in SPLITS:
        assert stems(dataset.splits[split]) == stems(lying.splits[split])


def test_as_it_lies(lying):
    assert lying.classes == ("Platelets", "RBC", "WBC")
    assert {name: len(members) for name, members in lying.splits.items()} == {
        "train": 205, "val": 87, "trainval": 292, "test": 72}
    assert sum(map(len, lying.boxes.values())) == 4888 - 2
    assert set(lying.images) == set(lying.boxes)


def test_boxes_are_those_of_another_parser(lying):
    for image in list(lying.images)[::25]:
        path = BCCD / image.replace("JPEGImages", "Annotations").replace(".jpg", ".xml")
        named = [[float(part.find("bndbox").find(side).text) for side in ("xmin", "ymin", "xmax", "ymax")]
                 for part in Xml.parse(path).getroot().iter("object")]
        assert lying.boxes[image].xyxy.tolist() == named


def pictures(lying: Dataset, root, place: str):
    """Links each image into its split's folder; gives split, image and where it is now."""
    for split in SPLITS:
        for image in lying.splits[split]:
            target = root / place.format(split) / image.rpartition("/")[2]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(lying.path(image).read_bytes())
            yield split, image, target


def test_as_voc_beside_the_pictures(lying, tmp_path):
    for _, image, target in pictures(lying, tmp_path, "{}"):
        source = BCCD / image.replace("JPEGImages", "Annotations").replace(".jpg", ".xml")
        target.with_suffix(".xml").write_bytes(source.read_bytes())
    assert_same(clean(tmp_path, invalid_boxes="repair").dataset, lying)


@pytest.mark.parametrize(("place", "yaml"), [
    ("images/{}", "path: /content/bccd\ntrain: images/train\nval: images/val\ntest: images/test\n"),
    ("{}/images", "train: ../train/images\nval: ../val/images\ntest: ../test/images\n")])
def test_as_yolo_with_a_yaml_file_of_another_name(lying, tmp_path, place, yaml):
    for _, image, target in pictures(lying, tmp_path, place):
        label = tmp_path / str(target.relative_to(tmp_path)).replace("images", "labels").replace(".jpg", ".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        width, height = lying.images[image].width, lying.images[image].height
        label.write_text("".join(
            f"{number} {(x1 + x2) / 2 / width:.9f} {(y1 + y2) / 2 / height:.9f} {(x2 - x1) / width:.9f} "
            f"{(y2 - y1) / height:.9f}\n" for number, (x1, y1, x2, y2) in zip(
                lying.boxes[image].labels.tolist(), lying.boxes[image].xyxy.tolist(), strict=True)))
    (tmp_path / "blood-cells.yaml").write_text(f"{yaml}nc: 3\nnames: [{', '.join(lying.classes)}]\n")
    assert_same(clean(tmp_path).dataset, lying, tolerance=0.02)
