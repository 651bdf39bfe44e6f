"""Archives as tools hand them out; and what may be wrong with one."""

import io
import os
import zipfile

import pytest

from mgral.annotation import archives
from mgral.annotation.archives import opened
from mgral.annotation.returned import read_returned
from mgral.errors import DataError
from tests.annotation.annotators import came_back, data_set, detections, zipped

IDS = ("cam1/ä.jpg", "b.png")


@pytest.fixture
def dataset(tmp_path):
    return data_set(tmp_path / "data", dict.fromkeys(IDS, (60, 40)))


def packed(path, *members, **more):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **more) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def refusal(path):
    with pytest.raises(DataError) as caught, opened(path):
        pytest.fail("was opened")
    line, = caught.value.problems
    assert line.startswith(f"{path}: expected ")
    assert ", got " in line
    return line


def test_only_annotation_files_are_taken_out(tmp_path):
    path = packed(tmp_path / "a.zip", ("images/a.jpg", b"x"), ("labels/a.txt", "1"), ("__MACOSX/labels/._a.txt", "2"),
                  ("labels/.hidden.txt", "3"), ("run.py", "4"), ("deep\\er/b.xml", "5"), ("data.YAML", "6"))
    with opened(path) as place:
        found = sorted(str(file.relative_to(place)) for file in place.rglob("*") if file.is_file())
    assert found == ["data.YAML", "deep/er/b.xml", "labels/a.txt"]
    assert not place.exists()


def test_an_archive_is_known_by_its_content_too(tmp_path, dataset):
    path = zipped(came_back("coco", tmp_path / "out", dataset, IDS, {"b.png": detections(((1, 2, 30, 20), 1))}))
    other = path.rename(tmp_path / "export")
    assert len(read_returned(other, dataset, IDS).boxes["b.png"]) == 1


@pytest.mark.parametrize("name", ["../a.json", "/etc/a.json", "a/../../b.json", "..\\a.json", "C:/a.json",
                                  "C:\\a.json"])
def test_paths_that_lead_out_are_refused(tmp_path, name):
    line = refusal(packed(tmp_path / "a.zip", ("ok.json", "{}"), (name, "{}")))
    assert "paths that stay within the archive" in line
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_links_in_archives_are_passed_over(tmp_path):
    link = zipfile.ZipInfo("secret.json")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with opened(tmp_path / "a.zip") as place:
        assert os.listdir(place) == []


def test_encrypted_archives_are_refused(tmp_path):
    content = bytearray(packed(tmp_path / "a.zip", ("a.json", "{}")).read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    assert "without a password, got 'a.json' encrypted" in refusal(tmp_path / "a.zip")


def test_two_files_of_one_name_are_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        packed(tmp_path / "a.zip", ("a.json", "{}"), ("a.json", "[]"))
    assert "each file once, got 'a.json' again" in refusal(tmp_path / "a.zip")
    assert "each file once" in refusal(packed(tmp_path / "b.zip", ("x/a.json", "{}"), ("x\\a.json", "[]")))


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"no archive")
    assert "zip archive that can be unpacked, got File is not a zip file" in refusal(tmp_path / "a.zip")
    whole = packed(tmp_path / "b.zip", ("a.json", "[1, 2, 3]" * 1000)).read_bytes()
    (tmp_path / "b.zip").write_bytes(whole[:-30])
    assert "can be unpacked" in refusal(tmp_path / "b.zip")
    (tmp_path / "b.zip").write_bytes(whole[:60] + bytes([whole[60] ^ 255]) + whole[61:])
    assert "can be unpacked" in refusal(tmp_path / "b.zip")


def test_a_file_in_place_of_a_folder_is_refused(tmp_path):
    assert "can be unpacked" in refusal(packed(tmp_path / "a.zip", ("a.json", "{}"), ("a.json/b.json", "{}")))


def test_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_BYTES", 10_000)
    bomb = packed(tmp_path / "a.zip", ("a.json", " " * 5000), ("b.json", " " * 6000))
    assert "got more, in 'b.json'" in refusal(bomb)
    monkeypatch.setattr(archives, "MOST_FILES", 1)
    assert "at most 1 annotation files, got 2; give the batch alone" in refusal(bomb)
    with opened(packed(tmp_path / "b.zip", ("big.jpg", " " * 50_000), ("a.json", "[]"))) as place:
        assert os.listdir(place) == ["a.json"]


def test_paths_that_cannot_be_opened_are_refused(tmp_path):
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for path in (tmp_path / "circle", tmp_path / "a\0b.json"):
        assert "expected what came back of the batch" in refusal(path)


def test_names_of_macs_and_of_other_zip_tools(tmp_path, dataset):
    """Macs write UTF-8 and do not say so."""
    xml = (came_back("voc", tmp_path, dataset, IDS, {}) / "Annotations" / "ä.xml").read_text()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("Annotations/ä.xml", xml)
    content = bytearray(content.getvalue())
    for start, offset in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
        content[content.index(start) + offset] &= ~8
    (tmp_path / "mac.zip").write_bytes(content)
    assert tuple(read_returned(tmp_path / "mac.zip", dataset, IDS).boxes) == ("cam1/ä.jpg",)


def test_problems_and_notes_name_the_archive(tmp_path, dataset):
    path = zipped(came_back("yolo", tmp_path / "out", dataset, IDS, {"b.png": detections(((1, 2, 30, 20), 1))}))
    returned = read_returned(path, dataset, IDS)
    assert any(str(path) in note for note in returned.notes)
    assert not any("mgral-" in note for note in returned.notes)
    with pytest.raises(DataError, match="yolo packed.zip: expected images of the batch"):
        read_returned(path, data_set(tmp_path / "other", {"z.jpg": (60, 40)}), ["z.jpg"])


@pytest.mark.parametrize("kind", ["cvat", "cvat-coco", "coco", "voc", "yolo", "label-studio"])
def test_every_format_may_come_packed(tmp_path, dataset, kind):
    found = {"b.png": detections(((1, 2, 30, 20), 1))}
    returned = read_returned(zipped(came_back(kind, tmp_path / "out", dataset, IDS, found)), dataset, IDS)
    assert [len(boxes) for boxes in returned.boxes.values()] == [0, 1]
