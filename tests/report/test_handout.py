"""A study's batch as it is handed out, and what is said of its files."""

import numpy as np
import pytest

from mgral.annotation.preannotations import FORMATS
from mgral.pool.inspection import Detections
from mgral.report.handout import PICTURES, in_words, next_step, show_batch
from mgral.study.results import Choice
from tests.report.test_page import read

CHOICE = Choice(("i0.jpg", "i2.jpg", "i4.jpg"), "by hand", (0.1, 0.9, 0.5), ("low", "high", "middle"))


def test_a_choice_in_the_order_of_preference():
    assert CHOICE.ranked() == Choice(("i2.jpg", "i4.jpg", "i0.jpg"), "by hand", (0.9, 0.5, 0.1),
                                     ("high", "middle", "low"))
    assert Choice(("a", "b"), "x").ranked() == Choice(("a", "b"), "x")


def test_the_page_is_best_first_and_says_what_to_type(tmp_path, toy):
    seen = Detections(np.array([[2, 3, 12, 20]], np.float32), np.array([0.9], np.float32), np.array([1]))
    show_batch(tmp_path, toy, CHOICE, dict.fromkeys(CHOICE.ids, seen), "s: random, cycle 2", " --seed 4 --cycle 2")
    assert sorted(path.name for path in tmp_path.glob("*.*")) == sorted(PICTURES)
    page = read(tmp_path / "batch.html")
    assert [text.split(".\xa0")[1] for text in page.texts["h2"] if "\xa0" in text] == ["i2.jpg", "i4.jpg", "i0.jpg"]
    said = page.texts["header"][0]
    assert "correct the model's boxes, and draw every object" in said
    assert "mgral export --seed 4 --cycle 2 --to label-studio" in said
    assert "mgral import --seed 4 --cycle 2 FILE" in said


def test_the_first_batch_has_no_boxes_to_correct(tmp_path, toy):
    show_batch(tmp_path, toy, Choice(CHOICE.ids, "diversity"), {}, "s: the first batch", " --cycle 0")
    said = read(tmp_path / "batch.html").texts["header"][0]
    assert "In your annotation tool draw every object" in said
    assert "no model has looked at them yet" in said


def test_where_labels_are_known_nothing_is_asked(tmp_path, toy):
    show_batch(tmp_path, toy, CHOICE, {}, "s: random, cycle 2", None)
    said = read(tmp_path / "batch.html").texts["header"][0]
    assert "Nothing: the labels of these images are known" in said
    assert "mgral import" not in said


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_has_its_next_step(tmp_path, kind):
    file = tmp_path / "of_the_batch.xml"
    said = next_step(kind, [file], tmp_path, "the images in images.csv")
    assert f"serve local files of {tmp_path.parent}" in said if kind == "label-studio" else "of_the_batch.xml" in said
    assert in_words(tmp_path / "voc") == f"{tmp_path / 'voc'}: images and XML files"
    assert in_words(file) == f"{file}: for annotators"
