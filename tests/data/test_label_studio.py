"""Label Studio's JSON: what was finished, in pixels, of the images that are meant."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgral.config import DataConfig
from mgral.data.formats import read_dataset
from mgral.data.formats.uploads import names_of_upload
from tests.small_data import save_image

SIZE = 40, 30
ANY_JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
                        lambda inner: st.lists(inner, max_size=3)
                        | st.dictionaries(st.text(max_size=9), inner, max_size=3), max_leaves=6)


def region(x=10, y=20, width=30, height=40, label="cell", size=SIZE, kind="rectanglelabels", **value):
    return {"id": "r", "type": kind, "original_width": size[0], "original_height": size[1], "image_rotation": 0,
            "from_name": "label", "to_name": "image",
            "value": {"x": x, "y": y, "width": width, "height": height, kind: [label], **value}}


def task(*regions, image="a.jpg", number=1, **more):
    return {"id": number, "data": {"image": image}, "annotations": [{"id": 1, "result": list(regions)}], **more}


def load(root, *tasks, images=("a.jpg",), **given):
    """What is read of these tasks."""
    for name in images:
        if not (root / name).exists():
            save_image(root / name, *SIZE)
    (root / "tasks.json").write_text(json.dumps(tasks))
    return read_dataset(DataConfig(**given), root)


def boxes(loaded, name="a.jpg"):
    """Class and corners of an image's boxes."""
    assert loaded.problems == ()
    found = loaded.dataset.boxes[name]
    return [(loaded.dataset.classes[label], *map(float, corners))
            for label, corners in zip(found.labels, found.xyxy, strict=True)]


def problem(loaded):
    (line,) = loaded.problems
    assert "expected" in line
    assert ", got " in line
    assert "\n" not in line
    return line


def noted(loaded, text):
    return [note for note in loaded.notes if text in note]


def test_percent_become_pixels(tmp_path):
    loaded = load(tmp_path, task(region(), region(0, 0, 100, 100, "Ant")))
    assert boxes(loaded) == [("cell", 4, 6, 16, 18), ("Ant", 0, 0, 40, 30)]
    assert loaded.dataset.classes == ("Ant", "cell")
    assert loaded.format == "label_studio"


def test_turned_about_the_upper_left_corner_in_pixels(tmp_path):
    save_image(tmp_path / "a.jpg", 1000, 500)
    loaded = load(tmp_path, task(region(20, 20, 30, 20, size=(1000, 500), rotation=90)))
    assert np.allclose(boxes(loaded)[0][1:], (100, 100, 200, 400))
    assert noted(loaded, "rectangle rotated by 90 degrees")


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 360), st.floats(1, 40), st.floats(1, 40), st.integers(200, 900), st.integers(200, 900))
def test_turned_rectangles_by_their_corners(tmp_path_factory, angle, wide, high, width, height):
    x, y = width / 2, height / 2
    turn = np.exp(1j * math.radians(angle))
    corners = [x + 1j * y + turn * corner for corner in (0, wide, wide + 1j * high, 1j * high)]
    expected = [min(c.real for c in corners), min(c.imag for c in corners), max(c.real for c in corners),
                max(c.imag for c in corners)]
    root = tmp_path_factory.mktemp("turned")
    save_image(root / "a.jpg", width, height)
    loaded = load(root, task(region(50, 50, 100 * wide / width, 100 * high / height, size=(width, height),
                                    rotation=angle)))
    if min(expected[2] - expected[0], expected[3] - expected[1]) > 0.1:
        assert np.allclose(boxes(loaded)[0][1:], expected, atol=0.01)


def test_a_turned_side_may_be_more_than_100_percent(tmp_path):
    save_image(tmp_path / "a.jpg", 100, 400)
    loaded = load(tmp_path, task(region(50, 10, 300, 5, size=(100, 400), rotation=90)))
    assert np.allclose(boxes(loaded)[0][1:], (30, 40, 50, 340), atol=1e-3)


@pytest.mark.parametrize("value", [{"x": 640}, {"y": 120.5}, {"width": 300}, {"height": 10**30},
                                   {"rotation": 45, "width": 300}])
def test_pixels_instead_of_percent(tmp_path, value):
    line = problem(load(tmp_path, task(region(**value))))
    assert "expected percent of the image, 0 to 100, got" in line
    assert "these look like pixels" in line


def test_a_little_more_than_100_percent_is_rounding(tmp_path):
    assert boxes(load(tmp_path, task(region(0, 0, 100.0000001, 100.3)))) == [("cell", 0, 0, 40, 30)]


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 360), st.floats(2, 10), st.floats(2, 10))
def test_ellipses_by_points_on_their_line(tmp_path_factory, angle, wide, high):
    turns = np.linspace(0, 2 * np.pi, 2001)
    line = 20 + 15j + np.exp(1j * math.radians(angle)) * (wide * np.cos(turns) + 1j * high * np.sin(turns))
    shape = region(50, 50, kind="ellipselabels", radiusX=wide / 0.4, radiusY=high / 0.3, rotation=angle)
    loaded = load(tmp_path_factory.mktemp("ellipse"), task(shape))
    expected = line.real.min(), line.imag.min(), line.real.max(), line.imag.max()
    assert np.allclose(boxes(loaded)[0][1:], expected, atol=0.01)
    assert noted(loaded, "the envelope of the ellipse is taken")


def test_polygons(tmp_path):
    shape = region(kind="polygonlabels", points=[[10, 20], [50, 30], [25, 90]])
    assert boxes(load(tmp_path, task(shape))) == [("cell", 4, 6, 20, 27)]
    for points in ([[1, 2], [3, 4]], [[1, 2, 3]] * 3, "1,2", [[1, "2"]] * 3, [1, 2, 3, 4, 5, 6], None):
        shape["value"]["points"] = points
        assert "points: expected" in problem(load(tmp_path, task(shape)))
    shape["value"]["points"] = [[640, 2], [3, 4], [5, 6]]
    assert "these look like pixels" in problem(load(tmp_path, task(shape)))


def test_unfinished_and_empty_are_different(tmp_path):
    names = [f"{letter}.jpg" for letter in "abcdefg"]
    tasks = [task(image=name, number=row) for row, name in enumerate(names)]
    tasks[1]["annotations"] = []
    del tasks[2]["annotations"]
    tasks[3]["annotations"][0]["was_cancelled"] = True
    tasks[4]["predictions"], tasks[4]["annotations"] = [{"result": [region()]}], []
    tasks[5]["completions"] = tasks[5].pop("annotations")
    tasks[6] = task(region(), image="g.jpg", number=7)
    loaded = load(tmp_path, *tasks[2:], *tasks[:2], images=names)
    assert loaded.problems == ()
    assert set(loaded.dataset.images) == set(names)
    counts = {name: len(found.labels) for name, found in loaded.dataset.boxes.items()}
    assert counts == {"a.jpg": 0, "f.jpg": 0, "g.jpg": 1}
    assert loaded.listed == 0


def several(*entries):
    return task() | {"annotations": list(entries)}


@pytest.mark.parametrize(("first", "second"), [
    ({"updated_at": "2024-03-01T00:00:00Z"}, {"updated_at": "2024-02-01T00:00:00Z"}),
    ({"updated_at": "2024-03-01T00:00:00.5+00:00"}, {"updated_at": "2024-03-01T01:00:00+02:00"}),
    ({"created_at": "2024-03-01T00:00:00Z"}, {"created_at": "2023-03-01T00:00:00Z", "id": 9}),
    ({"created_at": 1700000001}, {"created_at": 1700000000}),
    ({"id": 10}, {"id": 9}), ({"id": 10}, {"id": None}), ({"id": 2}, {"id": 3, "was_cancelled": True}),
    ({"updated_at": "nonsense", "id": 2}, {"updated_at": [], "id": 1}),
])
def test_the_newest_of_several_annotations(tmp_path, first, second):
    newer = {"id": 1, "result": [region(label="new")], **first}
    older = {"id": 1, "result": [region(label="old")], **second}
    for entries in ((newer, older), (older, newer)):
        loaded = load(tmp_path, several(*entries))
        assert [label for label, *_ in boxes(loaded)] == ["new"]
        assert bool(noted(loaded, "2 annotations that differ")) != ("was_cancelled" in second)


def test_equal_annotations_need_no_choice(tmp_path):
    one, two = region(), region(1, 1, 9, 20)
    other = copy.deepcopy(one) | {"id": "another"}
    loaded = load(tmp_path, several({"id": 1, "result": [one, two]}, {"id": 2, "result": [two, other]}))
    assert len(boxes(loaded)) == 2
    assert not noted(loaded, "differ")


@pytest.mark.parametrize("names", [[], None, "cell", [""], ["  "], [3], ["a", "b"], ["\ud800"], ["\n"]])
def test_a_region_has_one_label(tmp_path, names):
    shape = region()
    shape["value"]["rectanglelabels"] = names
    assert "expected one label under 'rectanglelabels', got" in problem(load(tmp_path, task(shape)))
    del shape["value"]["rectanglelabels"]
    assert "got None" in problem(load(tmp_path, task(shape)))


@pytest.mark.parametrize("kind", ["choices", "brushlabels", "keypointlabels", "relation", "textarea", "rating",
                                  "labels", "videorectangle", "taxonomy", "number", "hypertextlabels", "made up", None])
def test_regions_without_a_box_are_counted(tmp_path, kind):
    other = {"id": "x", "type": kind, "value": {"text": "x"}}
    loaded = load(tmp_path, task(region(), other, other), task(other | {"value": None}, image="b.jpg", number=2),
                  images=("a.jpg", "b.jpg"))
    assert len(boxes(loaded)) == 1
    (note,) = noted(loaded, "passed over")
    assert f"3 regions of type '{kind}'" in note


def test_labels_and_rectangles_as_two_regions(tmp_path):
    bare, named = region(kind="rectangle"), region(kind="labels")
    del bare["value"]["rectangle"]
    assert boxes(load(tmp_path, task(bare, named))) == [("cell", 4, 6, 16, 18)]
    assert "expected one label under 'rectangle', got None" in problem(load(tmp_path, task(bare)))


@pytest.mark.parametrize("angle", [90, 180, 270, "90", -90])
def test_turned_images_are_refused(tmp_path, angle):
    line = problem(load(tmp_path, task(region() | {"image_rotation": angle})))
    assert "expected an image that is not turned" in line
    assert "turn it back" in line


@pytest.mark.parametrize("side", ["original_width", "original_height"])
@pytest.mark.parametrize("value", [None, 0, -4, "40", math.nan, math.inf, True, []])
def test_percent_of_nothing(tmp_path, side, value):
    assert "expected original_width and original_height" in problem(load(tmp_path, task(region() | {side: value})))


def test_size_unlike_the_image(tmp_path):
    assert "to have 30 × 40 pixels as annotated" in problem(load(tmp_path, task(region(size=(30, 40)))))
    assert "got sizes of" in problem(load(tmp_path, task(region(), region(size=(80, 60)))))


@pytest.mark.parametrize("side", ["x", "y", "width", "height", "rotation"])
@pytest.mark.parametrize("value", ["5", [5], True, math.nan, math.inf, 10**400])
def test_numbers_that_are_none(tmp_path, side, value):
    assert "rotation: expected" in problem(load(tmp_path, task(region(**{side: value}))))


def test_negative_sides_and_missing_ones(tmp_path):
    assert "of at least 0" in problem(load(tmp_path, task(region(width=-5))))
    shape = region()
    del shape["value"]["x"]
    assert "expected 5 numbers" in problem(load(tmp_path, task(shape)))
    loaded = load(tmp_path, task(region(width=-5), region()), invalid_boxes="repair")
    assert len(boxes(loaded)) == 1


@pytest.mark.parametrize("name", [
    "cam1/a.jpg", "cam1\\a.jpg", "./cam1/a.jpg", "a.jpg", "/data/upload/3/a.jpg", "/data/upload/12/cb0618f6-a.jpg",
    "upload/3/00000000-a.jpg", "cb0618f6-a.jpg", "images/cb0618f6-a.jpg", "/data/local-files/?d=cam1/a.jpg",
    "/data/local-files/?d=mnt%2Fset%2Fcam1%2Fa.jpg", "/data/local-files/?d=cam1%5Ca.jpg", "s3://bucket/cam1/a.jpg",
    "s3://bucket/a.jpg", "gs://b/x/y/a.jpg", "https://host/a.jpg?X-Amz=1&b=c.png", "http://host:8080/x/cam1/a.jpg#top",
    "http://localhost/data/upload/1/cb0618f6-a.jpg?x=1", "azure-blob://c/a.jpg", "../../a.jpg", "C:\\data\\cam1\\a.jpg",
    "file:///home/me/set/cam1/a.jpg"])
def test_names_that_mean_one_file(tmp_path, name):
    loaded = load(tmp_path, task(region(), image=name), images=("cam1/a.jpg", "cam2/b.jpg"))
    assert len(boxes(loaded, "cam1/a.jpg")) == 1
    assert set(loaded.dataset.images) == {"cam1/a.jpg"}


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_characters="/\\\0", exclude_categories=("Cs",)), min_size=1, max_size=20),
       st.sampled_from(["{}", "images/{}", "/data/upload/3/0123abcd-{}"]))
def test_names_of_odd_characters(tmp_path_factory, stem, style):
    root, name = tmp_path_factory.mktemp("odd"), f"x{stem}.jpg"
    loaded = load(root, task(region(), image=style.format(name)), images=(f"images/{name}", "images/other.jpg"))
    assert len(boxes(loaded, f"images/{name}")) == 1


def test_an_upload_changes_blanks_and_marks(tmp_path):
    uploaded = task(region(), image="/data/upload/3/cb0618f6-my_photo_1.jpg")
    loaded = load(tmp_path, uploaded, images=("my photo (1).jpg",))
    assert len(boxes(loaded, "my photo (1).jpg")) == 1
    assert noted(loaded, "as Label Studio renames files")


def test_a_prefix_may_be_the_name(tmp_path):
    tasks = [task(region(), image="cb0618f6-a.jpg"), task(image="a.jpg", number=2)]
    loaded = load(tmp_path, *tasks, images=("a.jpg", "cb0618f6-a.jpg"))
    assert len(boxes(loaded, "cb0618f6-a.jpg")) == 1
    assert boxes(loaded, "a.jpg") == []


def test_names_that_mean_several_files(tmp_path):
    images = ("cam1/a.jpg", "cam2/a.jpg")
    for name in ("/data/upload/3/cb0618f6-a.jpg", "s3://bucket/a.jpg", "a.jpg"):
        line = problem(load(tmp_path, task(region(), image=name), images=images))
        assert "could be 'cam1/a.jpg' or 'cam2/a.jpg'" in line
    (tmp_path / "tasks.json").write_text(json.dumps([task(region(), image="cb0618f6-a.jpg")]))
    loaded = read_dataset(DataConfig(images="cam2"), tmp_path)
    assert len(boxes(loaded, "cam2/a.jpg")) == 1


def test_an_upload_has_lost_its_folder(tmp_path):
    images = ("images/a.jpg", "other/a.jpg")
    for name in ("cb0618f6-a.jpg", "/data/upload/3/cb0618f6-a.jpg", "http://h/data/upload/3/cb0618f6-a.jpg?x",
                 "/data/upload/3/a.jpg", "s3://bucket/a.jpg"):
        assert "could be" in problem(load(tmp_path, task(image=name), images=images))
        loaded = read_dataset(DataConfig(images="other"), tmp_path)
        assert boxes(loaded, "other/a.jpg") == []
        assert set(loaded.dataset.images) == {"other/a.jpg"}
    assert boxes(load(tmp_path, task(image="images/cb0618f6-a.jpg"), images=images), "images/a.jpg") == []


def test_two_uploads_of_one_file(tmp_path):
    tasks = [task(image=f"/data/upload/3/{prefix}-a.jpg", number=row)
             for row, prefix in enumerate(("cb0618f6", "0618f6cb"))]
    assert "expected each image once" in problem(load(tmp_path, *tasks))


@pytest.mark.parametrize("name", ["b.jpg", "/etc/passwd", "../secret.jpg", "http://host/", "s3://", "?", "#", "%00",
                                  "/data/local-files/?d=", "cb0618f6-", "a.jpg\0", "\ud800"])
def test_names_of_no_file(tmp_path, name):
    save_image(tmp_path / "secret.jpg")
    line = problem(load(tmp_path / "set", task(region(), image=name)))
    assert "expected an image" in line


@pytest.mark.parametrize("name", ["data:image/png;base64,iVBORw0KGgo=", "a" * 10_000])
def test_names_that_are_no_paths(tmp_path, name):
    line = problem(load(tmp_path, task(region(), image=name)))
    assert "expected an image's path, got" in line
    assert len(line) < 400


@pytest.mark.parametrize("data", [{"image": "a.jpg", "text": "b.jpg"}, {"img": "a.jpg", "n": 1}, {"image": ["a.jpg"]},
                                  {"ocr": "a.jpg", "text": "x"}, {"photo": "s3://b/a.jpg"},
                                  {"u": "http://h/a.jpg?x=1", "id": "7"},
                                  {"path": "a.jpg", "image": "/data/local-files/?d=b.jpg", "rank": 1}])
def test_where_the_image_stands(tmp_path, data):
    loaded = load(tmp_path, task(region()) | {"data": data}, images=("a.jpg",))
    assert len(boxes(loaded)) == 1


@pytest.mark.parametrize("data", [{}, {"text": "hello"}, {"x": "a.jpg", "y": "b.jpg"}, {"image": None}, {"image": 3},
                                  {"image": ["a.jpg", "b.jpg"]}, {"image": {"url": "a.jpg"}}, {"image": "  "}])
def test_no_single_image(tmp_path, data):
    assert "expected one image in the task's data" in problem(load(tmp_path, task(region()) | {"data": data}))


def test_splits_by_file(tmp_path):
    for split in ("train", "valid"):
        save_image(tmp_path / f"{split}.jpg", *SIZE)
        (tmp_path / f"{split}.json").write_text(json.dumps([task(region(), image=f"{split}.jpg")]))
    loaded = read_dataset(DataConfig(), tmp_path)
    assert loaded.problems == ()
    assert loaded.dataset.splits == {"train": ("train.jpg",), "valid": ("valid.jpg",)}


@pytest.mark.parametrize("content", ["", "[", '{"a": 1}', "[1]", "[[]]", "null", '[{"data": 5, "annotations": []}]'])
def test_files_of_other_content(tmp_path, content):
    save_image(tmp_path / "a.jpg")
    (tmp_path / "tasks.json").write_text(content)
    loaded = read_dataset(DataConfig(format="label_studio", annotations=("tasks.json",)), tmp_path)
    assert loaded.problems
    assert all("\n" not in line for line in loaded.problems)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_is_told(tmp_path_factory, data):
    """Any value of a file may be anything."""
    tasks = [task(region(), region(kind="ellipselabels", radiusX=5, radiusY=5),
                  region(kind="polygonlabels", points=[[1, 2]] * 3))]
    spot = tasks
    while True:
        keys = list(spot) if isinstance(spot, dict) else range(len(spot))
        key = data.draw(st.sampled_from(keys))
        inner = spot[key]
        if not isinstance(inner, (dict, list)) or not inner or data.draw(st.booleans()):
            break
        spot = inner
    spot[key] = data.draw(ANY_JSON)
    root = tmp_path_factory.mktemp("damage")
    loaded = load(root, *tasks, format="label_studio", annotations=("tasks.json",))
    assert all("\n" not in line and len(line) < 2000 for line in loaded.problems + loaded.notes)
    "".join([*loaded.problems, *loaded.notes, *loaded.dataset.classes]).encode()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 400), st.booleans())
def test_truncated_files(tmp_path_factory, length, auto):
    root = tmp_path_factory.mktemp("cut")
    save_image(root / "a.jpg", *SIZE)
    whole = json.dumps([task(region())])
    (root / "tasks.json").write_text(whole[:min(length, len(whole) - 1)])
    loaded = read_dataset(DataConfig(format="auto" if auto else "label_studio"), root)
    assert loaded.problems


def test_names_of_upload():
    assert names_of_upload("a.jpg") == ["a.jpg"]
    assert names_of_upload("images/cb0618f6-a.jpg") == ["images/cb0618f6-a.jpg", "images/a.jpg"]
    assert names_of_upload("images\\a.jpg")[-1] == "images/a.jpg"
    assert names_of_upload("/data/upload/3/cb0618f6-a.jpg")[-1] == "a.jpg"
    assert "cb0618f6-a.jpg" in names_of_upload("/data/upload/3/cb0618f6-a.jpg")
    for kept in ("cb0618f-a.jpg", "cb0618fg-a.jpg", "CB0618F6-a.jpg", "cb0618f6_a.jpg", "xcb0618f6-a.jpg", "cb0618f6-"):
        assert names_of_upload(kept) == [kept]
    assert Path(names_of_upload("http://h/data/upload/1/cb0618f6-a.jpg?x")[-1]).name == "a.jpg"
