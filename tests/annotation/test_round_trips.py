"""What goes out in each format is read back as it was, and what is damaged on the way is never taken for labels."""

import json
import re
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mgral.annotation.matching import folded
from mgral.annotation.preannotations import FORMATS
from mgral.annotation.proposals import proposals
from mgral.annotation.returned import Returned, read_returned
from mgral.errors import DataError
from tests.annotation.annotators import came_back, data_set, detections, zipped

TOLERANCE = {"label-studio": 2e-7, "cvat": 0.0, "cvat-coco": 0.0, "coco": 0.0, "voc": 0.0, "yolo": 1e-6}
"""Of a side: by how much a corner may be off."""
READ_AS = {"label-studio": "label_studio", "cvat-coco": "coco"}
PARTS = st.text(st.sampled_from("ab1 .&<>'\"%#?=;_-+é\u0301学🐝\t\n\x01\\:"), min_size=1, max_size=6).filter(
    lambda part: part.strip(".") and not part.startswith("."))
NAMES = st.builds(lambda parts, ending: "/".join(parts) + ending, st.lists(PARTS, min_size=1, max_size=3),
                  st.sampled_from([".jpg", ".png", ".JPG", ".jpg.png"]))
CLASSES = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(
    lambda name: folded(name) and "\0" not in name), min_size=1, max_size=4,
                   unique_by=folded)
SIDES = st.integers(4, 6000)


@st.composite
def batches(draw):
    """Sizes of the data set's images by name, names of the batch, classes and boxes by image, in shares."""
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    paths = {parent for name in names for parent in map(str, PurePosixPath(name).parents)}
    assume(not paths & set(names))
    classes = draw(CLASSES)
    shares = st.tuples(*[st.floats(0, 1)] * 4)
    boxes = st.lists(st.tuples(shares, st.integers(0, len(classes) - 1)), max_size=4)
    count = draw(st.integers(1, len(names)))
    return {name: (draw(SIDES), draw(SIDES)) for name in names}, names[:count], classes, [
        draw(boxes) for _ in range(count)]


def found_in(size, boxes):
    """Detections of boxes that are given as shares, their corners in order."""
    width, height = size
    return detections(*(((min(x1, x2) * width, min(y1, y2) * height, max(x1, x2) * width, max(y1, y2) * height), label)
                        for (x1, y1, x2, y2), label in boxes))


def assert_boxes(kind, returned, dataset, ids, found):
    assert tuple(returned.boxes) == tuple(ids)
    for image_id in ids:
        wanted, boxes = proposals(dataset.images[image_id], found[image_id]), returned.boxes[image_id]
        assert [returned.classes[label] for label in boxes.labels] == [dataset.classes[box.label] for box in wanted]
        corners = np.array([box.corners for box in wanted], np.float32).reshape(-1, 4)
        size = dataset.images[image_id].width, dataset.images[image_id].height
        off = np.abs(boxes.xyxy - corners) / (size * 2)
        assert off.max(initial=0) <= TOLERANCE[kind]


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=25, deadline=None)
@given(batches(), st.booleans())
def test_what_goes_out_comes_back(tmp_path_factory, kind, batch, packed):
    sizes, ids, classes, boxes = batch
    root = tmp_path_factory.mktemp("trip")
    dataset = data_set(root / "data", sizes, classes)
    found = {image_id: found_in(sizes[image_id], own) for image_id, own in zip(ids, boxes, strict=True)}
    try:
        path = came_back(kind, root / "out", dataset, ids, found)
    except DataError as error:
        assert_told(error, "same name twice|names differ in XML")
        return
    packed = packed and not any("\\" in image_id for image_id in ids)
    returned = read_returned(zipped(path) if packed else path, dataset, ids)
    assert returned.format == READ_AS.get(kind, kind)
    assert returned.classes == tuple(classes)
    assert (returned.missing, returned.unfinished, returned.extra) == ((), (), 0)
    assert_boxes(kind, returned, dataset, ids, found)


def test_yolo_says_less_of_large_images(tmp_path):
    dataset = data_set(tmp_path / "data", {"a.jpg": (6000, 4000)})
    found = {"a.jpg": detections(((1234.57, 1234.56, 2345.67, 3456.78), 1))}
    returned = read_returned(came_back("yolo", tmp_path, dataset, ["a.jpg"], found), dataset, ["a.jpg"])
    off = np.abs(returned.boxes["a.jpg"].xyxy - found["a.jpg"].xyxy)
    assert 1e-4 < off.max() < 0.006


SIZES = {"cam1/a.jpg": (60, 40), "cam2/a.jpg": (60, 40), "b.png": (50, 50), "c.jpg": (33, 44), "d.jpg": (33, 44)}
IDS = ("cam1/a.jpg", "cam2/a.jpg", "b.png")
FOUND = {"cam1/a.jpg": detections(((1, 2, 30, 20), 0), ((5, 5, 50.25, 39), 1)), "cam2/a.jpg": detections(),
         "b.png": detections(((10, 10, 20, 21.5), 1))}


def assert_told(error, words="expected .*, got "):
    for line in error.problems:
        assert re.search(words, line)
        assert "\n" not in line


def damaged(path: Path, draw) -> None:
    """Cuts one of the files or changes bytes of it."""
    files = sorted(file for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file() and
                   file.suffix not in (".jpg", ".png"))
    file = draw(st.sampled_from(files))
    content = bytearray(file.read_bytes())
    for _ in range(draw(st.integers(0, 3)) if content else 0):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    file.write_bytes(bytes(content[:draw(st.integers(0, len(content)))] if draw(st.booleans()) else content))


def read_damaged(root: Path, kind: str, draw, packed: bool) -> Returned | None:
    """What is read of a batch whose files were damaged; None where they are refused."""
    dataset = data_set(root / "data", SIZES)
    path = came_back(kind, root / "out", dataset, IDS, FOUND)
    path = zipped(path) if packed else path
    damaged(path, draw)
    try:
        return read_returned(path, dataset, IDS)
    except DataError as error:
        assert_told(error)
        return None


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_damaged_files_are_refused_or_make_sense(tmp_path_factory, kind, data):
    returned = read_damaged(tmp_path_factory.mktemp("damaged"), kind, data.draw, packed=False)
    if returned is None:
        return
    assert returned.classes == ("ant", "bee")
    assert {*returned.boxes, *returned.missing, *returned.unfinished} == set(IDS)
    for image_id, boxes in returned.boxes.items():
        assert np.isfinite(boxes.xyxy).all()
        assert (boxes.xyxy <= [*SIZES[image_id]] * 2).all() if len(boxes) else True


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_damaged_archives_are_refused_or_right(tmp_path_factory, kind, data):
    returned = read_damaged(tmp_path_factory.mktemp("archive"), kind, data.draw, packed=True)
    if returned is None:
        return
    for image_id, boxes in returned.boxes.items():  # an archive's checksums: what can be read is right
        assert len(boxes) == len(FOUND[image_id])
        np.testing.assert_allclose(boxes.xyxy, FOUND[image_id].xyxy, atol=1e-4)


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_parts_in_any_order(tmp_path_factory, kind, data):
    """What a tool gives back of a part of the images, in its own order and with its own numbers."""
    root = tmp_path_factory.mktemp("part")
    dataset = data_set(root / "data", SIZES)
    every = data.draw(st.permutations(list(SIZES)))
    part = every[:data.draw(st.integers(1, len(every)))]
    assume(set(part) & set(IDS))
    found = {**FOUND, "c.jpg": detections(((1, 1, 9, 9), 0)), "d.jpg": detections()}
    path = came_back(kind, root / "out", dataset, part, found)
    if kind in ("voc", "yolo") and len({*part} & {"cam1/a.jpg", "cam2/a.jpg"}) == 1:
        return  # is called a.jpg there, which is both of them: refused below
    returned = read_returned(path, dataset, IDS)
    assert set(returned.boxes) == set(part) & set(IDS)
    assert returned.missing == tuple(image_id for image_id in IDS if image_id not in part)
    assert returned.extra == len(set(part) - set(IDS))
    assert_boxes(kind, returned, dataset, [image_id for image_id in IDS if image_id in part], found)


@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_a_file_called_like_two_images_is_refused(tmp_path, kind):
    dataset = data_set(tmp_path / "data", SIZES)
    path = came_back(kind, tmp_path / "out", dataset, IDS[1:], FOUND)
    with pytest.raises(DataError, match=r"a\.\w+: expected a file called like one image of the batch, got a name that "
                                        r"means 'cam1/a.jpg' and 'cam2/a.jpg'; rename it"):
        read_returned(path, dataset, IDS)


def test_a_json_file_may_be_of_any_order_of_keys(tmp_path):
    dataset = data_set(tmp_path / "data", SIZES)
    path = came_back("coco", tmp_path, dataset, IDS, FOUND)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(content.items()))))
    assert_boxes("coco", read_returned(path, dataset, IDS), dataset, IDS, FOUND)
