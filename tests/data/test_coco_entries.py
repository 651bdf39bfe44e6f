"""Single entries of COCO files: whatever stands in them is taken as it is meant, or is one clear problem."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgral.data.formats.coco_entries import key_of, turned, whole_number
from tests.data.test_coco_cases import BOX, base, boxes, changed, described

NAN = math.nan


@pytest.mark.parametrize(("value", "key"), [
    (7, "7"), (7.0, "7"), ("7", "7"), (" 7 ", "7"), ("7.0", "7"), ("7.", "7"), (-1, "-1"), ("007", "007"), ("x", "x"),
    ("a.b", "a.b"), ("1.5", "1.5"), (2**70, str(2**70)), (1e300, str(int(1e300))), ("9" * 5000, "9" * 5000),
    (True, None), (None, None), (7.5, None), (NAN, None), (math.inf, None), ([], None), ({}, None), ("", None),
    (" ", None)])
def test_ids_are_text(value, key):
    assert key_of(value) == key


@pytest.mark.parametrize(("value", "number"), [
    (5, 5), (5.0, 5), ("5", 5), ("5.0", 5), (" 5 ", 5), (-5, -5), ("--1", None), ("²", None), ("9" * 5000, None),
    (5.5, None), (NAN, None), (True, None), (None, None), ("", None), ([5], None), ("1e3", None), ("1_0", None)])
def test_whole_numbers(value, number):
    assert whole_number(value) == number


@settings(max_examples=60, deadline=None)
@given(number=st.integers(-10**14, 10**14))
def test_a_number_is_one_id_however_it_is_written(number):
    assert {key_of(number), key_of(float(number)), key_of(str(number)), key_of(f"{number}.0")} == {str(number)}


def assert_one_problem(tmp_path, change, said, **config):
    data = described(tmp_path, changed(change), **config)
    (problem,) = data["problems"]
    assert said in problem
    assert data["images"].get("images/a.jpg", {"boxes": None})["boxes"] is None, "nobody said that it is empty"
    assert not any("have no box" in note for note in data["notes"])


@pytest.mark.parametrize("number", ["--1", "x", " "])
def test_category_ids_that_are_no_numbers(tmp_path, number):
    content = base()
    content["categories"][0]["id"] = content["annotations"][0]["category_id"] = number
    data = described(tmp_path, content)
    if number.strip():
        assert boxes(data) == [BOX]
        assert any("numbered afresh" in note for note in data["notes"])
    else:
        assert any("expected a whole number as id" in problem for problem in data["problems"])


@pytest.mark.parametrize("size", [(NAN, NAN), (NAN, 30), ("", ""), (None, 30), ("-1", -1)])
def test_sizes_that_say_nothing(tmp_path, size):
    data = described(tmp_path, changed(lambda c: c["images"][0].update(width=size[0], height=size[1])))
    assert boxes(data) == [BOX]
    assert sum("are taken from the image file" in note for note in data["notes"]) == 1


@pytest.mark.parametrize("size", [("9" * 5000, 30), (1e300, 30), (40, 2**40), ("forty", 30)])
def test_sizes_that_no_image_has(tmp_path, size):
    assert_one_problem(tmp_path, lambda c: c["images"][0].update(width=size[0], height=size[1]),
                       "as whole numbers, got (")


@pytest.mark.parametrize("angle", [NAN, math.inf, "left", [], [90], {"a": 1}, True, "nan", "1e999"])
def test_rotations_that_are_no_angles(tmp_path, angle):
    def change(content):
        content["annotations"][0]["attributes"] = {"rotation": angle}
    assert_one_problem(tmp_path, change, "annotation 1: expected a rotation in degrees, got")
    data = described(tmp_path, changed(change), invalid_boxes="repair")
    assert boxes(data) is None
    assert any("left out" in note for note in data["notes"])


@pytest.mark.parametrize("attributes", [{}, None, [], "x", {"rotation": None}, {"rotation": ""}, {"rotation": 360},
                                        {"rotation": "-360.0"}, {"occluded": True}])
def test_attributes_that_turn_nothing(tmp_path, attributes):
    data = described(tmp_path, changed(lambda c: c["annotations"][0].update(attributes=attributes)))
    assert boxes(data) == [BOX]
    assert not any("rotated" in note for note in data["notes"])


@settings(max_examples=60, deadline=None)
@given(angle=st.floats(-720, 720), centre=st.tuples(st.floats(10, 30), st.floats(10, 20)),
       sides=st.tuples(st.floats(1, 9), st.floats(1, 9)))
def test_the_envelope_is_that_of_the_turned_corners(angle, centre, sides):
    half = np.array(sides) / 2
    corners = np.array([(x, y) for x in (-half[0], half[0]) for y in (-half[1], half[1])])
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    moved = corners @ np.array([[cosine, sine], [-sine, cosine]]) + centre
    box = (centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1])
    np.testing.assert_allclose(turned(box, angle), [*moved.min(axis=0), *moved.max(axis=0)], atol=1e-6)


@pytest.mark.parametrize(("bbox", "said"), [
    (["5", "5", "10", "8"], "expected 4 numbers"), ("[5,5,10,8]", "expected 4 numbers"),
    ({"x": 5, "y": 5, "w": 10, "h": 8}, "expected 4 numbers"), ([5, 5, 10, 8, 30], "expected 4 numbers"),
    ([[5, 5], [10, 8]], "expected 4 numbers"), ([5, 5, 10, None], "expected 4 numbers"), (5, "expected 4 numbers"),
    (["a"] * 4, "expected 4 numbers"), ([1e308, 0, 1e308, 5], "a box with an area"),
    ([5, 5, 2**60, 8], "inside 40 × 30")])
def test_boxes_that_are_none(tmp_path, bbox, said):
    assert_one_problem(tmp_path, lambda c: c["annotations"][0].update(bbox=bbox), said)


@pytest.mark.parametrize(("segmentation", "said"), [
    ({"counts": [0, 10, 1190], "size": [30, 40]}, "got a mask only: write the bbox beside"),
    ({"counts": "PPYo0", "size": [30, 40]}, "got a mask only"), ([[5, 5, 15, 5, 15, 13, 5]], "of three points"),
    ([[[5, 5], [15, 5], [15, 13]]], "of three points"), ([5, 5, 15, 13], "of three points"), ([], "got neither"),
    ("x", "got 'x' only"), ([["5", "5"] * 3], "expected 6 numbers"), ([[5, 5, 15, 5, NAN, 13]], "finite numbers")])
@pytest.mark.parametrize("policy", ["error", "repair"])
def test_segments_without_a_box(tmp_path, segmentation, said, policy):
    def change(content):
        content["annotations"][0].update(bbox=None, segmentation=segmentation)
    data = described(tmp_path, changed(change), invalid_boxes=policy)
    lines = [line for line in (*data["problems"], *data["notes"]) if said in line]
    assert len(lines) == 1
    assert lines[0] in data["problems"] or policy == "repair"
    assert data["images"]["images/a.jpg"]["boxes"] is None


@settings(max_examples=40, deadline=None)
@given(points=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30)), min_size=3, max_size=9),
       form=st.sampled_from(["one", "alone", "points", "two"]))
def test_a_polygon_in_any_form(tmp_path_factory, points, form):
    flat = [side for point in points for side in point]
    xs, ys = flat[::2], flat[1::2]
    segmentation = {"one": [flat], "alone": flat, "points": [list(point) for point in points],
                    "two": [flat[:2] * 3, flat[2:]]}[form]

    def change(content):
        del content["annotations"][0]["bbox"]
        content["annotations"][0]["segmentation"] = segmentation
    data = described(tmp_path_factory.mktemp("polygon"), changed(change))
    if min(max(xs) - min(xs), max(ys) - min(ys)) == 0:
        assert len(data["problems"]) == 1
    else:
        assert boxes(data) == [[min(xs), min(ys), max(xs), max(ys), "cell"]]


@pytest.mark.parametrize("flag", [{"iscrowd": 1}, {"iscrowd": 1.0}, {"iscrowd": True}, {"iscrowd": "1"}, {"ignore": 1},
                                  {"ignore": True}, {"iscrowd": 0, "ignore": 1}])
def test_what_is_to_be_ignored(tmp_path, flag):
    data = described(tmp_path, changed(lambda c: c["annotations"][0].update(flag)))
    assert (boxes(data), data["images"]["images/a.jpg"]["ignore"]) == ([], [BOX])


@pytest.mark.parametrize("flag", [{"iscrowd": None}, {"iscrowd": "0"}, {"iscrowd": []}, {"ignore": 0},
                                  {"ignore": "no"}])
def test_what_is_not_to_be_ignored(tmp_path, flag):
    assert boxes(described(tmp_path, changed(lambda c: c["annotations"][0].update(flag)))) == [BOX]


def test_boxes_with_scores_are_said(tmp_path):
    data = described(tmp_path, changed(lambda c: c["annotations"][0].update(score=0.7)))
    assert boxes(data) == [BOX]
    assert any("1 of 1 annotations have a score, as predictions have" in note for note in data["notes"])


@pytest.mark.parametrize("over", [0.03, 0.5, 1.0, 1.01, 1.05, 1.5])
@pytest.mark.parametrize("edge", [(0, -1), (1, -1), (2, 1), (3, 1)])
def test_a_pixel_is_the_limit_on_each_side(tmp_path, over, edge):
    corners = [0, 0, 40, 30]
    corners[edge[0]] += edge[1] * over
    x1, y1, x2, y2 = corners
    data = described(tmp_path, changed(lambda c: c["annotations"][0].update(bbox=[x1, y1, x2 - x1, y2 - y1])))
    if over > 1.02:
        assert len(data["problems"]) == 1
    else:
        assert boxes(data) == [[0, 0, 40, 30, "cell"]]
        assert sum("by a pixel at most" in note for note in data["notes"]) == 1


@settings(max_examples=60, deadline=None)
@given(x=st.floats(-3, 43), y=st.floats(-3, 33), width=st.floats(-1, 50), height=st.floats(-1, 40))
def test_every_box_is_inside_clipped_by_a_pixel_or_refused(tmp_path_factory, x, y, width, height):
    data = described(tmp_path_factory.mktemp("box"), changed(
        lambda c: c["annotations"][0].update(bbox=[x, y, width, height])))
    over = max(-x, -y, x + width - 40, y + height - 30)
    sides = min(min(x + width, 40) - max(x, 0), min(y + height, 30) - max(y, 0))
    if over > 1.03 or sides < 0.01:
        assert len(data["problems"]) == 1
    elif over < 1.01 and sides > 0.03:
        ((x1, y1, x2, y2, _),) = boxes(data)
        assert 0 <= x1 < x2 <= 40
        assert 0 <= y1 < y2 <= 30
        assert any("by a pixel at most" in note for note in data["notes"]) == (over > 0.02) or 0.015 < over < 0.025
