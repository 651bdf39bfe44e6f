"""What is written in a format comes back as it was, and other readers see the same."""

from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from mgral.config import DataConfig
from mgral.data.dataset import Boxes, Dataset, ImageInfo
from mgral.data.formats import load_dataset
from mgral.data.formats.coco import write_coco
from mgral.data.formats.detecting import Found
from mgral.data.formats.folder import Folder
from mgral.data.formats.reading import Given, Reading
from mgral.data.formats.voc import read as read_voc
from mgral.data.formats.voc import write_voc
from mgral.data.formats.yolo import write_yolo
from mgral.findings import Findings
from tests.small_data import save_image

SIZES = [(64, 48), (50, 80), (33, 33), (640, 30), (41, 57), (70, 70)]
TOLERANCE = {"coco": 0.0, "voc": 0.0, "yolo": 0.0011}
"""Pixels: COCO and VOC come back exactly, YOLO has millionths of a side of up to 640."""


def image(number: int) -> str:
    return f"images/{number}.png"


@pytest.fixture
def dataset(tmp_path):
    """Images 1 to 6 with up to seven boxes each, image 3 empty."""
    rng = np.random.default_rng(5)
    images, boxes = {}, {}
    for number, (width, height) in enumerate(SIZES, start=1):
        image_id = image(number)
        save_image(tmp_path / "source" / image_id, width, height, seed=number)
        images[image_id] = ImageInfo(image_id, image_id, width, height)
        count = 0 if number == 3 else number + 1
        start = rng.uniform(0, 0.6, (count, 2))
        corners = np.hstack([start, start + rng.uniform(0.05, 0.4, (count, 2))]) * (width, height, width, height)
        # Every class occurs, so that VOC, which has no list of classes, knows all of them.
        boxes[image_id] = Boxes.of(corners, np.arange(count) % 3)
    splits = {name: tuple(map(image, numbers))
              for name, numbers in {"train": (1, 2, 3), "reward": (4, 5), "test": (6,)}.items()}
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
            assert Path(copy_id).name == Path(image_id).name
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
    for number in (4, 5):
        image_id = image(number)
        boxes = by_name[str(number)].boxes
        np.testing.assert_allclose([(box.xmin, box.ymin, box.xmax, box.ymax) for box in boxes],
                                   dataset.boxes[image_id].xyxy, atol=TOLERANCE[name] + 1e-5)
        names = [dataset.classes[int(box.label)] if name == "yolo" else box.label for box in boxes]
        assert names == [dataset.classes[label] for label in dataset.boxes[image_id].labels]


def test_pycocotools_reads_the_same(dataset, tmp_path, capsys):
    path = tmp_path / "reward.json"
    write_coco(path, dataset, dataset.splits["reward"])
    coco, boxes = COCO(str(path)), dataset.boxes[image(4)]
    assert [entry["file_name"] for entry in coco.loadImgs(coco.getImgIds())] == [image(4), image(5)]
    for entry in coco.loadAnns(coco.getAnnIds(imgIds=coco.getImgIds()[:1])):
        x, y, width, height = entry["bbox"]
        row = np.abs(boxes.xyxy - (x, y, x + width, y + height)).sum(axis=1).argmin()
        assert coco.loadCats([entry["category_id"]])[0]["name"] == dataset.classes[boxes.labels[row]]
    assert len(coco.getAnnIds()) == len(boxes) + len(dataset.boxes[image(5)])


def test_ignored_boxes(dataset, tmp_path):
    last = image(6)
    crowd = Boxes(dataset.boxes[last].xyxy, dataset.boxes[last].labels, np.arange(7) == 2)
    marked = Dataset(dataset.root, dataset.classes, dataset.category_ids, dataset.images,
                     {**dataset.boxes, last: crowd}, dataset.splits)
    for name in TOLERANCE:
        copy = load_dataset(DataConfig(format=name), written(name, marked, tmp_path / name)).dataset
        boxes = copy.boxes[copy.splits["test"][0]]
        assert boxes.ignore.tolist() == ([False] * 6 if name == "yolo" else crowd.ignore.tolist())


def test_voc_offset_round_trip(dataset, tmp_path):
    write_voc(tmp_path / "copy", dataset, dataset.splits, offset=1.0)
    reading = Reading(Folder(tmp_path / "copy"), Findings())
    read_voc(reading, Found("voc", ("Annotations/6.xml",)), Given(), offset=1.0)
    np.testing.assert_allclose(np.reshape(reading.corners, (-1, 4)), dataset.boxes[image(6)].xyxy, atol=1e-5)


def test_images_without_annotation_stay_so(dataset, tmp_path):
    partly = Dataset(dataset.root, dataset.classes, dataset.category_ids, dataset.images,
                     {image_id: boxes for image_id, boxes in dataset.boxes.items() if image_id != image(2)},
                     dataset.splits)
    for name in ("voc", "yolo"):
        copy = load_dataset(DataConfig(format=name), written(name, partly, tmp_path / name)).dataset
        assert [Path(image_id).name for image_id in copy.images if image_id not in copy.boxes] == ["2.png"]
    with pytest.raises(ValueError, match="expected annotated images, got images/2.png without annotation"):
        write_coco(tmp_path / "a.json", partly, (image(1), image(2)))


def test_names_are_the_files_own_where_they_differ(dataset, tmp_path):
    names = ("a/x.png", "b/x.png", "b/c/y.png")
    for name in names:
        save_image(tmp_path / "source" / name, 64, 48)
    nested = Dataset(tmp_path / "source", ("ant",), (1,), {name: ImageInfo(name, name, 64, 48) for name in names},
                     {name: Boxes.of([(1, 2, 30, 40)], [0]) for name in names}, {"train": names})
    write_voc(tmp_path / "voc", nested, nested.splits)
    write_yolo(tmp_path / "yolo", nested, nested.splits)
    assert sorted(path.name for path in (tmp_path / "voc" / "JPEGImages").iterdir()) == ["a_x.png", "b_x.png", "y.png"]
    assert sorted(path.name for path in (tmp_path / "yolo" / "labels" / "train").iterdir()) == [
        "a_x.txt", "b_x.txt", "y.txt"]
    for name in ("voc", "yolo"):
        assert len(load_dataset(DataConfig(), tmp_path / name).dataset.boxes) == 3


def test_lists_that_overlap_are_written(dataset, tmp_path):
    splits = {"train": dataset.splits["train"], "trainval": dataset.splits["train"] + dataset.splits["reward"]}
    write_voc(tmp_path / "copy", dataset, splits)
    copy = load_dataset(DataConfig(), tmp_path / "copy").dataset
    assert {name: len(members) for name, members in copy.splits.items()} == {"train": 3, "trainval": 5}


def test_names_that_would_clash_are_refused(dataset, tmp_path):
    images = {name: ImageInfo(name, image(1), 64, 48) for name in ("a/b.png", "a/b.jpg")}
    clash = Dataset(dataset.root, ("ant",), (1,), images, {}, {"train": tuple(images)})
    for write in (write_voc, write_yolo):
        with pytest.raises(ValueError, match="expected images with names of their own, got the same name twice"):
            write(tmp_path / "copy", clash, clash.splits)
