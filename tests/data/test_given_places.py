"""What the settings name explicitly: where the images are, and the splits."""

import pytest

from tests.data.trees import CELL, LINE, SIZE, assert_refused, boxes, cell, clean, noted, splits, tree, xml

ONE = xml(cell())
VOC = {"part1/a.jpg": SIZE, "part1/a.xml": ONE, "part2/b.jpg": SIZE, "part2/b.xml": ONE, "part2/c.jpg": SIZE}
YOLO = {"part1/a.jpg": SIZE, "part1/a.txt": LINE, "part2/b.jpg": SIZE, "part2/b.txt": LINE, "part2/c.jpg": SIZE,
        "classes.txt": "cell\n"}
ALL = {"part1/a.jpg": [CELL], "part2/b.jpg": [CELL], "part2/c.jpg": None}
FORMATS = pytest.mark.parametrize("files", [VOC, YOLO], ids=["voc", "yolo"])


@FORMATS
@pytest.mark.parametrize("place", ["part2", "part2/", "./part2", "part1/../part2"])
def test_a_folder_is_a_split(tmp_path, files, place):
    loaded = clean(tree(tmp_path, files), splits=(("mine", "part1"), ("other", place)))
    assert boxes(loaded) == ALL
    assert splits(loaded) == {"mine": ["part1/a.jpg"], "other": ["part2/b.jpg", "part2/c.jpg"]}


@FORMATS
@pytest.mark.parametrize("text", [
    "part1/a.jpg\npart2/c.jpg\n", "a.jpg\nc.jpg", "a\r\n\r\nc\r\n", "\ufeffa\nc\n", "part1\\a.jpg\nC:\\x\\part2\\c.jpg",
    "./part1/a.jpg\n/home/x/part2/c.jpg\n", "a 1\nc -1\n", "part1/a\npart2/c"])
def test_a_list_is_a_split(tmp_path, files, text):
    loaded = clean(tree(tmp_path, files | {"lists/mine.txt": text}), splits=(("mine", "lists/mine.txt"),))
    assert splits(loaded) == {"mine": ["part1/a.jpg", "part2/c.jpg"]}
    assert boxes(loaded) == ALL


@FORMATS
def test_a_list_that_names_what_is_not_there(tmp_path, files):
    root = tree(tmp_path, files | {"mine.txt": "a\ngone\nx/gone.jpg\n"})
    given = (("mine", "mine.txt"),)
    assert_refused(root, "mine.txt:2: expected an image file 'gone'", "1 of 4 images are missing", splits=given)


@FORMATS
@pytest.mark.parametrize("place", ["part3", "no.txt", "../x", "/etc", "part1/a.jpg"])
def test_a_place_that_is_none(tmp_path, files, place):
    assert_refused(tree(tmp_path, files), "data.splits: mine: expected a folder of images, a list of names or an "
                  "annotation "
            "file", repr(place), splits=(("mine", place),))


def test_splits_that_were_found_are_replaced_and_can_be_named(tmp_path):
    files = {f"{split}/{split}.jpg": SIZE for split in ("train", "valid")}
    files |= {f"{split}/{split}.xml": ONE for split in ("train", "valid")} | {"lists/x.txt": "train\n"}
    loaded = clean(tree(tmp_path, files), splits=(("reward", "valid"), ("mine", "lists/x.txt")))
    assert splits(loaded) == {"reward": ["valid/valid.jpg"], "mine": ["train/train.jpg"]}


def test_a_split_elsewhere_joins_the_set(tmp_path):
    files = {"images/a.jpg": SIZE, "annotations/a.xml": ONE, "more/b.jpg": SIZE, "pics/c.jpg": SIZE}
    loaded = clean(tree(tmp_path, files), splits=(("test", "more"),))
    assert boxes(loaded) == {"images/a.jpg": [CELL], "more/b.jpg": None}
    assert noted(loaded, "pics: 1 images are not taken in")


def test_a_split_outside_yolos_own_has_its_labels(tmp_path):
    files = {"images/a/a.jpg": SIZE, "labels/a/a.txt": LINE, "images/b/b.jpg": SIZE, "labels/b/b.txt": LINE,
             "data.yaml": "train: images/a\nnames: [cell]\n"}
    loaded = clean(tree(tmp_path, files), splits=(("test", "images/b"), ("train", "images/a")))
    assert boxes(loaded) == {"images/a/a.jpg": [CELL], "images/b/b.jpg": [CELL]}


@FORMATS
def test_the_folder_of_the_images(tmp_path, files):
    loaded = clean(tree(tmp_path, files), images="part2")
    assert boxes(loaded) == {name: own for name, own in ALL.items() if name.startswith("part2")}


@FORMATS
@pytest.mark.parametrize("place", ["part3", "../x", "/etc", "part1/a.jpg"])
def test_a_folder_of_images_that_is_none(tmp_path, files, place):
    assert_refused(tree(tmp_path, files), "data.images: expected a folder of images below", repr(place), images=place)


def test_the_folder_of_the_images_brings_in_all_of_them(tmp_path):
    files = {"data/a.jpg": SIZE, "ann/a.xml": ONE, "data/deep/er/b.jpg": SIZE, "c.jpg": SIZE}
    assert boxes(clean(tree(tmp_path, files), images="data")) == {"data/a.jpg": [CELL], "data/deep/er/b.jpg": None}


def test_the_folder_of_the_labels(tmp_path):
    files = {"images/train/a.jpg": SIZE, "labels/train/a.txt": "0 0.5 0.5 1 1\n", "fixed/train/a.txt": LINE,
             "data.yaml": "train: images/train\nnames: [cell]\n"}
    assert boxes(clean(tree(tmp_path, files), annotations=("fixed",))) == {"images/train/a.jpg": [CELL]}


@pytest.mark.parametrize("place", ["fixed", "fixed/", "fixed/a.xml"])
def test_the_folder_of_the_xml_files(tmp_path, place):
    files = {"images/a.jpg": SIZE, "old/a.xml": xml(), "fixed/a.xml": ONE}
    assert boxes(clean(tree(tmp_path, files), annotations=(place,))) == {"images/a.jpg": [CELL]}
