"""What a person has corrected is kept for good, whatever is computed again."""

from dataclasses import replace

import numpy as np
import pytest

from mgral.data.dataset import Boxes
from mgral.errors import DataError
from mgral.study.corrections import keep_corrections, kept_corrections, with_corrections


def boxes(x):
    return Boxes.of([(x, 3, 12, 20)], [1])


def test_corrections_add_up_and_the_latest_counts(toy, workspace):
    assert kept_corrections(workspace, toy) == {}
    keep_corrections(workspace, toy, {"i1.jpg": boxes(1), "i2.jpg": Boxes.of()})
    keep_corrections(workspace, toy, {"i1.jpg": boxes(2), "i4.jpg": boxes(4)})
    corrections = kept_corrections(workspace, toy)
    assert list(corrections) == ["i1.jpg", "i2.jpg", "i4.jpg"]
    assert [len(corrected) for corrected in corrections.values()] == [1, 0, 1]
    np.testing.assert_array_equal(corrections["i1.jpg"].xyxy, [(2, 3, 12, 20)])


def test_they_come_before_what_the_data_set_says(toy, workspace):
    assert with_corrections(workspace, toy) is toy
    keep_corrections(workspace, toy, {"i1.jpg": boxes(1)})
    corrected = with_corrections(workspace, toy)
    assert corrected.boxes["i0.jpg"] is toy.boxes["i0.jpg"]
    np.testing.assert_array_equal(corrected.boxes["i1.jpg"].xyxy, [(1, 3, 12, 20)])
    np.testing.assert_array_equal(toy.boxes["i1.jpg"].xyxy, [(2, 3, 12.5, 20)])


def test_classes_that_only_people_have_named(toy, workspace):
    keep_corrections(workspace, replace(toy, classes=("dog", "newt"), category_ids=(4, 7)), {"i1.jpg": boxes(1)})
    bare = with_corrections(workspace, replace(toy, classes=(), category_ids=(), boxes={}))
    assert (bare.classes, bare.category_ids) == (("dog", "newt"), (1, 2))
    assert [bare.classes[label] for label in bare.boxes["i1.jpg"].labels] == ["newt"]
    joined = with_corrections(workspace, toy)
    assert (joined.classes, joined.category_ids) == (("cat", "dog", "newt"), (1, 2, 3))
    assert [joined.classes[label] for label in joined.boxes["i1.jpg"].labels] == ["newt"]


@pytest.mark.parametrize("damage", ["{", "[]", '{"images": 3, "categories": []}'])
def test_a_damaged_file_is_one_clear_line(toy, workspace, damage):
    keep_corrections(workspace, toy, {"i1.jpg": boxes(1)})
    workspace.corrections.write_text(damage)
    for use in (lambda: kept_corrections(workspace, toy), lambda: with_corrections(workspace, toy),
                lambda: keep_corrections(workspace, toy, {"i2.jpg": boxes(1)})):
        with pytest.raises(DataError, match=r"corrections\.json: expected what people have corrected, .* got "):
            use()
    assert workspace.corrections.read_text() == damage
