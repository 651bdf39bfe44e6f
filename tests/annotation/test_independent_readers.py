"""Others read what goes out, and what they write is read: pycocotools and globox."""

from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from mgral.annotation.preannotations import write_preannotations
from mgral.annotation.returned import read_returned
from mgral.config import DataConfig
from mgral.data.dataset import Dataset, ImageInfo
from mgral.data.formats import load_dataset
from tests.annotation.annotators import INFO, detections, pictures
from tests.small_data import save_image

SIZES = {"a.jpg": (64, 48), "sub/b.jpg": (50, 80), "d.jpg": (640, 30)}
FOUND = {"a.jpg": detections(((1, 2, 30.25, 20.5), 0), ((5, 5, 50.25, 39), 1)), "d.jpg": detections(),
         "sub/b.jpg": detections(((10.75, 10, 20, 79.99), 1))}
CLASSES = ("ant", "bee")


@pytest.fixture
def dataset(tmp_path):
    return pictures(tmp_path / "data", SIZES, CLASSES)


def written(kind, folder, dataset) -> Path:
    return write_preannotations(kind, folder, dataset, list(SIZES), FOUND, INFO)[0]


def assert_same(boxes, found, off=1e-4):
    wanted = sorted((label, *corners) for label, corners in zip(found.labels, found.xyxy, strict=True))
    np.testing.assert_allclose(sorted(boxes), wanted, atol=off)


@pytest.mark.parametrize("kind", ["coco", "cvat-coco"])
def test_pycocotools_reads_what_goes_out(dataset, tmp_path, kind, capsys):
    path = written(kind, tmp_path, dataset)
    coco = COCO(str(path / "annotations" / "instances_default.json" if path.is_dir() else path))
    for entry in coco.loadImgs(coco.getImgIds()):
        boxes = [(CLASSES.index(coco.loadCats([box["category_id"]])[0]["name"]), *box["bbox"][:2],
                  box["bbox"][0] + box["bbox"][2], box["bbox"][1] + box["bbox"][3])
                 for box in coco.loadAnns(coco.getAnnIds(imgIds=[entry["id"]]))]
        assert_same(boxes, FOUND[entry["file_name"]])


def read_by_globox(kind, path):
    from globox import AnnotationSet
    if kind == "voc":
        return AnnotationSet.from_pascal_voc(folder=path / "Annotations")
    if kind == "yolo":
        return AnnotationSet.from_yolo_v5(folder=path / "labels" / "batch", image_folder=path / "images" / "batch")
    return AnnotationSet.from_cvat(path) if kind == "cvat" else AnnotationSet.from_coco(file_path=path)


@pytest.mark.parametrize("kind", ["coco", "cvat", "voc", "yolo"])
def test_globox_reads_what_goes_out(dataset, tmp_path, kind):
    pytest.importorskip("globox")
    by_name = {Path(annotation.image_id).stem: annotation for annotation in
               read_by_globox(kind, written(kind, tmp_path / "out", dataset))}
    for name, found in FOUND.items():
        boxes = by_name[Path(name).stem].boxes
        labels = [int(box.label) if kind == "yolo" else CLASSES.index(box.label) for box in boxes]
        assert_same([(label, box.xmin, box.ymin, box.xmax, box.ymax) for label, box in zip(labels, boxes, strict=True)],
                    found, 1e-3)


@pytest.mark.parametrize("kind", ["coco", "cvat", "voc", "yolo"])
def test_what_globox_writes_is_read(dataset, tmp_path, kind):
    pytest.importorskip("globox")
    path = written("cvat-coco", tmp_path / "out", dataset) / "annotations" / "instances_default.json"  # without scores
    labels, theirs = read_by_globox("coco", path), tmp_path / "theirs"
    (theirs / "sub").mkdir(parents=True)
    if kind == "coco":
        labels.save_coco(theirs / "a.json", auto_ids=True)
    elif kind == "cvat":
        labels.save_cvat(theirs / "a.xml")
    elif kind == "voc":
        labels.save_pascal_voc(theirs)
    else:
        labels.save_yolo_v5(theirs, label_to_id={"ant": 1, "bee": 0})
        (theirs / "classes.txt").write_text("bee\nant\n")
    returned = read_returned(theirs, dataset, list(SIZES))
    assert returned.missing == ()
    for name, boxes in returned.boxes.items():
        assert_same([(label, *corners) for label, corners in zip(boxes.labels, boxes.xyxy, strict=True)], FOUND[name],
                    1e-3)


@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_folders_are_data_sets_of_their_own(dataset, tmp_path, kind):
    loaded = load_dataset(DataConfig(), written(kind, tmp_path / "out", dataset))
    assert (loaded.format, loaded.dataset.classes) == (kind, CLASSES)
    assert sorted(len(boxes) for boxes in loaded.dataset.boxes.values()) == [0, 1, 2]


def test_label_maps_name_the_classes_that_they_can(tmp_path):
    save_image(tmp_path / "a.jpg")
    dataset = Dataset(tmp_path, ("ant", "b:ee", "c\nd"), (1, 2, 3), {"a.jpg": ImageInfo("a.jpg", "a.jpg", 40, 30)}, {})
    folder, = write_preannotations("voc", tmp_path / "out", dataset, ["a.jpg"], {}, INFO)
    assert (folder / "labelmap.txt").read_text() == "# label:color_rgb:parts:actions\nant:::\nc d:::\n"
