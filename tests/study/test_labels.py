"""What people labelled is kept for good, whatever is computed again."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mgral.annotation.changes import Changes
from mgral.data.dataset import Boxes
from mgral.data.formats.coco import write_coco
from mgral.errors import DataError, StateError
from mgral.study.labels import Import, in_force, keep, names_in, undo, with_labels


def boxes(x):
    return Boxes.of([(x, 3, 12, 20)], [1])


def read(when="2026-11-02T10:00:00+00:00", **values):
    return Import(0, when, "back.json", "coco", 2, 2, Changes(kept=1, added=1), **values)


@pytest.fixture
def folder(workspace):
    return workspace.batch("random", 1)


def test_imports_add_up_and_the_latest_of_an_image_counts(toy, workspace, folder):
    assert in_force(folder) is None
    first = keep(folder, toy, {"i1.jpg": boxes(1), "i2.jpg": Boxes.of()}, read())
    second = keep(folder, toy, {"i1.jpg": boxes(2), "i4.jpg": boxes(4)}, read(seconds=90.0, timed=2, timed_boxes=3))
    assert [(done.number, done.before) for done in (first, second)] == [(1, None), (2, 1)]
    assert in_force(folder) == second
    labelled = with_labels(workspace, toy)
    assert [len(labelled.boxes[name]) for name in ("i1.jpg", "i2.jpg", "i4.jpg")] == [1, 0, 1]
    np.testing.assert_array_equal(labelled.boxes["i1.jpg"].xyxy, [(2, 3, 12, 20)])
    assert names_in(folder / "labels.json") == {"i1.jpg", "i2.jpg", "i4.jpg"}


def test_they_come_before_what_the_data_set_says(toy, workspace, folder):
    assert with_labels(workspace, toy) is toy
    keep(folder, toy, {"i1.jpg": boxes(1)}, read())
    labelled = with_labels(workspace, toy)
    assert labelled.boxes["i0.jpg"] is toy.boxes["i0.jpg"]
    np.testing.assert_array_equal(labelled.boxes["i1.jpg"].xyxy, [(1, 3, 12, 20)])
    np.testing.assert_array_equal(toy.boxes["i1.jpg"].xyxy, [(2, 3, 12.5, 20)])


def test_of_two_batches_the_later_import_counts(toy, workspace, folder):
    other = workspace.batch("coreset", 2)
    keep(folder, toy, {"i1.jpg": boxes(1)}, read("2026-11-02T10:00:02+00:00"))
    keep(other, toy, {"i1.jpg": boxes(2)}, read("2026-11-02T10:00:01+00:00"))
    np.testing.assert_array_equal(with_labels(workspace, toy).boxes["i1.jpg"].xyxy, [(1, 3, 12, 20)])


def test_what_older_versions_kept_is_still_known(toy, workspace, folder):
    write_coco(workspace.corrections, replace(toy, boxes={"i1.jpg": boxes(1), "i2.jpg": boxes(1)}),
               ["i1.jpg", "i2.jpg"])
    keep(folder, toy, {"i1.jpg": boxes(2)}, read())
    found = with_labels(workspace, toy).boxes
    assert [found[name].xyxy[0, 0] for name in ("i1.jpg", "i2.jpg")] == [2, 1]


def test_undo_goes_back_step_by_step_and_loses_nothing(toy, workspace, folder):
    for x in (1, 2, 3):
        keep(folder, toy, {"i1.jpg": boxes(x)}, read())
    assert [done and done.number for done in undo(folder)] == [3, 2]
    np.testing.assert_array_equal(with_labels(workspace, toy).boxes["i1.jpg"].xyxy, [(2, 3, 12, 20)])
    again = keep(folder, toy, {"i1.jpg": boxes(4)}, read())
    assert (again.number, again.before) == (4, 2), "the one that was taken back is still there"
    assert [[done and done.number for done in undo(folder)] for _ in range(3)] == [[4, 2], [2, 1], [1, None]]
    assert with_labels(workspace, toy) is toy
    assert sorted(path.name for path in (folder / "imports").iterdir()) == ["1.json", "2.json", "3.json", "4.json"]
    with pytest.raises(StateError, match=r"labels\.json: expected labels that were imported, got none"):
        undo(folder)


def test_a_process_killed_between_the_two_files_goes_on(toy, workspace, folder, monkeypatch):
    keep(folder, toy, {"i1.jpg": boxes(1)}, read())
    before = (folder / "labels.json").read_bytes()

    def killed(path, *arguments):
        if path.name == "labels.json":
            raise KeyboardInterrupt
        write_coco(path, *arguments)

    monkeypatch.setattr("mgral.study.labels.write_coco", killed)
    with pytest.raises(KeyboardInterrupt):
        keep(folder, toy, {"i1.jpg": boxes(2)}, read())
    assert (folder / "labels.json").read_bytes() == before
    monkeypatch.undo()
    assert keep(folder, toy, {"i1.jpg": boxes(2)}, read()).number == 3


def test_classes_that_only_people_have_named(toy, workspace, folder):
    keep(folder, replace(toy, classes=("dog", "newt"), category_ids=(4, 7)), {"i1.jpg": boxes(1)}, read())
    bare = with_labels(workspace, replace(toy, classes=(), category_ids=(), boxes={}))
    assert (bare.classes, bare.category_ids) == (("dog", "newt"), (1, 2))
    assert [bare.classes[label] for label in bare.boxes["i1.jpg"].labels] == ["newt"]
    joined = with_labels(workspace, toy)
    assert (joined.classes, joined.category_ids) == (("cat", "dog", "newt"), (1, 2, 3))
    assert [joined.classes[label] for label in joined.boxes["i1.jpg"].labels] == ["newt"]


@pytest.mark.parametrize("damage", ["{", "[]", '{"images": 3, "categories": []}', '{"images": [], "categories": []}',
                                    '{"images": [], "categories": [], "info": {"when": 3}}'])
def test_a_damaged_file_is_one_clear_line(toy, workspace, folder, damage):
    keep(folder, toy, {"i1.jpg": boxes(1)}, read())
    (folder / "labels.json").write_text(damage)
    for use in (lambda: with_labels(workspace, toy), lambda: keep(folder, toy, {"i2.jpg": boxes(1)}, read()),
                lambda: undo(folder), lambda: in_force(folder)):
        with pytest.raises(DataError, match=r"labels\.json: expected labels as `mgral import` wrote them, got "):
            use()
    assert (folder / "labels.json").read_text() == damage


def test_the_pace_of_work():
    assert read().pace() is None
    assert read(seconds=90.0, timed=3, timed_boxes=6).pace() == (
        "1.5 minutes on 3 images: 120 images and 240 boxes an hour")


def test_other_tools_read_the_labels(toy, folder):
    keep(folder, toy, {"i1.jpg": boxes(1)}, read())
    content = json.loads((folder / "labels.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["i1.jpg"]
    assert content["annotations"][0]["bbox"] == [1.0, 3.0, 11.0, 17.0]
    assert content["info"]["number"] == 1
