"""A batch for annotators in each format, read by something else than its writer."""

import json

import defusedxml.ElementTree as Xml
import numpy as np
import pytest

from mgral.annotation.preannotations import FORMATS, write_preannotations
from mgral.data.dataset import Dataset, ImageInfo
from mgral.errors import DataError
from mgral.pool.inspection import Detections
from mgral.pool.predictions import read_predictions
from tests.small_data import save_image

NAMES = ("cam <1>/ä & b.jpg", 'say "=cmd".jpg')
CLASSES = ("<ant> & co", "bee\x01")
INFO = {"strategy": "random", "seed": 0}


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    for name in NAMES:
        save_image(tmp_path / "photos" / name)
    return Dataset(tmp_path / "photos", CLASSES, (4, 9), {name: ImageInfo(name, name, 40, 30) for name in NAMES}, {})


def found(*boxes) -> Detections:
    xyxy, scores, labels = zip(*boxes, strict=True) if boxes else ((), (), ())
    return Detections(np.array(xyxy, np.float32).reshape(-1, 4), np.array(scores, np.float32),
                      np.array(labels, dtype=np.int64))


DETECTIONS = {NAMES[0]: found(((1, 2, 11.5, 12), 0.87654, 1), ((-3, 3, 20, 20), 0.5, 0), ((0, 0, 9, 9), 0.1, 0)),
              NAMES[1]: found()}


def test_label_studio_regions_say_all_that_it_wants(dataset, tmp_path):
    tasks, config = write_preannotations("label-studio", tmp_path / "out", dataset, NAMES, DETECTIONS, INFO)
    first, second = json.loads(tasks.read_text())
    assert first["data"] == {"image": "/data/local-files/?d=cam%20%3C1%3E/%C3%A4%20%26%20b.jpg", "path": NAMES[0],
                             "rank": 1}
    assert second["predictions"] == []
    prediction, = first["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("random 0", 0.8765)
    region = prediction["result"][0]
    assert region["value"] == {"x": 2.5, "y": pytest.approx(6.666667), "width": 26.25,
                               "height": pytest.approx(33.333333), "rotation": 0, "rectanglelabels": [CLASSES[1]]}
    assert len({entry["id"] for entry in prediction["result"]}) == 2
    view = Xml.parse(config).getroot()
    labels, image = view.find("RectangleLabels"), view.find("Image")
    assert (labels.get("name"), labels.get("toName")) == (region["from_name"], region["to_name"])
    assert (image.get("name"), image.get("value")) == ("image", "$image")
    assert [label.get("value") for label in labels] == ["<ant> & co", "bee\ufffd"]


def test_what_label_studio_gets_is_read_back_as_predictions(dataset, tmp_path):
    tasks, _ = write_preannotations("label-studio", tmp_path, dataset, NAMES, DETECTIONS, INFO)
    read = read_predictions(tasks, dataset.images, classes=dict(zip(CLASSES, (4, 9), strict=True)))
    np.testing.assert_allclose(read.detections[0].xyxy, [[1, 2, 11.5, 12], [0, 3, 20, 20]], atol=1e-4)
    assert read.detections[0].labels.tolist() == [1, 0]
    assert len(read.detections[1]) == 0


def test_cvat_knows_scores_as_attributes_and_images_by_name(dataset, tmp_path):
    path, = write_preannotations("cvat", tmp_path / "out", dataset, NAMES, DETECTIONS, INFO)
    root = Xml.parse(path).getroot()
    assert root.findtext("version") == "1.1"
    assert [name.text for name in root.iterfind("meta/task/labels/label/name")] == ["<ant> & co", "bee\ufffd"]
    assert {name.text for name in root.iterfind("meta/task/labels/label/attributes/attribute/name")} == {"score"}
    assert [image.get("name") for image in root.iterfind("image")] == list(NAMES)
    assert [image.get("id") for image in root.iterfind("image")] == ["0", "1"]
    box = root.find("image/box")
    assert dict(box.attrib) == {"label": "bee\ufffd", "source": "auto", "occluded": "0", "xtl": "1.00", "ytl": "2.00",
                                "xbr": "11.50", "ybr": "12.00", "z_order": "0"}
    assert (box.find("attribute").get("name"), box.findtext("attribute")) == ("score", "0.8765")


@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_folders_hold_images_and_boxes(dataset, tmp_path, kind):
    if kind == "voc":  # neither XML nor VOC has a way to write this
        dataset = Dataset(dataset.root, ("<ant> & co", "bee"), (4, 9), dataset.images, {})
    folder, = write_preannotations(kind, tmp_path / "out", dataset, NAMES, DETECTIONS, INFO)
    labels = sorted(folder.rglob("*.xml" if kind == "voc" else "labels/**/*.txt"))
    assert len(labels) == len([path for path in folder.rglob("*") if path.suffix == ".jpg"]) == 2
    labels = sorted(labels, key=lambda path: -path.stat().st_size)
    if kind == "voc":
        root = Xml.parse(labels[0]).getroot()
        assert [name.text for name in root.iterfind("object/name")] == ["bee", "<ant> & co"]
        assert float(root.findtext("object/bndbox/xmax")) == 11.5
    else:
        rows = [[float(word) for word in line.split()] for line in labels[0].read_text().splitlines()]
        wanted = [[1, 6.25 / 40, 7 / 30, 10.5 / 40, 10 / 30], [0, 0.25, 11.5 / 30, 0.5, 17 / 30]]
        np.testing.assert_allclose(rows, wanted, atol=1e-6)


def test_coco_keeps_category_ids_and_scores(dataset, tmp_path):
    path, = write_preannotations("coco", tmp_path, dataset, NAMES, DETECTIONS, INFO)
    content = json.loads(path.read_text())
    assert [(entry["category_id"], entry["score"]) for entry in content["annotations"]] == [(9, 0.8765), (4, 0.5)]
    assert content["info"] == INFO


@pytest.mark.parametrize("kind", FORMATS)
def test_without_classes_there_is_something_to_label(dataset, tmp_path, kind):
    bare = Dataset(dataset.root, (), (), dataset.images, {})
    paths = write_preannotations(kind, tmp_path / "out", bare, NAMES, dict.fromkeys(NAMES, found()), INFO)
    assert all(path.exists() for path in paths)
    if kind != "voc":  # which lists no classes
        files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*.yaml"))]
        assert any("object" in file.read_text() for file in files)


@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_folders_in_which_two_images_would_have_one_name_are_refused(tmp_path, kind):
    names = ("a/b.jpg", "c/b.jpg", "a_b.jpg")
    for name in names:
        save_image(tmp_path / name)
    dataset = Dataset(tmp_path, CLASSES, (1, 2), {name: ImageInfo(name, name, 40, 30) for name in names}, {})
    with pytest.raises(DataError, match="the same name twice; write the batch as coco, cvat or label-studio"):
        write_preannotations(kind, tmp_path / "out", dataset, names, dict.fromkeys(names, found()), INFO)
