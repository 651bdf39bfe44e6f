"""A batch for annotators in each format, read by something else than its writer."""

import json

import defusedxml.ElementTree as Xml
import numpy as np
import pytest

from mgral.annotation.preannotations import FORMATS, write_preannotations
from mgral.annotation.proposals import proposals
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
    address = f"/data/local-files/?d={dataset.root.resolve().name}/cam%20%3C1%3E/%C3%A4%20%26%20b.jpg"
    assert first["data"] == {"image": address, "path": NAMES[0], "rank": 1}
    assert second["predictions"] == []
    prediction, = first["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("random 0", 0.8765)
    region = prediction["result"][0]
    assert region["value"] == {"x": 2.5, "y": pytest.approx(6.666667), "width": 26.25,
                               "height": pytest.approx(33.333333), "rotation": 0, "rectanglelabels": ["bee\ufffd"]}
    assert len({entry["id"] for entry in prediction["result"]}) == 2
    view = Xml.parse(config).getroot()
    labels, image = view.find("RectangleLabels"), view.find("Image")
    assert (labels.get("name"), labels.get("toName")) == (region["from_name"], region["to_name"])
    assert (image.get("name"), image.get("value")) == ("image", "$image")
    assert [label.get("value") for label in labels] == ["<ant> & co", "bee\ufffd"]


def test_what_label_studio_gets_is_read_back_as_predictions(dataset, tmp_path):
    tasks, _ = write_preannotations("label-studio", tmp_path, dataset, NAMES, DETECTIONS, INFO)
    read = read_predictions(tasks, dataset.images, classes={CLASSES[0]: 4, "bee\ufffd": 9})
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
    folder, = write_preannotations(kind, tmp_path / "out", dataset, NAMES, DETECTIONS, INFO)
    labels = sorted(folder.rglob("*.xml" if kind == "voc" else "labels/**/*.txt"))
    assert len(labels) == len([path for path in folder.rglob("*") if path.suffix == ".jpg"]) == 2
    labels = sorted(labels, key=lambda path: -path.stat().st_size)
    if kind == "voc":
        root = Xml.parse(labels[0]).getroot()
        assert [name.text for name in root.iterfind("object/name")] == ["bee\ufffd", "<ant> & co"]
        assert float(root.findtext("object/bndbox/xmax")) == 11.5
    else:
        rows = [[float(word) for word in line.split()] for line in labels[0].read_text().splitlines()]
        wanted = [[1, 6.25 / 40, 7 / 30, 10.5 / 40, 10 / 30], [0, 0.25, 11.5 / 30, 0.5, 17 / 30]]
        np.testing.assert_allclose(rows, wanted, atol=1e-6)


def test_coco_keeps_category_ids_and_scores(dataset, tmp_path):
    path, = write_preannotations("coco", tmp_path, dataset, NAMES, DETECTIONS, INFO)
    content = json.loads(path.read_text())
    assert [(entry["category_id"], entry["score"]) for entry in content["annotations"]] == [(9, 0.8765), (4, 0.5)]
    assert (content["info"], content["licenses"]) == (INFO, [])


def test_cvat_gets_coco_as_it_wants_it(dataset, tmp_path):
    dataset = Dataset(dataset.root, CLASSES, (0, 9), dataset.images, {})
    folder, = write_preannotations("cvat-coco", tmp_path, dataset, NAMES, DETECTIONS, INFO)
    content = json.loads((folder / "annotations" / "instances_default.json").read_text())
    assert content.keys() == {"info", "licenses", "categories", "images", "annotations"}
    assert [(entry["id"], entry["name"]) for entry in content["categories"]] == [(1, CLASSES[0]), (2, CLASSES[1])]
    assert [(entry["id"], entry["file_name"]) for entry in content["images"]] == [(1, NAMES[0]), (2, NAMES[1])]
    first = content["annotations"][0]
    assert first == {"id": 1, "image_id": 1, "category_id": 2, "bbox": [1.0, 2.0, 10.5, 10.0], "area": 105.0,
                     "iscrowd": 0, "segmentation": [], "attributes": {"occluded": False, "score": 0.8765}}


@pytest.mark.parametrize("classes", [("ant", "ant\x01"), ("\x01",), ("a\0b",), ("ant ", "ant")])
def test_classes_that_cannot_be_told_apart_are_refused(dataset, tmp_path, classes):
    dataset = Dataset(dataset.root, classes, tuple(range(len(classes))), dataset.images, {})
    with pytest.raises(DataError, match="classes: expected names that annotation tools can show and tell apart, got"):
        write_preannotations("cvat", tmp_path / "out", dataset, NAMES, {}, INFO)
    assert not (tmp_path / "out").exists()


def test_images_that_cannot_be_told_apart_in_xml_are_refused(tmp_path):
    names = ("a\x01.jpg", "a\x02.jpg")
    dataset = Dataset(tmp_path, ("ant",), (1,), {name: ImageInfo(name, name, 40, 30) for name in names}, {})
    with pytest.raises(DataError, match="expected images whose names differ in XML, .* write the batch as coco"):
        write_preannotations("cvat", tmp_path / "out", dataset, names, {}, INFO)


@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_folders_in_which_people_may_have_labelled_stay(dataset, tmp_path, kind):
    folder, = write_preannotations(kind, tmp_path, dataset, NAMES, DETECTIONS, INFO)
    (folder / "labelled").write_text("by hand")
    with pytest.raises(DataError, match=f"{kind}: expected nothing there, got what people may have labelled in"):
        write_preannotations(kind, tmp_path, dataset, NAMES, DETECTIONS, INFO)
    assert (folder / "labelled").exists()


@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_folders_are_whole_or_not_there(dataset, tmp_path, kind):
    dataset.path(NAMES[1]).unlink()
    with pytest.raises(DataError, match="expected images that can be copied there, got No such file or directory"):
        write_preannotations(kind, tmp_path / "out", dataset, NAMES, DETECTIONS, INFO)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("kind", FORMATS)
def test_a_first_batch_has_no_boxes(dataset, tmp_path, kind):
    assert all(path.exists() for path in write_preannotations(kind, tmp_path / "out", dataset, NAMES, {}, INFO))


def test_boxes_that_a_format_could_round_away_are_left_out(dataset):
    image = dataset.images[NAMES[0]]
    sides = (0.02, 0.09, 0.11, 5)
    kept = proposals(image, found(*(((1, 1, 1 + side, 9), 0.9, 0) for side in sides)))
    assert [box.corners[2] for box in kept] == [1.11, 6.0]


@pytest.mark.parametrize("kind", FORMATS)
def test_without_classes_there_is_something_to_label(dataset, tmp_path, kind):
    bare = Dataset(dataset.root, (), (), dataset.images, {})
    paths = write_preannotations(kind, tmp_path / "out", bare, NAMES, dict.fromkeys(NAMES, found()), INFO)
    assert all(path.exists() for path in paths)
    if kind != "voc":  # which lists no classes
        files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))
                 if file.suffix in (".yaml", ".json", ".xml")]
        assert any("object" in file.read_text() for file in files)


@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_folders_in_which_two_images_would_have_one_name_are_refused(tmp_path, kind):
    names = ("a/b.jpg", "c/b.jpg", "a_b.jpg")
    for name in names:
        save_image(tmp_path / name)
    dataset = Dataset(tmp_path, CLASSES, (1, 2), {name: ImageInfo(name, name, 40, 30) for name in names}, {})
    with pytest.raises(DataError, match="the same name twice; write the batch as coco, cvat or label-studio"):
        write_preannotations(kind, tmp_path / "out", dataset, names, dict.fromkeys(names, found()), INFO)
