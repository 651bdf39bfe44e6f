"""Predictions of any detector: the same boxes from each form, and a line for each thing that is wrong."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from mgral.errors import DataError
from mgral.pool.predictions import read_predictions
from tests.pool.predicted import (
    BASE,
    CLASSES,
    FOUND,
    IMAGES,
    coco_entries,
    region,
    save,
    task,
    write_annotations,
    write_coco,
    write_label_studio,
    write_yolo,
)


def check_found(predictions, classes=CLASSES):
    assert tuple(predictions.classes) == tuple(classes)
    for name, detections in zip(IMAGES, predictions.detections, strict=True):
        wanted = FOUND.get(name, [])
        np.testing.assert_allclose(detections.xyxy, np.array([box for _, box, _ in wanted]).reshape(-1, 4), atol=1e-4)
        np.testing.assert_allclose(detections.scores, [score for *_, score in wanted])
        assert [tuple(predictions.classes)[label] for label in detections.labels] == [label for label, *_ in wanted]
    assert predictions.detections.xyxy.dtype == predictions.detections.scores.dtype == np.float32
    assert predictions.mentioned == 2


def problems(*arguments, **options) -> str:
    with pytest.raises(DataError) as caught:
        read_predictions(*arguments, **options)
    return "\n".join(caught.value.problems)


def test_coco_results_with_the_file_that_names_their_ids(tmp_path):
    predictions = read_predictions(write_coco(tmp_path), IMAGES, write_annotations(tmp_path))
    check_found(predictions)
    assert dict(predictions.classes) == {"ant": 3, "bee": 5}
    assert predictions.notes == ()


@pytest.mark.parametrize("named", [
    {"a.jpg": "a.jpg", "cam2/b.jpg": "cam2/b.jpg"}, {"a.jpg": "a", "cam2/b.jpg": "cam2/b"},
    {"a.jpg": "..\\other\\a.jpg", "cam2/b.jpg": "x\\cam2\\b.jpg"},
    {"a.jpg": "https://host/x/a.jpg?token=1", "cam2/b.jpg": "s3://bucket/cam2/b.jpg"},
    {"a.jpg": "%61.jpg", "cam2/b.jpg": "/data/upload/4/cam2/cb0618f6-b.jpg"}])
def test_coco_results_that_name_images_as_programs_do(tmp_path, named):
    path = save(tmp_path / "r.json", coco_entries(named, {"ant": 1, "bee": 2}))
    check_found(read_predictions(path, IMAGES, classes={"ant": 1, "bee": 2}))


def test_an_image_may_be_named_by_its_number_and_a_file_name_comes_before_it(tmp_path):
    images = {f"{number:04d}.jpg": IMAGES["a.jpg"] for number in (7, 12)}
    path = save(tmp_path / "r.json", [BASE | {"image_id": 12}, BASE | {"image_id": 12.0},
                                      BASE | {"image_id": 99, "file_name": "0007.jpg"}])
    assert read_predictions(path, images).detections.counts.tolist() == [1, 2]


@pytest.mark.parametrize("score", [{"score": 0.5}, {}])
def test_a_coco_file_whose_annotations_have_scores_explains_itself(tmp_path, score):
    content = json.loads(write_annotations(tmp_path).read_text())
    content["annotations"] = [{"id": 1, "image_id": 7, "category_id": 5, "bbox": [1, 2, 3, 4], **score}]
    path = save(tmp_path / "r.json", content)
    if not score:
        assert "expected the detector's score, got None" in problems(path, IMAGES)
    else:
        assert read_predictions(path, IMAGES).detections[0].labels.tolist() == [1]


def test_yolo_text_files(tmp_path):
    path = write_yolo(tmp_path)
    predictions = read_predictions(path, IMAGES)
    check_found(predictions)
    assert predictions.notes == (f"{tmp_path / 'data.yaml'}: class names of the predictions are taken from it",)
    (tmp_path / "data.yaml").rename(tmp_path / "mine.yaml")
    check_found(read_predictions(path, IMAGES, tmp_path / "mine.yaml"))
    assert tuple(read_predictions(path, IMAGES).classes) == ("class 0", "class 1")
    check_found(read_predictions(path, IMAGES, classes={"ant": 4, "bee": 2}))
    (tmp_path / "labels" / "classes.txt").write_text("ant\r\nbee\r\n")
    check_found(read_predictions(path, IMAGES))


def test_yolo_outlines_are_boxes_and_empty_files_say_that_nothing_is_there(tmp_path):
    (tmp_path / "a.txt").write_text("0 0.1 0.1 0.4 0.1 0.4 0.5 0.1 0.5 0.75\r\n\r\n")
    (tmp_path / "cam1").mkdir()
    (tmp_path / "cam1" / "b.txt").write_text("")
    predictions = read_predictions(tmp_path, IMAGES)
    np.testing.assert_allclose(predictions.detections[0].xyxy, [[4, 3, 16, 15]], atol=1e-5)
    assert predictions.mentioned == 2
    assert "an outline of 4 points" in predictions.notes[0]


def test_label_studio_tasks(tmp_path):
    predictions = read_predictions(write_label_studio(tmp_path), IMAGES)
    check_found(predictions)
    assert predictions.notes == (f"{tmp_path / 'tasks.json'}: 2 names were matched by their end, such as "
                                 "'/data/local-files/?d=photos/a.jpg' for 'a.jpg'",)


def test_label_studio_turned_rectangles_other_regions_and_several_predictions(tmp_path):
    turned = region("bee", (10, 6, 22, 12), 0.5, rotation=90)
    brush = {"type": "brushlabels", "value": {"rle": [1]}}
    first = task("a.jpg", turned, brush)
    first["predictions"].append({"result": [region("ant", (1, 1, 9, 9), None)], "score": 0.4, "created_at": "2020"})
    first["predictions"][0]["created_at"] = "2021"
    path = save(tmp_path / "t.json", [first, task("cam1/b.jpg", region("ant", (1, 1, 9, 9), None), score=0.25)])
    predictions = read_predictions(path, IMAGES)
    np.testing.assert_allclose(predictions.detections[0].xyxy, [[4, 6, 10, 18]], atol=1e-4)
    assert predictions.detections[1].scores.tolist() == [0.25]
    assert [note.split(": ", 2)[2] for note in predictions.notes] == [
        "2 predictions; the newest counts", "a region of type 'brushlabels' is passed over",
        "no score of its own, so its prediction's counts"]


COCO_FAULTS = [
    ({"score": None}, "prediction 1 (counted from 0): expected the detector's score, got None"),
    ({"score": "0.5"}, "expected the detector's score, got '0.5'"), ({"score": True}, "score, got True"),
    ({"score": 1.5}, "expected a score from 0 to 1, got 1.5"), ({"score": -0.1}, "a score from 0 to 1, got -0.1"),
    ({"score": float("nan")}, "a score from 0 to 1, got nan"),
    ({"bbox": [1, 2, 3]}, "expected bbox as x, y, width, height, got [1, 2, 3]"), ({"bbox": None}, "bbox as x, y"),
    ({"bbox": [1, 2, 3, "4"]}, "bbox as x, y"), ({"bbox": [1, 2, 3, True]}, "bbox as x, y"),
    ({"bbox": [float("nan"), 2, 3, 4]}, "expected finite numbers"),
    ({"bbox": [1, 2, float("inf"), 4]}, "finite numbers"),
    ({"bbox": [1, 2, 10**400, 4]}, "finite numbers"),
    ({"bbox": [5, 5, -3, 4]}, "expected a width and a height of at least 0"),
    ({"bbox": [5, 5, 37, 4]}, "expected a box inside 40 × 30 pixels, got [5, 5, 42, 9]"),
    ({"bbox": [500, 5, 3, 4]}, "expected a box inside 40 × 30 pixels"),
    ({"image_id": 70}, "expected the id of an image in"), ({"image_id": [7]}, "expected an image_id and a category_id"),
    ({"image_id": None}, "an image_id and a category_id"), ({"category_id": None}, "an image_id and a category_id"),
    ({"category_id": True}, "an image_id and a category_id"),
    ({"category_id": 4}, "expected a category_id of 3, 5, got 4")]


@pytest.mark.parametrize(("change", "line"), COCO_FAULTS)
def test_faults_of_coco_results(tmp_path, change, line):
    good = BASE | {"image_id": 7, "category_id": 3}
    path = save(tmp_path / "r.json", [good, good | change])
    said = problems(path, IMAGES, write_annotations(tmp_path))
    assert line in said
    assert said.startswith(f"{path}: ")
    assert "; " in said.partition("got")[2], "a remedy"
    assert len(said.splitlines()) == 1


def test_like_faults_are_counted(tmp_path):
    path = save(tmp_path / "r.json", [BASE | {"image_id": "a", "score": 5}] * 500)
    said = problems(path, IMAGES).splitlines()
    assert len(said) == 3
    assert said[2].endswith("(and 497 more like this)")


@pytest.mark.parametrize(("entries", "line"), [
    ([BASE | {"image_id": "a.jpg"}, BASE | {"image_id": "b.jpg"}],
     "expected a name that means one image, got 'b.jpg', which may be 'cam1/b.jpg' or 'cam2/b.jpg'"),
    ([BASE | {"image_id": "a.jpg"}, BASE | {"image_id": "x/a.jpg"}],
     "expected each image once, got 'x/a.jpg', which means 'a.jpg' as 'a.jpg' does"),
    ([BASE | {"image_id": "a.jpg"}, BASE | {"image_id": "z.jpg"}], "expected one of the images, got 'z.jpg'"),
    ([BASE | {"image_id": "z.jpg"}, BASE | {"image_id": "y.jpg"}],
     "expected names of the 3 images (such as 'a.jpg'), got none of them but others (such as 'z.jpg')"),
    ([BASE | {"image_id": "a.jpg"}, {"foo": 1}], "entry 1 (counted from 0): expected a prediction with image_id"),
    ([BASE | {"image_id": "a.jpg"}, 7], "entry 1 (counted from 0): expected a prediction with image_id"),
    ([], "expected COCO results (a list of image_id, category_id, bbox, score) or Label Studio's tasks"),
    ({}, "expected COCO results"), ([1], "expected COCO results"), ("text", "expected COCO results"),
    (None, "expected COCO results")])
def test_images_and_files_that_are_not_those_meant(tmp_path, entries, line):
    said = problems(save(tmp_path / "r.json", entries), IMAGES)
    assert line in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(("content", "line"), [
    (b'[{"image_id": 1,', ":1: expected JSON, got an error at column"), (b"", ":1: expected JSON"),
    (b"[\xff\xfe]", "expected predictions as JSON"), (b"[" * 100_000, "JSON nested too deeply"),
    (b"[" + b"9" * 5000 + b"]", "expected predictions as JSON, got")])
def test_damaged_files(tmp_path, content, line):
    path = tmp_path / "r.json"
    path.write_bytes(content)
    assert line in problems(path, IMAGES)


def test_a_pickle_is_not_opened_and_a_missing_file_is_said(tmp_path):
    (tmp_path / "r.pkl").write_bytes(b"cos\nsystem\n")
    assert "got a pickle, which may run any code; let mmdet write COCO results" in problems(tmp_path / "r.pkl", IMAGES)
    assert "expected predictions, got nothing there" in problems(tmp_path / "gone.json", IMAGES)


@pytest.mark.parametrize(("line", "said"), [
    ("0 0.5 0.5 0.1 0.1", "expected class, box and confidence (6 numbers), got 5; predict with save_conf=True"),
    ("0,0.5,0.5,0.1,0.1,0.9", "got commas in"), ("bee 0.5 0.5 0.1 0.1 0.9", "expected 6 numbers"),
    ("2 0.5 0.5 0.1 0.1 0.9", "expected a class number from 0 to 1, got 2"),
    ("-1 0.5 0.5 0.1 0.1 0.9", "a class number from 0 to 1, got -1"), ("0.5 0.5 0.5 0.1 0.1 0.9", "got 0.5"),
    ("nan 0.5 0.5 0.1 0.1 0.9", "a class number"), ("0 nan 0.5 0.1 0.1 0.9", "expected finite numbers"),
    ("0 0.5 0.5 0.1 0.1 90", "expected a score from 0 to 1, got 90"), ("0 20 15 4 3 0.9", "expected a box inside"),
    ("0 0.5 0.5 -0.1 0.1 0.9", "expected a width and a height of at least 0"), ("0 0.5 0.5", "expected 6 numbers"),
    ("0 0.1 0.1 0.4 0.1 0.4 0.9", "expected 6 numbers")])
def test_faults_of_yolo_files(tmp_path, line, said):
    path = write_yolo(tmp_path)
    (path / "a.txt").write_text(f"0 0.5 0.5 0.1 0.1 0.9\n{line}\n")
    told = problems(path, IMAGES)
    assert told.startswith(f"{path / 'a.txt'}:2: ")
    assert said in told


@pytest.mark.parametrize(("text", "said"), [
    ("names: [yes, no]", "expected text for class 0, got True"), ("names: {0: a, 2: b}", "a mapping from 0, 1,"),
    ("names: [a, a]", "once"),
    ("names: [", "expected YAML"), ("nc: 2", "expected a list of class names"), ("", "got an empty file")])
def test_class_names_that_cannot_be_read(tmp_path, text, said):
    path = write_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text(text)
    assert said in problems(path, IMAGES)


def test_a_folder_without_predictions_and_files_of_one_image(tmp_path):
    assert "expected text files of predictions, one an image, got none" in problems(tmp_path, IMAGES)
    (tmp_path / "a.txt").write_text("")
    assert "expected at least one detection, got none in any file" in problems(tmp_path, IMAGES)
    for name in ("a.txt", "deep/a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("0 0.5 0.5 0.1 0.1 0.9\n")
    assert "expected each image once, got 'deep/a', which means 'a.jpg' as 'a' does" in problems(tmp_path, IMAGES)


@pytest.mark.parametrize(("tasks", "said"), [
    ([{"data": {"image": "a.jpg"}, "predictions": []}], "expected predictions in the tasks, got none"),
    ([{"data": {"image": "a.jpg"}}, task("cam1/b.jpg")], "task 0 (from 0): expected predictions with a list"),
    ([{"data": {"image": "a.jpg"}, "predictions": [3]}], "expected predictions with a list of regions"),
    ([task(7)], "expected the image's address under data"),
    ([task("a.jpg"), task("a.jpg")], "expected each image once"),
    ([task("a.jpg", region("bee", (1, 1, 9, 9), None))], "region 0 (both from 0): expected a score, got None"),
    ([task("a.jpg", region("bee", (1, 1, 9, 9), 87))], "expected a score from 0 to 1, got 87"),
    ([task("a.jpg", region("bee", (1, 1, 9, 9), 0.5, rectanglelabels=[]))], "expected one label"),
    ([task("a.jpg", region("bee", (1, 1, 9, 9), 0.5, rectanglelabels=["a", "b"]))], "expected one label"),
    ([task("a.jpg", region("bee", (1, 1, 9, 9), 0.5, x="1"))], "expected x, y, width, height and rotation as numbers"),
    ([task("a.jpg", region("bee", (1, 1, 9, 9), 0.5, x=640.0))], "expected a box inside 40 × 30 pixels"),
    ([task("a.jpg", region("bee", (1, 1, 9, 9), 0.5) | {"original_width": 30, "original_height": 40})],
     "expected a picture of 40 × 30 pixels, got one of 30 × 40")])
def test_faults_of_label_studio_tasks(tmp_path, tasks, said):
    assert said in problems(save(tmp_path / "t.json", tasks), IMAGES)


def test_annotations_are_refused_where_they_explain_nothing(tmp_path):
    annotations = write_annotations(tmp_path)
    assert "--annotations" in problems(write_label_studio(tmp_path), IMAGES, annotations)
    assert "expected a COCO file with images and categories" in problems(
        write_coco(tmp_path), IMAGES, save(tmp_path / "x.json", [1]))
    (tmp_path / "names.txt").write_text("")
    assert "expected data.yaml with names, or classes.txt, got no names" in problems(write_yolo(tmp_path), IMAGES,
                                                                                      tmp_path / "names.txt")


NUMBER = some.floats(0, 1, width=32)
BOXES = some.lists(some.tuples(some.sampled_from(sorted(IMAGES)), some.sampled_from(CLASSES), NUMBER, NUMBER, NUMBER,
                               NUMBER, NUMBER), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(BOXES)
def test_all_forms_say_the_same(tmp_path_factory, boxes):
    folder = tmp_path_factory.mktemp("forms")
    rows = [(name, label, min(x1, x2) * 40, min(y1, y2) * 30, max(x1, x2) * 40, max(y1, y2) * 30, score)
            for name, label, x1, y1, x2, y2, score in boxes]
    coco = [{"image_id": name, "category_id": CLASSES.index(label) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1],
             "score": score} for name, label, x1, y1, x2, y2, score in rows]
    tasks = [task(image, *(region(label, tuple(corners), score) for name, label, *corners, score in rows
                           if name == image)) for image in IMAGES]
    for name, label, x1, y1, x2, y2, score in rows:
        path = (folder / "yolo" / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(f"{CLASSES.index(label)} {(x1 + x2) / 80!r} {(y1 + y2) / 60!r} {(x2 - x1) / 40!r} "
                       f"{(y2 - y1) / 30!r} {score!r}\n")
    classes = {"ant": 1, "bee": 2}
    first, *others = (read_predictions(path, IMAGES, classes=classes).detections for path in (
        save(folder / "r.json", coco), save(folder / "t.json", tasks), folder / "yolo"))
    assert (np.diff(first.scores) <= 0).sum() >= len(first.scores) - len(IMAGES)
    for other in others:
        near = abs(len(other.scores) - len(first.scores))
        assert near <= sum(min(x2 - x1, y2 - y1) < 1e-3 for _, _, x1, y1, x2, y2, _ in rows), "only those without area"
        if not near:
            assert other.counts.tolist() == first.counts.tolist()
            np.testing.assert_allclose(np.sort(other.scores), np.sort(first.scores))


def told(path) -> tuple[str, ...]:
    """What was refused; what was read instead can be used."""
    try:
        detections = read_predictions(path, IMAGES).detections
    except DataError as error:
        return error.problems
    assert len(detections) == len(IMAGES)
    assert np.isfinite(detections.xyxy).all()
    assert ((detections.scores >= 0) & (detections.scores <= 1)).all()
    return ()


KEYS = some.sampled_from(["image_id", "category_id", "bbox", "score", "data", "predictions", "result", "value", "x",
                          "rectanglelabels", "image", "annotations", "images"])
ANYTHING = some.recursive(some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=4),
                          lambda inner: some.lists(inner, max_size=4) | some.dictionaries(KEYS, inner, max_size=5),
                          max_leaves=12)


@settings(max_examples=150, deadline=None)
@given(ANYTHING | some.lists(some.fixed_dictionaries({"image_id": ANYTHING, "category_id": ANYTHING, "bbox": ANYTHING,
                                                      "score": ANYTHING}), max_size=3))
def test_whatever_json_holds_it_is_read_or_refused_in_lines(tmp_path_factory, content):
    path = save(tmp_path_factory.mktemp("any") / "r.json", content)
    assert all(len(problem.splitlines()) == 1 and "; " in problem for problem in told(path))


@settings(max_examples=100, deadline=None)
@given(some.lists(some.lists(some.sampled_from(["0", "1", "0.5", "nan", "-1", "x", ",", "1e400", "0.1"]), max_size=9),
                  max_size=4))
def test_whatever_a_text_file_holds_it_is_read_or_refused_in_lines(tmp_path_factory, words):
    folder = tmp_path_factory.mktemp("any")
    (folder / "a.txt").write_text("\n".join(" ".join(line) for line in words))
    where = f"{folder / 'a.txt'}:" if any(words) else f"{folder}: expected at least one detection"
    assert all(problem.startswith(where) for problem in told(folder))
