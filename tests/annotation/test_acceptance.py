"""What came back is taken for what people say, or asked about."""

from dataclasses import replace
from pathlib import Path

import pytest

from mgral.annotation.acceptance import Accept, check_returned
from mgral.annotation.changes import Changes
from mgral.annotation.returned import Returned
from mgral.data.dataset import Boxes
from mgral.errors import DataError

BOXES = {"a.jpg": Boxes.of([(0, 0, 9, 9)], [0]), "b.jpg": Boxes.of()}
WHOLE = Returned("coco", ("ant",), BOXES, (), (), 0, 1, None, 0, 0, ())
CHANGED = Changes(kept=2, added=1)
FILE = Path("back.json")


def check(returned=WHOLE, changes=CHANGED, usual=0.2, **accept):
    check_returned(FILE, returned, changes, usual, Accept(**accept))


def test_a_whole_batch_that_somebody_worked_on():
    check()


def test_images_that_are_not_labelled():
    lacking = replace(WHOLE, missing=("c.jpg", "d.jpg"), unfinished=("e.jpg", "f.jpg"))
    with pytest.raises(DataError) as error:
        check(lacking)
    assert str(error.value) == (
        "back.json: expected labels of all 6 images of the batch, got 2: 2 are not in it and 2 nobody has finished "
        "(c.jpg, d.jpg, e.jpg, …); export the whole batch, or take what is there: --partial")
    check(lacking, partial=True)


def test_nothing_at_all_is_no_part():
    nothing = replace(WHOLE, boxes={}, silent=0, unfinished=("a.jpg", "b.jpg"))
    for partial in (False, True):
        with pytest.raises(DataError, match=r"got 0: 2 nobody has finished \(a.jpg, b.jpg\); export .* when some are"):
            check(nothing, Changes(), partial=partial)


def test_far_more_empty_images_than_usual():
    with pytest.raises(DataError, match="about 5% of the images to be empty, .*, got 50%; .* --accept-empty"):
        check(usual=0.05)
    check(usual=0.05, empty=True)
    check(replace(WHOLE, silent=0), usual=0.05)  # the format says that somebody looked


def test_the_file_as_it_went_out():
    with pytest.raises(DataError, match="got all 2 as the detector drew them; .* --accept-unchanged"):
        check(changes=Changes(kept=2))
    check(changes=Changes(kept=2), unchanged=True)


def test_all_faults_at_once():
    with pytest.raises(DataError) as error:
        check(replace(WHOLE, missing=("c.jpg",)), Changes(kept=2), usual=0.0)
    assert len(error.value.problems) == 3
