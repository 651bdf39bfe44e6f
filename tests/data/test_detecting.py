"""Which format a folder is in, where VOC and YOLO are concerned."""

import pytest

from tests.data.trees import LINE, SIZE, assert_refused, boxes, cell, clean, noted, read, tree, xml

ONE = xml(cell())
IMAGE = {"a.jpg": SIZE}
VOC, YOLO = {**IMAGE, "a.xml": ONE}, {**IMAGE, "a.txt": LINE, "classes.txt": "cell\n"}


@pytest.mark.parametrize(("files", "name"), [
    (VOC, "voc"), (YOLO, "yolo"), (IMAGE, "images"), ({**IMAGE, "a.xml": ""}, "voc"),
    ({**IMAGE, "a.xml": "<broken"}, "voc"),
    ({**IMAGE, "a.xml": ONE.replace("<annotation>", "<annotation\n verified='yes'>")}, "voc"),
    ({**IMAGE, "a.xml": f"<?xml version='1.0' encoding='utf-16'?>{ONE}".encode("utf-16")}, "voc"),
    ({**IMAGE, "a.xml": f"<!-- {'x' * 3000} -->{ONE}"}, "voc"), ({**IMAGE, "pom.xml": "<project/>"}, "images"),
    ({**IMAGE, "data.yaml": "names: [cell]\ntrain: .\n"}, "yolo"),
    ({**IMAGE, "x.yml": "{names: [cell], train: .}"}, "yolo"),
    ({**IMAGE, "x.yaml": "train: .\n'names' :\n- cell\n"}, "yolo"),
    ({**IMAGE, "environment.yaml": "name: x\n"}, "images"),
    ({**IMAGE, "k8s.yaml": "metadata:\n  names: [x]\n  nc: 3\n"}, "images"),
    ({**IMAGE, "model.yaml": "nc: 80\n"}, "images"),
    ({**IMAGE, "cpu.yaml": "ncpus: 4\nnames_of: [x]\n"}, "images"),
    ({**IMAGE, "params.yaml": "names: [x]\n"}, "images"), ({**VOC, "classes.txt": "cell\n"}, "voc"),
    ({**VOC, "classes.txt": "cell\n", "a.txt": "a photo of a cell\n"}, "voc"),
    ({**IMAGE, "a.txt": "", "classes.txt": "cell\n"}, "yolo"),
    ({**IMAGE, "a.txt": "0 0.5 0.5\n", "classes.txt": "x"}, "yolo"),
    ({**IMAGE, "a.txt": "cell,0.5,0.5,1,1\n", "classes.txt": "cell"}, "yolo"),
    ({**IMAGE, "a.txt": "a photo\n"}, "images"),
    ({**IMAGE, "notes.txt": LINE}, "images"), ({**VOC, "notes.txt": LINE}, "voc")])
def test_the_format_is_told_by_the_files(tmp_path, files, name):
    assert read(tree(tmp_path, files)).format == name


def test_two_formats_are_asked_for(tmp_path):
    root = tree(tmp_path, VOC | YOLO)
    assert_refused(root, "expected annotations in one format, got Pascal VOC XML (a.xml); YOLO labels (classes.txt)",
            "data.format (voc or yolo)")
    assert boxes(clean(root, format="voc")) == boxes(clean(root, format="yolo"))
    assert clean(root, annotations=("a.xml",)).format == "voc"
    assert clean(root, annotations=("classes.txt",)).format == "yolo"


def test_what_was_found_is_said(tmp_path):
    assert noted(clean(tree(tmp_path, VOC)), f"{tmp_path}: found Pascal VOC XML (a.xml)")


def test_images_in_a_form_that_cannot_be_read_are_not_passed_over(tmp_path):
    root = tree(tmp_path, VOC | {"b.heic": b"\0\0\0\x18ftypheic", "b.xml": ONE})
    assert "b.heic" in assert_refused(root)
