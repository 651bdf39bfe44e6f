import numpy as np
import pytest

from mgral.errors import StateError
from mgral.files import md5
from mgral.study.snapshot import Snapshot, labelled, take_snapshot, version
from mgral.study.workspace import Workspace


@pytest.fixture
def space(tmp_path, toy):
    made = Workspace(tmp_path / "work", "s")
    take_snapshot(made, "mgral", 0, toy, "source", {"i0": toy.boxes["i0"]})
    take_snapshot(made, "mgral", 1, toy, "source", {"i3": toy.boxes["i3"], "i2": toy.boxes["i2"]})
    return made


def test_the_chain_gives_back_every_box(space, toy):
    boxes = labelled(space, "mgral", 1, toy)
    assert set(boxes) == {"i0", "i2", "i3"}
    for image_id, one in boxes.items():
        np.testing.assert_array_equal(one.xyxy, toy.boxes[image_id].xyxy)
        np.testing.assert_array_equal(one.labels, toy.boxes[image_id].labels)


def test_a_version_is_the_files_md5_and_names_its_parent(space):
    snapshot = Snapshot.read(space.snapshot("mgral", 1))
    assert version(space, "mgral", 1) == md5(space.snapshot("mgral", 1))
    assert snapshot.parent == version(space, "mgral", 0)
    assert snapshot.added == ("i2", "i3")


def test_the_same_content_has_the_same_version_whatever_the_strategy(space, toy):
    take_snapshot(space, "random", 1, toy, "source", {"i2": toy.boxes["i2"], "i3": toy.boxes["i3"]})
    assert version(space, "random", 1) == version(space, "mgral", 1)


def test_a_cycle_not_done_is_named(space):
    with pytest.raises(StateError, match="expected the snapshot of cycle 2 of mgral, got no file; run cycle 2"):
        version(space, "mgral", 2)


@pytest.mark.parametrize("name", ["annotations", "snapshot"])
def test_a_file_changed_behind_later_work_is_found(space, toy, name):
    path = getattr(space, name)("mgral", 0)
    path.write_text(path.read_text().replace("\n", "\n "))
    with pytest.raises(StateError, match=f"{name}.json: expected MD5 .* the file changed after later work"):
        labelled(space, "mgral", 1, toy)
