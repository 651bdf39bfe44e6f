"""A batch goes out with the model's boxes and comes back corrected, or not at all."""

import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from mgral.annotation.coco import export_batch, import_annotations, read_annotations, read_preannotations
from mgral.data.dataset import Dataset, ImageInfo
from mgral.errors import DataError
from mgral.pool.inspection import Detections

IDS = ("images/x.jpg", "images/b/y.jpg", "images/c/y.jpg")


@pytest.fixture
def dataset(tmp_path):
    sizes = {"images/x.jpg": (40, 30), "images/b/y.jpg": (50, 60), "images/c/y.jpg": (20, 20),
             "images/other.jpg": (20, 20)}
    images = {name: ImageInfo(name, name, *size) for name, size in sizes.items()}
    return Dataset(tmp_path, ("ant", "bee"), (3, 5), images, {})


@pytest.fixture
def exported(dataset, tmp_path):
    xyxy = np.array([[1, 2, 11, 12], [-5, 3, 20, 20], [50, 50, 60, 60], [0, 0, 9, 9]], np.float32)
    detections = {"images/x.jpg": Detections(xyxy, np.array([0.9, 0.75, 0.7, 0.2], np.float32), np.array([1, 0, 0, 1]))}
    export_batch(tmp_path / "batch.json", dataset, IDS, detections, info={"study": "demo"})
    return tmp_path / "batch.json"


def corrected(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def add(content, image, bbox, category=3):
    content["annotations"].append({"id": 50 + len(content["annotations"]), "image_id": image, "category_id": category,
                                   "bbox": bbox})


def test_export_is_what_annotation_tools_expect(exported):
    content = json.loads(exported.read_text())
    assert content["info"] == {"study": "demo"}
    assert content["categories"] == [{"id": 3, "name": "ant", "supercategory": ""},
                                     {"id": 5, "name": "bee", "supercategory": ""}]
    assert content["images"][1] == {"id": 2, "file_name": "images/b/y.jpg", "width": 50, "height": 60,
                                    "mgral_id": "images/b/y.jpg"}
    first, second = content["annotations"]
    assert first == {"id": 1, "image_id": 1, "category_id": 5, "bbox": [1.0, 2.0, 10.0, 10.0], "area": 100.0,
                     "iscrowd": 0, "segmentation": [], "score": 0.9, "attributes": {"score": 0.9, "source": "model"}}
    assert second["bbox"] == [0.0, 3.0, 20.0, 17.0]


def test_pycocotools_reads_the_export(exported, capsys):
    coco = COCO(str(exported))
    assert coco.getImgIds() == [1, 2, 3]
    assert coco.getAnnIds(imgIds=[1], catIds=[5]) == [1]


def test_a_batch_is_read_as_it_went_out(dataset, exported):
    seen = read_preannotations(exported, dataset)
    assert tuple(seen) == IDS
    x = seen["images/x.jpg"]
    np.testing.assert_allclose(x.xyxy, [[1, 2, 11, 12], [0, 3, 20, 20]])
    np.testing.assert_allclose(x.scores, [0.9, 0.75])
    assert (x.labels.tolist(), len(seen["images/b/y.jpg"])) == ([1, 0], 0)
    exported.write_text("{}")
    with pytest.raises(DataError, match="expected the batch as it went out, got 'categories'; restore the file"):
        read_preannotations(exported, dataset)


def test_least_score_may_be_chosen(dataset, tmp_path):
    detections = {"images/x.jpg": Detections(np.array([[1, 2, 11, 12]], np.float32), np.array([0.2], np.float32),
                                             np.array([1]))}
    export_batch(tmp_path / "a.json", dataset, ("images/x.jpg",), detections, min_score=0.1)
    assert len(json.loads((tmp_path / "a.json").read_text())["annotations"]) == 1


@pytest.mark.parametrize(("ids", "match"), [(("images/x.jpg", "77"), "got 77"),
                                            (("images/x.jpg", "images/x.jpg"), "got one twice")])
def test_only_distinct_known_images_are_exported(dataset, tmp_path, ids, match):
    with pytest.raises(ValueError, match=f"expected distinct images of the data set, {match}"):
        export_batch(tmp_path / "a.json", dataset, ids, {})
    assert not (tmp_path / "a.json").exists()


def test_import_gives_exactly_the_batch(dataset, exported):
    corrected(exported, lambda content: add(content, 2, [5, 6, 7, 8.5]))
    boxes = import_annotations(exported, dataset, IDS)
    assert tuple(boxes) == IDS
    np.testing.assert_allclose(boxes["images/x.jpg"].xyxy, [[1, 2, 11, 12], [0, 3, 20, 20]])
    assert boxes["images/x.jpg"].labels.tolist() == [1, 0]
    np.testing.assert_allclose(boxes["images/b/y.jpg"].xyxy, [[5, 6, 12, 14.5]])
    assert len(boxes["images/c/y.jpg"]) == 0


def test_import_survives_renumbering_by_the_tool(dataset, exported):
    def renumber(content):
        for entry in content["images"]:
            entry["id"] += 100
            del entry["mgral_id"]
        for entry in content["annotations"]:
            entry["image_id"] += 100
            entry["category_id"] = {3: 1, 5: 2}[entry["category_id"]]
        content["categories"] = [{"id": 1, "name": "ant"}, {"id": 2, "name": "bee"}]
        content["images"][0]["file_name"] = "x.jpg"
    boxes = import_annotations(corrected(exported, renumber), dataset, IDS)
    assert boxes["images/x.jpg"].labels.tolist() == [1, 0]


@pytest.mark.parametrize(("change", "match"), [
    (lambda c: c["images"][0].update(file_name="images/other.jpg"), "image of the batch, got 'images/other"),
    (lambda c: c["images"][1].update(file_name="y.jpg"), "'y.jpg', which could be 'images/b/y.jpg' or 'images/c"),
    (lambda c: c["images"].pop(), "expected an entry for 'images/c/y.jpg', got none"),
    (lambda c: c["images"].append({**c["images"][2], "id": 4}), "expected each image once, got images/c/y.jpg again"),
    (lambda c: c["images"][0].update(mgral_id="images/c/y.jpg"), "expected mgral_id 'images/x.jpg', got 'images/c/y"),
    (lambda c: c["images"][0].update(width=41), "to have 41 × 30 pixels as annotated, got 40 × 30"),
    (lambda c: c["categories"][0].update(name="wasp"), "expected a class of ant, bee, got 'wasp'"),
    (lambda c: add(c, 1, [1, 1, 5, 5], category=9), "expected a category id of .*, got 9"),
    (lambda c: add(c, 9, [1, 1, 5, 5]), "expected the id of an image in this file, got 9"),
    (lambda c: add(c, 1, [35, 1, 15, 5]), "expected a box with an area and inside 40 × 30 .* in the annotation tool"),
    (lambda c: add(c, 1, [1, 1, 0, 5]), "expected a box with an area"),
    (lambda c: add(c, 1, [1, 1, float("nan"), 5]), "expected finite numbers"),
    (lambda c: c["images"].clear(), "expected the id of an image in this file")])
def test_import_refuses_what_is_wrong(dataset, exported, change, match):
    with pytest.raises(DataError, match=match):
        import_annotations(corrected(exported, change), dataset, IDS)


@pytest.mark.parametrize("name", [
    "images\\x.jpg", "x.jpg", "images/cb0618f6-x.jpg", "cb0618f6-x.jpg", "/data/local-files/?d=images/x.jpg",
    "..\\..\\label-studio\\media\\upload\\4\\x.jpg", "images%2Fx.jpg", "/elsewhere/images/x.jpg"])
def test_import_survives_names_that_a_tool_has_changed(dataset, exported, name):
    def rename(content):
        content["images"][0]["file_name"] = name
    boxes, notes = read_annotations(corrected(exported, rename), dataset, IDS)
    assert len(boxes["images/x.jpg"]) == 2
    assert any(repr(name) in note for note in notes)


def test_import_takes_the_envelope_of_a_rotated_box(dataset, exported):
    def rotate(content):
        content["annotations"][0].update(bbox=[10, 10, 8, 4], attributes={"rotation": 90.0})
    boxes, notes = read_annotations(corrected(exported, rotate), dataset, IDS)
    np.testing.assert_allclose(boxes["images/x.jpg"].xyxy[0], [12, 8, 16, 16], atol=1e-5)
    assert any("rotated by 90 degrees" in note for note in notes)


def test_import_suggests_the_class_that_was_meant(dataset, exported):
    with pytest.raises(DataError, match=r"got 'Bee' \(did you mean 'bee'\?\)"):
        import_annotations(corrected(exported, lambda c: c["categories"][1].update(name="Bee")), dataset, IDS)


def test_import_knows_classes_that_no_box_uses(dataset, exported):
    corrected(exported, lambda content: content["categories"].append({"id": 9, "name": "unsure"}))
    assert len(import_annotations(exported, dataset, IDS)["images/x.jpg"]) == 2


def test_import_says_how_many_are_empty(dataset, exported):
    assert "2 of 3 images have no box and are taken as empty" in read_annotations(exported, dataset, IDS)[1][-1]


def test_import_names_all_problems(dataset, exported):
    def spoil(content):
        content["images"].pop()
        add(content, 1, [35, 1, 15, 5])
        add(content, 2, [1, 1, 5, 5], category=9)
    with pytest.raises(DataError) as caught:
        import_annotations(corrected(exported, spoil), dataset, IDS)
    assert len(caught.value.problems) == 3


def test_import_of_a_malformed_file(dataset, tmp_path):
    (tmp_path / "a.json").write_text("{\n,}")
    with pytest.raises(DataError, match=r"a\.json:2: expected JSON"):
        import_annotations(tmp_path / "a.json", dataset, IDS)
    with pytest.raises(DataError, match=r"none\.json: expected what came back of the batch, got nothing there"):
        import_annotations(tmp_path / "none.json", dataset, IDS)
