"""JSON that is no data set is said, and what the settings name must be there."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgral.data.formats.json_files import foreign, kind_of
from tests.data.test_coco_cases import BOX, base, boxes, described
from tests.small_data import save_image

PREDICTIONS = [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]
LABELME = {"version": "5.0", "flags": {}, "shapes": [], "imagePath": "a.jpg", "imageHeight": 30, "imageWidth": 40}
CAPTIONS = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"id": 1, "image_id": 1, "caption": "x"}]}
PANOPTIC = base() | {"annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": [{"bbox": [1, 1, 2, 2]}]}]}
LABELS = {
    "labelme": LABELME, "CreateML": [{"image": "a.jpg", "annotations": [{"label": "x", "coordinates": {}}]}],
    "VIA": {"a.jpg123": {"filename": "a.jpg", "size": 123, "regions": []}}, "panoptic": PANOPTIC,
    "Datumaro": {"info": {}, "categories": {}, "items": []}, "VoTT": {"asset": {}, "regions": [], "version": "2"},
    "Supervisely": {"description": "", "tags": [], "size": {"height": 30, "width": 40}, "objects": []},
    "one task of Label Studio": {"id": 1, "data": {"image": "a.jpg"}, "annotations": [{"result": []}]},
    "JSON-MIN": [{"image": "a.jpg", "id": 1, "label": [], "annotation_id": 1}]}


@pytest.mark.parametrize("said", LABELS)
def test_labels_in_a_form_that_is_not_read_are_not_lost_without_a_word(tmp_path, said):
    data = described(tmp_path, LABELS[said], "other.json")
    (problem,) = data["problems"]
    assert problem.startswith(f"{tmp_path / 'other.json'}: expected annotations in a format that is read, got")
    assert said in problem
    assert "data.format: images" in problem
    assert described(tmp_path, None, format="images")["problems"] == []
    (tmp_path / "labels.json").write_text(json.dumps(base()))
    data = described(tmp_path, None)
    assert boxes(data) == [BOX]
    assert any("other.json: not read, it holds" in note and said in note for note in data["notes"])


@pytest.mark.parametrize(("content", "said"), [
    (PREDICTIONS, "predictions; give them to `mgral select --predictions`"), (CAPTIONS, "captions"), ([], "nothing"),
    ({}, "nothing"), ({"name": "x", "labels": {}}, "no annotations that are known"), (5, "no annotations")])
def test_other_json_is_passed_over_with_a_note(tmp_path, content, said):
    data = described(tmp_path, content, "other.json")
    assert data["problems"] == []
    assert data["images"]["images/a.jpg"]["boxes"] is None
    assert any("other.json: not read, it holds" in note and said in note for note in data["notes"])


def test_a_thousand_files_are_one_line(tmp_path):
    for number in range(50):
        (tmp_path / f"{number}.json").write_text(json.dumps(LABELME))
    problems = described(tmp_path, None)["problems"]
    assert len(problems) == 3
    assert "and 47 more like this" in problems[-1]


@pytest.mark.parametrize(("name", "content", "said"), [
    ("labels.json", b"\x1f\x8b\x08\0\0", "got a gzip archive; unpack it"),
    ("labels.json", b"PK\x03\x04\xff", "got a zip archive; unpack it"),
    ("labels.json.gz", b"\x1f\x8b\x08", "unpack it")])
def test_packed_files_are_to_be_unpacked(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    (problem,) = described(tmp_path, None)["problems"]
    assert name in problem
    assert said in problem


@pytest.mark.parametrize("place", ["no.json", "no", "no/", "../x.json", "/nowhere/x.json"])
@pytest.mark.parametrize("form", ["auto", "coco", "voc", "cvat", "label_studio"])
def test_annotations_that_the_settings_name_are_there(tmp_path, place, form):
    (problem,) = described(tmp_path, base(), annotations=(place,), format=form)["problems"]
    assert problem.startswith("data.annotations: expected an annotation file, or a folder of them")
    assert repr(place.rstrip("/")) in problem


@pytest.mark.parametrize("content", [PREDICTIONS, {"a": 1}])
def test_annotations_that_the_settings_name_are_known(tmp_path, content):
    described(tmp_path, base())
    data = described(tmp_path, content, "other.json", annotations="other.json")
    assert any("data.annotations: expected annotations in a format that is known" in line for line in data["problems"])


@pytest.mark.parametrize("place", ["./new/labels.json", "new", "new/", "x/../new/labels.json",
                                   "{root}/new/labels.json"])
def test_places_may_be_written_in_any_way(tmp_path, place):
    described(tmp_path, base() | {"annotations": []}, "old.json")
    data = described(tmp_path, base(), "new/labels.json", annotations=place.format(root=tmp_path))
    assert boxes(data) == [BOX]


def test_a_file_of_any_ending_where_the_format_is_named(tmp_path):
    assert boxes(described(tmp_path, base(), "labels.coco", annotations="labels.coco", format="coco")) == [BOX]


def test_files_of_the_same_folder_that_macs_leave_behind(tmp_path):
    (tmp_path / "._labels.json").write_bytes(b"\0\5\x16\7")
    assert boxes(described(tmp_path, base())) == [BOX]


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
                        st.sampled_from(["images", "annotations", "categories", "data", "caption", "file_name", "x"]),
                        inner, max_size=4), max_leaves=12)


@settings(max_examples=200, deadline=None)
@given(content=JSON)
def test_anything_is_looked_at(content):
    assert kind_of(content) in ("coco", "label_studio", "")
    assert foreign(content) is None or foreign(content).what


@settings(max_examples=40, deadline=None)
@given(content=JSON)
def test_anything_is_read_or_refused(tmp_path_factory, content):
    root = tmp_path_factory.mktemp("any")
    save_image(root / "a.jpg")
    for form in ("auto", "coco", "label_studio"):
        data = described(root, json.dumps(content), images=(), annotations="labels.json", format=form)
        assert data["images"].keys() <= {"a.jpg"}
