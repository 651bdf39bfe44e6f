"""Other pixels under an old name do not pass for what a study began with."""

import os

import pytest

from mgral.errors import StateError
from mgral.study.pixels import check_pixels, keep_pixels
from mgral.study.preparation import prepare
from tests.people import People
from tests.small_data import save_image
from tests.study.test_preparation import config


@pytest.fixture
def people(tmp_path):
    return People(tmp_path, photos=30, labelled=20)


def test_replaced_pixels_are_refused(people, workspace):
    prepared = prepare(config(), workspace, people.folder)
    assert check_pixels(workspace, prepared.dataset) == 30
    for name in people.names[25:28]:
        save_image(people.folder / "photos" / name, 32, 32, seed=1)
    said = f"got other pixels in photos/{people.names[25]} and 2 others; restore them, or give the study another"
    with pytest.raises(StateError, match=said):
        prepare(config(), workspace, people.folder)
    with pytest.raises(StateError, match=said):
        check_pixels(workspace, prepared.dataset)


def test_a_flipped_byte_with_the_old_time_is_found_on_request(people, workspace):
    prepared = prepare(config(), workspace, people.folder)
    path = people.folder / "photos" / people.names[0]
    about, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    with pytest.raises(StateError, match=f"got other pixels in photos/{people.names[0]}; restore"):
        check_pixels(workspace, prepared.dataset)


def test_touched_files_and_new_ones_pass(people, workspace):
    prepare(config(), workspace, people.folder)
    for name in people.names:
        (people.folder / "photos" / name).touch()
    save_image(people.folder / "photos" / "zebra.jpg", 32, 32)
    assert check_pixels(workspace, prepare(config(), workspace, people.folder).dataset) == 31


def test_a_damaged_file_is_one_clear_line(workspace):
    keep_pixels(workspace, {"a.jpg": "12"})
    workspace.pixels.write_text("{")
    with pytest.raises(StateError, match=r"images\.json: expected JSON, got .*; delete it"):
        keep_pixels(workspace, {"a.jpg": "12"})
