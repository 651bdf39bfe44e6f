"""What is written in a format comes back as it was, and other readers see the same."""

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from mgral.config import DataConfig
from mgral.data.dataset import Boxes, Dataset, ImageInfo
from mgral.data.formats import load_dataset
from mgral.data.formats.coco import write_coco
from mgral.data.formats.voc import write_voc
from mgral.data.formats.yolo import write_yolo
from tests.small_data import save_image

SIZES = [(64, 48), (50, 80), (33, 33), (640, 30), (41, 57), (70, 70)]
TOLERANCE = {"coco": 0.0, "voc": 0.0, "yolo": 0.0011}
"""Pixels: COCO and VOC come back exactly, YOLO has millionths of a side of up to 640."""


@pytest.fixture
def dataset(tmp_path):
    """Images 1 to 6 with up to seven boxes each, image 3 empty."""
    rng = np.random.default_rng(5)
    images, boxes = {}, {}
    for number, (width, height) in enumerate(SIZES, start=1):
        save_image(tmp_path / "source" / "images" / f"{number}.png", width, height, seed=number)
        images[str(number)] = ImageInfo(str(number), f"images/{number}.png", width, height)
        count = 0 if number == 3 else number + 1
        start = rng.uniform(0, 0.6, (count, 2))
        corners = np.hstack([start, start + rng.uniform(0.05, 0.4, (count, 2))]) * (width, height, width, height)
        # Every class occurs, so that VOC, which has no list of classes, knows all of them.
        boxes[str(number)] = Boxes.of(corners, np.arange(count) % 3)
    splits = {"train": ("1", "2", "3"), "reward": ("4", "5"), "test": ("6",)}
    return Dataset(tmp_path / "source", ("ant", "bee", "cat"), (1, 2, 3), images, boxes, splits)


def written(name, dataset, folder) -> Path:
    if name == "voc":
        write_voc(folder, dataset, dataset.splits)
    elif name == "yolo":
        write_yolo(folder, dataset, dataset.splits)
    else:
        for split, ids in dataset.splits.items():
            write_coco(dataset.root / "annotations" / f"instances_{split}.json", dataset, ids)
        return dataset.root
    return folder


@pytest.mark.parametrize("name", TOLERANCE)
def test_round_trip(name, dataset, tmp_path):
    copy = load_dataset(DataConfig(format=name), written(name, dataset, tmp_path / "copy")).dataset
    assert copy.classes == dataset.classes
    assert copy.category_ids == dataset.category_ids
    assert copy.splits.keys() == dataset.splits.keys()
    for split, ids in dataset.splits.items():
        for image_id, copy_id in zip(ids, copy.splits[split], strict=True):
            assert Path(copy_id).name == image_id
            assert copy.path(copy_id).read_bytes() == dataset.path(image_id).read_bytes()
            np.testing.assert_allclose(copy.boxes[copy_id].xyxy, dataset.boxes[image_id].xyxy, rtol=0,
                                       atol=TOLERANCE[name])
            np.testing.assert_array_equal(copy.boxes[copy_id].labels, dataset.boxes[image_id].labels)


@pytest.mark.parametrize("name", TOLERANCE)
def test_globox_reads_the_same(name, dataset, tmp_path):
    globox = pytest.importorskip("globox")
    folder = written(name, dataset, tmp_path / "copy")
    if name == "coco":
        annotations = globox.AnnotationSet.from_coco(file_path=folder / "annotations" / "instances_reward.json")
    elif name == "voc":
        annotations = globox.AnnotationSet.from_pascal_voc(folder=folder / "Annotations")
    else:
        annotations = globox.AnnotationSet.from_yolo_v5(folder=folder / "labels" / "reward",
                                                        image_folder=folder / "images" / "reward",
                                                        image_extension=".png")
    by_name = {Path(annotation.image_id).stem: annotation for annotation in annotations}
    for image_id in ("4", "5"):
        boxes = by_name[image_id].boxes
        np.testing.assert_allclose([(box.xmin, box.ymin, box.xmax, box.ymax) for box in boxes],
                                   dataset.boxes[image_id].xyxy, atol=TOLERANCE[name] + 1e-5)
        names = [dataset.classes[int(box.label)] if name == "yolo" else box.label for box in boxes]
        assert names == [dataset.classes[label] for label in dataset.boxes[image_id].labels]


def test_pycocotools_reads_the_same(dataset, tmp_path, capsys):
    path = tmp_path / "reward.json"
    write_coco(path, dataset, dataset.splits["reward"])
    coco = COCO(str(path))
    assert coco.getImgIds() == [4, 5]
    for entry in coco.loadAnns(coco.getAnnIds(imgIds=[4])):
        x, y, width, height = entry["bbox"]
        row = np.abs(dataset.boxes["4"].xyxy - (x, y, x + width, y + height)).sum(axis=1).argmin()
        assert coco.loadCats([entry["category_id"]])[0]["name"] == dataset.classes[dataset.boxes["4"].labels[row]]
    assert len(coco.getAnnIds()) == len(dataset.boxes["4"]) + len(dataset.boxes["5"])


def test_ignored_boxes(dataset, tmp_path):
    crowd = Boxes(dataset.boxes["6"].xyxy, dataset.boxes["6"].labels, np.arange(7) == 2)
    marked = Dataset(dataset.root, dataset.classes, dataset.category_ids, dataset.images,
                     {**dataset.boxes, "6": crowd}, dataset.splits)
    for name in ("coco", "voc"):
        copy = load_dataset(DataConfig(format=name), written(name, marked, tmp_path / name)).dataset
        assert copy.boxes["6"].ignore.tolist() == crowd.ignore.tolist()
    copy = load_dataset(DataConfig(format="yolo"), written("yolo", marked, tmp_path / "yolo")).dataset
    assert len(copy.boxes["images/test/6"]) == 6


def test_voc_offset_round_trip(dataset, tmp_path):
    from mgral.data.formats import voc

    write_voc(tmp_path / "copy", dataset, dataset.splits, offset=1.0)
    source = voc.read(tmp_path / "copy", "test", [], [], offset=1.0)
    np.testing.assert_allclose([box.corners for box in source.images[0].boxes], dataset.boxes["6"].xyxy, atol=1e-5)
    assert "<xmin>" in (tmp_path / "copy" / "Annotations" / "6.xml").read_text()


def test_images_without_annotation_stay_so(dataset, tmp_path):
    partly = Dataset(dataset.root, dataset.classes, dataset.category_ids, dataset.images,
                     {image_id: boxes for image_id, boxes in dataset.boxes.items() if image_id != "2"}, dataset.splits)
    for name in ("voc", "yolo"):
        copy = load_dataset(DataConfig(format=name), written(name, partly, tmp_path / name)).dataset
        assert [Path(image_id).name for image_id in copy.images if image_id not in copy.boxes] == ["2"]
    with pytest.raises(ValueError, match="expected annotated images, got 2 without annotation"):
        write_coco(tmp_path / "a.json", partly, ("1", "2"))


def test_coco_numbers_images_from_one_where_ids_are_no_numbers(dataset, tmp_path):
    named = Dataset(dataset.root, dataset.classes, dataset.category_ids,
                    {"a/x": dataset.images["1"].__class__("a/x", "images/1.png", 64, 48)}, {"a/x": Boxes.of()})
    write_coco(tmp_path / "a.json", named, ("a/x",))
    assert json.loads((tmp_path / "a.json").read_text())["images"][0]["id"] == 1


def test_names_that_would_clash_are_refused(dataset, tmp_path):
    images = {image_id: ImageInfo(image_id, "images/1.png", 64, 48) for image_id in ("a/b", "a_b")}
    clash = Dataset(dataset.root, ("ant",), (1,), images, {}, {"train": ("a/b", "a_b")})
    for write in (write_voc, write_yolo):
        with pytest.raises(ValueError, match="expected images with names of their own, got the same name twice"):
            write(tmp_path / "copy", clash, clash.splits)
