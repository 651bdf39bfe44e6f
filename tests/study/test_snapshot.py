import numpy as np
import pytest

from mgral.errors import StateError
from mgral.files import md5
from mgral.study.snapshot import Snapshot, labelled, take_snapshot, version
from mgral.study.workspace import Workspace


@pytest.fixture
def workspace(tmp_path, toy):
    workspace = Workspace(tmp_path / "work", "s", 0)
    take_snapshot(workspace, "mgral", 0, toy, "source", {"i0.jpg": toy.boxes["i0.jpg"]})
    take_snapshot(workspace, "mgral", 1, toy, "source", {"i3.jpg": toy.boxes["i3.jpg"], "i2.jpg": toy.boxes["i2.jpg"]})
    return workspace


def test_the_chain_gives_back_every_box(workspace, toy):
    boxes = labelled(workspace, "mgral", 1, toy)
    assert set(boxes) == {"i0.jpg", "i2.jpg", "i3.jpg"}
    for image_id, restored in boxes.items():
        np.testing.assert_array_equal(restored.xyxy, toy.boxes[image_id].xyxy)
        np.testing.assert_array_equal(restored.labels, toy.boxes[image_id].labels)


def test_a_version_is_the_files_md5_and_names_its_parent(workspace):
    snapshot = Snapshot.read(workspace.snapshot("mgral", 1))
    assert version(workspace, "mgral", 1) == md5(workspace.snapshot("mgral", 1))
    assert snapshot.parent == version(workspace, "mgral", 0)
    assert snapshot.added == ("i2.jpg", "i3.jpg")


def test_the_same_content_has_the_same_version_whatever_the_strategy(workspace, toy):
    take_snapshot(workspace, "random", 1, toy, "source", {"i2.jpg": toy.boxes["i2.jpg"], "i3.jpg": toy.boxes["i3.jpg"]})
    assert version(workspace, "random", 1) == version(workspace, "mgral", 1)


def test_a_cycle_not_done_is_named(workspace):
    with pytest.raises(StateError, match="expected the snapshot of cycle 2 of mgral, got no file; run cycle 2"):
        version(workspace, "mgral", 2)


@pytest.mark.parametrize("name", ["annotations", "snapshot"])
def test_a_file_changed_behind_later_work_is_found(workspace, toy, name):
    path = getattr(workspace, name)("mgral", 0)
    path.write_text(path.read_text().replace("\n", "\n "))
    with pytest.raises(StateError, match=f"{name}.json: expected MD5 .* the file changed after later work"):
        labelled(workspace, "mgral", 1, toy)
