"""What came back of a batch, by rule: which images, which boxes, what is refused and in which words."""

import json
from pathlib import Path

import numpy as np
import pytest

from mgral.annotation.preannotations import FORMATS, write_preannotations
from mgral.annotation.returned import read_returned
from mgral.errors import DataError
from tests.annotation.annotators import came_back, data_set, detections

SIZES = {"cam1/a.jpg": (60, 40), "cam2/a.jpg": (60, 40), "b.png": (50, 50), "c.jpg": (33, 44)}
IDS = ("cam1/a.jpg", "cam2/a.jpg", "b.png")
FOUND = {"cam1/a.jpg": detections(((1, 2, 30, 20), 0), ((5, 5, 50.25, 39), 1)),
         "b.png": detections(((10, 10, 20, 21), 1))}
CVAT_BOX = '<box label="ant" xtl="1" ytl="2" xbr="30" ybr="20" occluded="0" z_order="0"/>'


@pytest.fixture
def dataset(tmp_path):
    return data_set(tmp_path / "data", SIZES)


@pytest.fixture
def coco(dataset, tmp_path):
    return came_back("coco", tmp_path / "out", dataset, IDS, FOUND)


def changed(path: Path, change) -> Path:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def add(content, **more):
    content["annotations"].append({"id": 99, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]} | more)


def cvat(path: Path, *images: str) -> Path:
    path.write_text(f"<annotations><version>1.1</version>{''.join(images)}</annotations>")
    return path


def cvat_image(name, *shapes, size=(60, 40)):
    return f'<image id="0" name="{name}" width="{size[0]}" height="{size[1]}">{"".join(shapes)}</image>'


def noted(returned, text):
    return [note for note in returned.notes if text in note]


def refusals(path, dataset, ids=IDS, **more):
    with pytest.raises(DataError) as caught:
        read_returned(path, dataset, ids, **more)
    assert all("expected" in line and ", got " in line and "\n" not in line for line in caught.value.problems)
    return caught.value.problems


@pytest.mark.parametrize("kind", FORMATS)
def test_images_without_a_box_are_silent_but_for_label_studio(dataset, tmp_path, kind):
    returned = read_returned(came_back(kind, tmp_path / "out", dataset, IDS, FOUND), dataset, IDS)
    assert len(returned.boxes) == 3
    assert returned.silent == (0 if kind == "label-studio" else 1)
    assert (returned.seconds, returned.timed) == ((7.5, 3) if kind == "label-studio" else (None, 0))


@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_images_without_a_file_are_missing(kind, dataset, tmp_path):
    path = came_back(kind, tmp_path, dataset, IDS, FOUND)
    next(file for file in path.rglob("cam1_a.*") if file.suffix in (".xml", ".txt")).unlink()
    returned = read_returned(path, dataset, IDS)
    assert (returned.missing, tuple(returned.boxes), returned.silent) == (("cam1/a.jpg",), ("cam2/a.jpg", "b.png"), 1)


def test_tasks_say_who_finished_what_and_how_long_it_took(dataset, tmp_path):
    path = came_back("label-studio", tmp_path, dataset, IDS, FOUND)

    def part(tasks):
        tasks[0]["annotations"] = []
        tasks[0]["predictions"] = [{"result": tasks[2]["annotations"][0]["result"]}]
        tasks[1]["annotations"].insert(0, {"id": 0, "result": [], "was_cancelled": True, "lead_time": 1000})
        del tasks[2]["annotations"][0]["lead_time"]
    returned = read_returned(changed(path, part), dataset, IDS)
    assert returned.unfinished == ("cam1/a.jpg",)
    assert tuple(returned.boxes) == ("cam2/a.jpg", "b.png")
    assert (returned.seconds, returned.timed, returned.silent) == (2.5, 1, 0)


@pytest.mark.parametrize("lead", [True, -1, "7", None, float("inf"), 1e300])
def test_a_lead_time_that_is_none_counts_for_nothing(dataset, tmp_path, lead):
    def spoil(tasks):
        tasks[0]["annotations"][0]["lead_time"] = lead
    path = changed(came_back("label-studio", tmp_path, dataset, IDS, FOUND), spoil)
    returned = read_returned(path, dataset, IDS)
    assert (returned.seconds, returned.timed) == (5.0, 2)


def test_predictions_are_no_labels(dataset, tmp_path):
    tasks, _ = write_preannotations("label-studio", tmp_path, dataset, IDS, FOUND, {})
    returned = read_returned(tasks, dataset, IDS)
    assert (returned.boxes, returned.unfinished) == ({}, IDS)
    (tmp_path / "results.json").write_text(json.dumps([{"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5],
                                                        "score": 0.5}]))
    line, = refusals(tmp_path / "results.json", dataset)
    assert "got predictions; export the annotations that people made" in line


@pytest.mark.parametrize(("content", "match"), [
    ({"images": [{"id": 1, "file_name": "b.png", "width": 50, "height": 50}], "categories": []},
     "a list of objects under 'annotations', got none; export the annotations too"),
    ([{"image": "b.png", "annotation_id": 3, "label": []}], "JSON-MIN, .*; export JSON"),
    ({"shapes": [], "imagePath": "b.png"}, "labelme's annotations; convert them to COCO"),
    ({"a": 1}, "as COCO, .* got something else; export them as one of these"),
    ([], "got nothing; export the annotations that people made")])
def test_json_of_other_kinds_is_refused(dataset, tmp_path, content, match):
    (tmp_path / "a.json").write_text(json.dumps(content))
    line, *_ = refusals(tmp_path / "a.json", dataset)
    with pytest.raises(DataError, match=match):
        read_returned(tmp_path / "a.json", dataset, IDS)
    assert "a.json" in line


def test_other_files_are_refused(dataset, tmp_path):
    (tmp_path / "a.csv").write_text("image,label\n")
    assert "got a .csv file; export the annotations as COCO" in refusals(tmp_path / "a.csv", dataset)[0]
    assert "got nothing there; check the path" in refusals(tmp_path / "none.json", dataset)[0]
    (tmp_path / "page.xml").write_text("<html></html>")
    assert "got something else" in refusals(tmp_path / "page.xml", dataset)[0]
    (tmp_path / "empty").mkdir()
    assert "got none in 0 files" in refusals(tmp_path / "empty", dataset)[0]


def test_two_formats_in_a_folder_are_refused(dataset, tmp_path):
    folder = came_back("voc", tmp_path / "out", dataset, IDS, FOUND)
    came_back("coco", folder, dataset, IDS, FOUND)
    line, = refusals(folder, dataset)
    assert "in one format, got COCO JSON (preannotations.json) and Pascal VOC XML (Annotations/b.xml, …)" in line


def test_another_coco_file_beside_those_that_are_read_is_refused(dataset, tmp_path):
    folder = came_back("cvat-coco", tmp_path / "out", dataset, IDS, FOUND)
    (folder / "annotations" / "labels_default.json").write_text(json.dumps({"images": [], "annotations": [],
                                                                            "categories": []}))
    assert noted(read_returned(folder, dataset, IDS), "labels_default.json: not read, as instances are beside it")
    came_back("coco", folder, dataset, IDS, FOUND)
    line, = refusals(folder, dataset)
    assert "preannotations.json: expected one set of COCO files, got this one beside others" in line


def test_what_else_lies_beside_the_annotations_is_said(dataset, tmp_path):
    folder = came_back("voc", tmp_path / "out", dataset, IDS, FOUND)
    (folder / "b.json").write_text('{"shapes": [], "imagePath": "b.png"}')
    assert noted(read_returned(folder, dataset, IDS), "b.json: not read, it holds labelme's annotations")


def test_tracks_of_a_video_are_refused(dataset, tmp_path):
    box = CVAT_BOX.replace("<box", '<box frame="0"')
    line, *_ = refusals(cvat(tmp_path / "a.xml", f'<track id="0" label="ant">{box}</track>'), dataset)
    assert "got 1 tracks of a video; export the task as CVAT for images 1.1" in line


def test_others_are_left_aside_whatever_is_wrong_with_them(coco, dataset):
    def more(content):
        content["images"] += [{"id": 7, "file_name": "c.jpg", "width": 1, "height": "x"},
                              {"id": 8, "file_name": "c.jpg"}, {"id": 9, "file_name": "elsewhere.jpg"}]
        add(content, image_id=7, bbox=[500, 500, -3, 0])
        add(content, image_id=9, bbox=None, id=100)
    returned = read_returned(changed(coco, more), dataset, IDS)
    assert (returned.extra, returned.missing, len(returned.boxes["cam1/a.jpg"])) == (2, (), 2)
    assert noted(returned, "2 images are none of the batch and are left aside, the first ones 'c.jpg, elsewhere.jpg'")
    assert not noted(returned, "renamed")


def test_a_file_of_another_batch_is_refused(coco, dataset):
    line, = refusals(coco, dataset, ["c.jpg"])
    assert "expected images of the batch ('c.jpg'), got 3 others, the first ones 'cam1/a.jpg, cam2/a" in line


@pytest.mark.parametrize("kind", ["cvat", "voc", "yolo"])
def test_an_unknown_name_is_said_where_an_image_is_missing(kind, dataset, tmp_path):
    path = came_back(kind, tmp_path, dataset, IDS, FOUND)
    if kind == "cvat":
        path.write_text(path.read_text().replace("b.png", "b (1).png"))
    else:
        file = next(file for file in path.rglob("b.*") if file.suffix in (".xml", ".txt"))
        file.rename(file.with_stem("b (1)"))
    returned = read_returned(path, dataset, IDS)
    assert returned.missing == ("b.png",)
    note, = noted(returned, "is no image of the data set, and 1 of the batch are missing, the first one 'b.png'")
    assert "b (1)" in note
    assert "was it renamed?" in note


@pytest.mark.parametrize(("change", "match"), [
    (lambda c: c["images"].append({**c["images"][2], "id": 4}), "expected each image once, got b.png again"),
    (lambda c: c["images"][2].update(mgral_id="cam2/a.jpg"), "image 3: expected mgral_id 'b.png', got 'cam2/a.jpg'"),
    (lambda c: c["images"][2].update(file_name="z.png"), "image 3: expected mgral_id 'z.png', got 'b.png'; undo the"),
    (lambda c: c["images"][2].update(mgral_id=[]), r"expected mgral_id 'b.png', got \[\]; undo"),
    (lambda c: c["images"][0].update(width=640, height=640), "cam1/a.jpg to have 640 × 640 pixels as annotated, got"),
    (lambda c: c["categories"][1].update(name="wasp"), "expected a class of ant, bee, got 'wasp'; correct"),
    (lambda c: c["categories"][1].update(name="Bee"), r"got 'Bee' \(did you mean 'bee'\?\)"),
    (lambda c: add(c, bbox=[55, 1, 15, 5]), "annotation 99: expected a box with an area and inside 60 × 40"),
    (lambda c: add(c, bbox=[1, 1, 0, 5]), "annotation 99: expected a box with an area"),
    (lambda c: add(c, bbox=[1, 1, float("nan"), 5]), "annotation 99: expected finite numbers, .* in the annot"),
    (lambda c: add(c, category_id=9), "annotation 99: expected a category id of 1, 2, got 9"),
    (lambda c: add(c, image_id=9), "annotation 99: expected the id of an image in this file, got 9")])
def test_what_is_wrong_is_refused_and_named(coco, dataset, change, match):
    with pytest.raises(DataError, match=match):
        read_returned(changed(coco, change), dataset, IDS)


def test_an_image_in_two_files_of_its_own_is_refused(dataset, tmp_path):
    path = came_back("voc", tmp_path, dataset, IDS, FOUND)
    file = path / "Annotations" / "b.xml"
    (path / "second").mkdir()
    (path / "second" / "b.xml").write_text(file.read_text())
    line, = refusals(path, dataset)
    assert line.startswith(f"{path}/second/b.xml: expected each image once, got b.png again (first: {file})")


def test_classes_that_no_box_uses_may_be_any(coco, dataset):
    returned = read_returned(changed(coco, lambda c: c["categories"].append({"id": 9, "name": "unsure"})), dataset, IDS)
    assert returned.classes == ("ant", "bee")


def test_new_classes_come_after_the_known_ones_if_they_may(coco, dataset):
    def more(content):
        content["categories"].append({"id": 9, "name": "wasp"})
        add(content, category_id=9)
    assert "got 'wasp'" in refusals(changed(coco, more), dataset)[0]
    returned = read_returned(coco, dataset, IDS, new_classes=True)
    assert returned.classes == ("ant", "bee", "wasp")
    assert returned.boxes["cam1/a.jpg"].labels.tolist() == [1, 0, 2] or sorted(
        returned.boxes["cam1/a.jpg"].labels.tolist()) == [0, 1, 2]
    assert noted(returned, "1 new classes: 'wasp'")


@pytest.mark.parametrize("kind", ["coco", "cvat", "yolo", "label-studio", "voc"])
def test_a_first_batch_brings_its_classes(kind, tmp_path):
    bare = data_set(tmp_path / "data", SIZES, ())
    path = came_back(kind, tmp_path / "out", data_set(tmp_path / "data", SIZES, ("object", "ant", "bee")), IDS,
                     {"b.png": detections(((1, 2, 30, 20), 2), ((3, 3, 9, 9), 1))})
    returned = read_returned(path, bare, IDS)
    assert [returned.classes[label] for label in returned.boxes["b.png"].labels] == ["bee", "ant"]
    assert set(returned.classes) == {"ant", "bee"}


def test_where_nobody_named_a_class_there_is_one(tmp_path):
    bare = data_set(tmp_path / "data", SIZES, ())
    path = came_back("cvat", tmp_path / "out", bare, IDS, {})
    assert read_returned(path, bare, IDS).classes == ("object",)


def test_rotated_boxes_and_overhang(dataset, tmp_path):
    turned = CVAT_BOX.replace('xtl="1" ytl="2" xbr="30" ybr="20"', 'xtl="5" ytl="5" xbr="15" ybr="13" rotation="90"')
    over = CVAT_BOX.replace('xtl="1"', 'xtl="-0.9"')
    returned = read_returned(cvat(tmp_path / "a.xml", cvat_image("cam1/a.jpg", turned, over)), dataset, IDS)
    np.testing.assert_allclose(returned.boxes["cam1/a.jpg"].xyxy, [[6, 4, 14, 14], [0, 2, 30, 20]], atol=1e-5)
    assert noted(returned, "rotated by 90 degrees: its upright envelope is taken")
    assert noted(returned, "clipped, it stands over the edge by a pixel at most")


def test_crowd_and_difficult_boxes_are_to_be_ignored(coco, dataset, tmp_path):
    returned = read_returned(changed(coco, lambda c: add(c, iscrowd=1)), dataset, IDS)
    assert returned.boxes["cam1/a.jpg"].ignore.tolist() == [False, False, True]
    path = came_back("voc", tmp_path, dataset, IDS, FOUND)
    file = path / "Annotations" / "b.xml"
    file.write_text(file.read_text().replace("<difficult>0", "<difficult>1"))
    assert read_returned(path, dataset, IDS).boxes["b.png"].ignore.tolist() == [True]


def test_yolo_with_six_columns_is_refused(dataset, tmp_path):
    path = came_back("yolo", tmp_path, dataset, IDS, FOUND)
    (path / "labels" / "batch" / "b.txt").write_text("0 0.5 0.5 0.1 0.1 0.9\n")
    assert "b.txt:1: expected 5 numbers" in refusals(path, dataset)[0]


def test_label_files_without_names_of_classes_are_refused(dataset, tmp_path):
    path = came_back("yolo", tmp_path, dataset, IDS, FOUND)
    line, = refusals(path / "labels", dataset)
    assert "expected a file that names the classes of the YOLO labels, got none" in line


def test_yolo_classes_count_by_name(dataset, tmp_path):
    path = came_back("yolo", tmp_path, dataset, IDS, FOUND)
    (path / "data.yaml").write_text("names: [unsure, bee, ant]\ntrain: ../train/images\nval: nowhere\n")
    (path / "labels" / "batch" / "b.txt").write_text("1 0.5 0.5 0.1 0.1\n2 0.5 0.5 0.2 0.2\n")
    (path / "labels" / "batch" / "cam1_a.txt").write_text("")
    assert read_returned(path, dataset, IDS).boxes["b.png"].labels.tolist() == [1, 0]


def test_all_problems_are_said_at_once(coco, dataset):
    def spoil(content):
        add(content, bbox=[55, 1, 15, 5])
        add(content, id=100, category_id=9)
        content["images"].append({**content["images"][2], "id": 4})
    assert len(refusals(changed(coco, spoil), dataset)) == 3


def test_links_are_followed_where_they_were_given(coco, dataset, tmp_path):
    (tmp_path / "link.json").symlink_to(coco)
    assert len(read_returned(tmp_path / "link.json", dataset, IDS).boxes) == 3
    changed(coco, lambda content: add(content, bbox=[1, 1, 0, 5]))
    assert refusals(tmp_path / "link.json", dataset)[0].startswith(f"{tmp_path}/link.json: annotation 99")
