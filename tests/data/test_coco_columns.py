"""Entries of a COCO file that are taken in columns, held to what comes of them one by one."""

from __future__ import annotations

import random

import pytest

from mgral.data.formats import coco
from mgral.data.formats.coco_columns import columns_of
from mgral.data.formats.folder import Folder
from mgral.data.formats.reading import Reading
from mgral.findings import Findings

IMAGES = [{"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}, {"id": "2", "file_name": "b.jpg"},
          {"id": 3.0, "file_name": "c.jpg"}, {"id": 4, "file_name": "lost.jpg"}, {"id": "05", "file_name": "d.jpg"},
          {"id": 4, "file_name": "e.jpg"}]
CATEGORIES = [{"id": 1, "name": "cat"}, {"id": "2", "name": "dog"}]
ODD = {"id": [None, "7", 7.0, True, "07", "x", [], 10**30, -3, "-3", 1e400, "", "\u0667"],
       "image_id": ["1", 2, 3, 3.0, 4, 5, "05", 9, None, True, " 1", [], 1.5],
       "category_id": ["1", 2, 3, None, True, "a"],
       "bbox": [None, [], [1, 2, 3], [1, 2, 3, "4"], [1, 2, 3, True], [1, 2, float("nan"), 4], [1, 2, 10**400, 4],
                "abcd", [1e308, 1e308, 1e308, 1e308], [1, 2, None, 4], [0.1, 0.2, 0.3, 0.4], [-5, 2, 3, 4], {"x": 1},
                (1, 2, 3, 4)],
       "iscrowd": [0, 1, True, "1", 1.0, None, "no"], "ignore": [0, 1, True, "1", []],
       "attributes": [None, {}, {"rotation": 0.0}, {"rotation": 30}, {"rotation": "30"}, {"rotation": None}, [], "x",
                      {"rotation": 360}],
       "segmentation": [[], [[1, 1, 9, 1, 9, 9]], [1, 1, 9, 1, 9, 9], {"counts": ""}]}


def entries(number: random.Random, odd: float) -> list[dict]:
    """Annotations of which this share has something odd, or lacks something."""
    listed = []
    for row in range(60):
        entry = {"id": row, "image_id": number.choice([1, 2, 3]), "category_id": number.choice([1, 2]),
                 "bbox": [number.randrange(9), 1.5, 2, number.random()], "iscrowd": number.choice([0, 0, 1])}
        if number.random() < odd:
            key = number.choice(list(ODD))
            entry[key] = number.choice(ODD[key])
        if number.random() < odd / 10:
            entry.pop(number.choice(list(entry)))
        listed.append(entry)
    return listed


def read(tmp_path, annotations: list[dict], repair: bool) -> dict:
    folder = Folder.of(tmp_path, [f"{name}.jpg" for name in "abcde"])
    reading = Reading(folder, Findings(), repair=repair)
    parts = {"images": IMAGES, "annotations": annotations, "categories": CATEGORIES}
    coco.read_file(reading, tmp_path / "x.json", parts, [""])
    return {"rows": list(reading.rows), "labels": reading.labels, "corners": list(map(repr, reading.corners)),
            "ignore": reading.ignore, "places": [reading.places[row] for row in range(len(reading.rows))],
            "missing": reading.missing, "dropped": reading.dropped, "problems": reading.findings.problems,
            "notes": reading.findings.notes}


@pytest.mark.parametrize("repair", [False, True])
@pytest.mark.parametrize("odd", [0.0, 0.05, 0.5])
def test_columns_say_what_the_entries_say_one_by_one(tmp_path, monkeypatch, odd, repair):
    for seed in range(30):
        annotations = entries(random.Random(seed), odd)
        monkeypatch.setattr(coco, "columns_of", lambda *given: None)
        alone = read(tmp_path, annotations, repair)
        monkeypatch.setattr(coco, "columns_of", columns_of)
        for stretch in (1, 7, 2048):
            monkeypatch.setattr(coco, "STRETCH", stretch)
            assert read(tmp_path, annotations, repair) == alone


@pytest.mark.parametrize("more", [{}, {"segmentation": [[1, 2, 3, 4, 5, 6]]}, {"attributes": {"rotation": 0.0}}])
def test_what_tools_write_is_plain(more):
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4.5], "iscrowd": 1} | more
    found = columns_of([entry], {"1": 0}, {"1": "cat"})
    assert (found.ids, found.rows, found.labels, found.ignore) == ([1], [0], ["cat"], [True])
    assert found.corners.tolist() == [[1, 2, 4, 6.5]]


@pytest.mark.parametrize(("key", "value"), [("bbox", [1, 2, 3, "4"]), ("bbox", [1, 2, 3]), ("image_id", 2),
                                            ("category_id", 2), ("id", None), ("attributes", {"rotation": 30})])
def test_one_odd_entry_is_left_to_be_looked_at_alone(key, value):
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
    assert columns_of([entry, entry | {key: value}], {"1": 0}, {"1": "cat"}) is None
