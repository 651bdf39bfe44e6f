"""Which files a data folder has, which file a name means, and in which encoding a text is."""

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgral.data.formats.folder import Folder
from mgral.data.formats.text import likely_encoding, text_of
from mgral.findings import Findings
from tests.data.trees import SIZE, clean, folder_of, noted, read, tree

NFC, NFD = (unicodedata.normalize(form, "Décran_학점.jpg") for form in ("NFC", "NFD"))


def found(root: Path, name: str, places=("",)) -> tuple[str | None, Findings]:
    findings = Findings()
    return Folder(root).find(name, places, "here", findings), findings


def folder(tmp_path, *names: str) -> Path:
    return tree(tmp_path / "set", dict.fromkeys(names, b""))


@pytest.mark.parametrize(("name", "done"), [
    ("images/a.jpg", ""), ("./images/a.jpg", ""), ("images//a.jpg", ""), ("x/../images/a.jpg", ""),
    ("images\\a.jpg", "with / for \\"), (".\\images\\a.jpg", "with / for \\"), ("images%2Fa.jpg", "percent-decoded"),
    ("images%5Ca.jpg", "percent-decoded"), ("/data/local-files/?d=images/a.jpg", "as Label Studio serves local files"),
    ("/data/local-files/?d=images%2Fa.jpg", "as Label Studio serves local files"), ("a.jpg", "whose path ends so"),
    (r"..\..\label-studio\media\upload\4\a.jpg", "whose path ends so"),
    ("/content/x/images/a.jpg", "whose path ends so"),
    ("../../images/a.jpg", "whose path ends so"), ("s3://bucket/images/a.jpg", "whose path ends so"),
    ("https://x.y/images/a.jpg?sig=1/2", "whose path ends so"), ("C:\\data\\images\\a.jpg", "whose path ends so"),
    ("images/A.JPG", "but for its capitals"), ("/etc/a.jpg", "whose path ends so"),
    ("file:///x/images/a.jpg", "ends so")])
def test_a_name_is_repaired_in_this_order_with_one_note(tmp_path, name, done):
    path, findings = found(folder(tmp_path, "images/a.jpg", "images/b.jpg"), name)
    assert path == "images/a.jpg"
    assert len(findings.notes) == bool(done)
    assert not done or done in findings.notes[0]


def test_the_nearer_reading_comes_first(tmp_path):
    root = folder(tmp_path, "a%20b.jpg", "a b.jpg", "x/a b.jpg", "c\\d.jpg", "c/d.jpg")
    assert [found(root, name)[0] for name in ("a%20b.jpg", "a b.jpg", "c\\d.jpg", "c/d.jpg")] == [
        "a%20b.jpg", "a b.jpg", "c\\d.jpg", "c/d.jpg"]
    assert found(folder(tmp_path / "other", "a b.jpg", "x/a%20b.jpg"), "a%20b.jpg")[0] == "a b.jpg"
    assert found(folder(tmp_path / "twice", "a b.jpg", "a%20b.jpg"), "a%2520b.jpg")[0] == "a%20b.jpg"  # once only


@pytest.mark.parametrize(("there", "named"), [(NFC, NFD), (NFD, NFC)])
def test_unicode_forms(tmp_path, there, named):
    path, findings = found(folder(tmp_path, f"cam1/{there}", "cam1/b.jpg", f"cam2/{there}"), f"cam1/{named}")
    assert path == f"cam1/{there}"
    assert "in Unicode's composed form" in findings.notes[0]
    assert found(folder(tmp_path / "both", there, named), named)[0] == named


@pytest.mark.parametrize(("name", "path"), [
    ("day/cam1/a.jpg", "day/cam1/a.jpg"), ("/y/day/cam1/a.jpg", "day/cam1/a.jpg"),
    ("z/cam2/a.jpg", "cam2/a.jpg")])
def test_the_longest_tail_wins(tmp_path, name, path):
    root = folder(tmp_path, "cam1/a.jpg", "day/cam1/a.jpg", "cam2/a.jpg")
    assert found(root, name)[0] == path


@pytest.mark.parametrize("name", ["x/cam1/a.jpg", "cam9/cam1/a.jpg", "..\\cam1\\a.jpg"])
def test_a_tail_of_several_files_is_refused(tmp_path, name):
    root = folder(tmp_path, "u/cam1/a.jpg", "day/cam1/a.jpg", "cam2/a.jpg")
    path, findings = found(root, name)
    assert path is None
    assert findings.problems == (f"here: expected a path that means one file, got {name!r}, which could be "
                                 f"'day/cam1/a.jpg' or 'u/cam1/a.jpg'; write the path below {root}",)


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), min_size=1, max_size=12),
       st.lists(st.sampled_from("abcx"), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_the_longest_tail_against_trying_all(paths, parts):
    names = {"/".join(path) + ".jpg" for path in paths}
    name = "q/" + "/".join(parts) + ".jpg"
    with folder_of(dict.fromkeys(names, b"")) as root:
        path, findings = found(root, name)
        inner = Folder(root).images
    whole = name.split("/")
    for start in range(1, len(whole)):
        fitting = [other for other in inner if other.split("/")[-len(whole[start:]):] == whole[start:]]
        if fitting:
            assert path == (fitting[0] if len(fitting) == 1 else None)
            assert len(findings.problems) == (len(fitting) > 1)
            return
    assert path is None
    assert findings.problems == ()


@given(st.text(max_size=20))
@settings(max_examples=60, deadline=None)
def test_no_name_leads_out(name):
    with folder_of({"a.jpg": b"", "images/b.jpg": b""}) as root:
        (root.parent / "c.jpg").write_bytes(b"")
        for text in (name, f"../{name}", f"../c.jpg{name}", f"/{name}", f"images/../../{name}c.jpg"):
            path, _ = found(root, text, ("", "images", "images/.."))
            assert path is None or path in ("a.jpg", "images/b.jpg")


def test_names_by_the_hundred_thousand_are_no_matter(tmp_path):
    """Folders full of files of one name, by names that all need repair."""
    inner = Folder(tmp_path)
    inner.__dict__["files"] = dict.fromkeys(f"scene{row}/rgb.png" for row in range(20_000))
    findings = Findings()
    assert all(inner.find(f"D:\\x\\scene{row}\\rgb.png", ("",), "", findings) == f"scene{row}/rgb.png"
               for row in range(0, 20_000, 7))


def test_what_systems_leave_behind_is_passed_over(tmp_path):
    root = folder(tmp_path, "a.jpg", "._a.jpg", ".DS_Store", "__MACOSX/._a.jpg", "__MACOSX/a.jpg", ".git/b.jpg",
                  "Thumbs.db",
                  "sub/desktop.ini", "sub/._b.jpg", ".ipynb_checkpoints/a-checkpoint.jpg")
    assert list(Folder(root).files) == ["a.jpg"]


def test_own_results_are_passed_over(tmp_path):
    root = folder(tmp_path, "runs/table.db", "runs/x.jpg", "mlruns/mlflow.db", "mlruns/y.png", "data/runs/z.jpg")
    assert list(Folder(root).images) == ["data/runs/z.jpg"]


# Links.


def test_a_linked_folder_counts_once(tmp_path):
    root = folder(tmp_path, "pictures/a.jpg")
    (root / "images").symlink_to(root / "pictures")
    inner = Folder(root)
    assert inner.images == ["pictures/a.jpg"]
    assert inner.images_in("images") == ["images/a.jpg"]


def test_links_in_circles_end(tmp_path):
    root = folder(tmp_path, "a/x.jpg", "b/y.jpg")
    for here in ("a", "b"):
        for there in ("a", "b", "."):
            (root / here / f"to{there}").symlink_to(root / there)
    (root / "self.jpg").symlink_to(root / "self.jpg")
    inner = Folder(root)
    assert inner.images == ["a/x.jpg", "b/y.jpg", "self.jpg"]
    assert len(inner.files) < 20


def test_many_folders_that_link_to_each_other(tmp_path):
    names = [f"d{row}" for row in range(12)]
    root = folder(tmp_path, *(f"{name}/x.jpg" for name in names))
    for name in names:
        for other in names:
            (root / name / other).symlink_to(root / other)
    assert len(Folder(root).files) < 400


def test_a_link_to_a_folder_beside_is_followed_and_one_elsewhere_is_not(tmp_path):
    root = folder(tmp_path, "a.jpg")
    tree(tmp_path, {"sister/b.jpg": b""})
    (root / "near").symlink_to(tmp_path / "sister")
    (root / "up").symlink_to(tmp_path)
    (root / "far").symlink_to("/usr/lib")
    inner = Folder(root)
    assert list(inner.files) == ["a.jpg", "near/b.jpg"]
    assert "got a link to" in inner.left_out["far"]


@pytest.mark.parametrize("name", ["b.jpg", "b.xml", "b.txt", "b.json"])
def test_a_link_to_a_file_outside_is_a_problem(tmp_path, name):
    root = tree(tmp_path / "set", {"a.jpg": SIZE})
    tree(tmp_path, {"secret": "secret\n"})
    (root / name).symlink_to(tmp_path / "secret")
    assert read(root).problems == (f"{root / name}: expected a path inside {root}, got a link to "
                                   f"{os.path.realpath(tmp_path / 'secret')}; copy what is linked",)


def test_other_links_out_are_noted(tmp_path):
    root = tree(tmp_path / "set", {"a.jpg": SIZE})
    (root / "latest").symlink_to("/usr/lib")
    assert noted(clean(root), "latest: not looked into: expected a path inside")


def test_a_link_to_a_file_inside_is_that_file(tmp_path):
    root = tree(tmp_path / "set", {"all/a.jpg": SIZE})
    (root / "train").mkdir()
    (root / "train/b.jpg").symlink_to(root / "all/a.jpg")
    assert list(clean(root).dataset.images) == ["all/a.jpg", "train/b.jpg"]


def test_a_name_that_is_no_text(tmp_path):
    root = tree(tmp_path / "set", {"a.jpg": SIZE})
    try:
        with open(os.fsencode(root) + b"/D\xe9.jpg", "wb"):
            pass
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    assert read(root).problems == (f"{root}/D\\xe9.jpg: expected a file name in UTF-8, got other bytes; rename it",)


def test_deep_folders(tmp_path):
    root = tree(tmp_path / "set", {"a.jpg": SIZE})
    deep = root
    for _ in range(150):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "b.jpg").write_bytes((root / "a.jpg").read_bytes())
    assert len(Folder(root).images) == 2


# Text.


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(tmp_path, codec):
    findings = Findings()
    tree(tmp_path, {"a.txt": "Stück 车\n".encode(codec)})
    assert text_of(tmp_path / "a.txt", "text", findings) == "Stück 车\n"
    assert findings.problems == ()


@pytest.mark.parametrize(("text", "codec", "likely"), [
    ("Stück °", "latin-1", "latin-1"), ("Stück €", "cp1252", "cp1252"), ("车辆", "gb2312", "gb18030")])
def test_other_bytes_are_named_and_not_guessed(tmp_path, text, codec, likely):
    findings = Findings()
    content = text.encode(codec)
    tree(tmp_path, {"a.txt": content})
    assert text_of(tmp_path / "a.txt", "text", findings) is None
    at = next(row for row, byte in enumerate(content) if byte > 127)
    assert f"expected UTF-8 text, got byte {content[at]:#04x} at position {at} (likely {likely}" in findings.problems[0]


@given(st.binary(max_size=30))
@settings(max_examples=100, deadline=None)
def test_any_bytes_have_a_likely_encoding(content):
    assert likely_encoding(content)


def test_what_is_no_file(tmp_path):
    findings = Findings()
    (tmp_path / "a.txt").mkdir()
    os.mkfifo(tmp_path / "b.txt")
    (tmp_path / "c.txt").symlink_to(tmp_path / "c.txt")
    for name in ("a.txt", "b.txt", "c.txt", "d.txt"):
        assert text_of(tmp_path / name, "text", findings) is None
    assert sum("got something that is no file" in problem for problem in findings.problems) == 2
    assert "got nothing there" in findings.problems[-1]
