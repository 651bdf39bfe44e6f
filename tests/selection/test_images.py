"""Which images a folder holds, and what annotations say of them."""

import json

import numpy as np
import pytest

from mgral.errors import DataError
from mgral.selection.images import given_images
from tests.small_data import save_image

NAMES = ("a.JPG", "b/a.JPG", "b/c.png")


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "photos"
    for name in NAMES:
        save_image(root / name)
    return root


def coco(path, file_names, boxed=(), **change):
    content = {"images": [{"id": row, "file_name": name, "width": 40, "height": 30}
                          for row, name in enumerate(file_names, 1)],
               "annotations": [{"id": row, "image_id": image, "category_id": 9, "bbox": [1, 2, 3, 4]}
                               for row, image in enumerate(boxed, 1)],
               "categories": [{"id": 9, "name": "bee"}]}
    path.write_text(json.dumps(content | change))
    return path


def refused(*arguments) -> str:
    with pytest.raises(DataError) as caught:
        given_images(*arguments)
    return str(caught.value)


def test_all_images_are_found_by_path_but_those_of_the_batch(folder):
    (folder / "notes.txt").write_text("")
    for name in ("._a.JPG", "__MACOSX/x.jpg", "batch/x.jpg"):
        save_image(folder / name)
    given = given_images(folder, without=folder / "batch")
    assert tuple(given.images) == NAMES
    assert (given.images["b/c.png"].width, given.images["b/c.png"].height) == (40, 30)
    assert (given.boxes, given.classes, given.notes) == ({}, {}, ())
    assert len(given_images(folder, without=folder.parent / "batch").images) == 4


def test_files_that_are_no_images_are_named_and_counted(folder):
    for number in range(5):
        (folder / f"broken{number}.jpg").write_bytes(b"version https://git-lfs")
    said = refused(folder).splitlines()
    assert "broken0.jpg" in said[0]
    assert said[-1].endswith("(and 2 more like this)")


def test_a_folder_without_images(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "expected images, got none" in refused(tmp_path / "empty")


def test_labelled_images_by_any_reasonable_name(folder, tmp_path):
    given = given_images(folder, coco(tmp_path / "l.json", ["x\\b\\a.JPG", "c.png"], [1, 1, 2]))
    assert sorted(given.boxes) == ["b/a.JPG", "b/c.png"]
    np.testing.assert_array_equal(given.boxes["b/c.png"].xyxy, [[1, 2, 4, 6]])
    assert (given.classes, given.unboxed, len(given.images)) == ({"bee": 9}, 0, 3)


def test_images_without_a_box_are_what_is_said_or_plain_or_asked_for(folder, tmp_path):
    few = coco(tmp_path / "few.json", ["a.JPG", "b/c.png"], [1])
    assert given_images(folder, few).unboxed == 1
    assert tuple(given_images(folder, few, "pool").boxes) == ("a.JPG",)
    many = coco(tmp_path / "many.json", NAMES, [1])
    said = refused(folder, many)
    assert "got 2 of 3 without a box; say what they are: --unboxed labelled (looked at and empty) or --unboxed" in said
    assert given_images(folder, many, "labelled").unboxed == 2
    assert tuple(given_images(folder, many, "pool").boxes) == ("a.JPG",)


@pytest.mark.parametrize(("file_names", "change", "said"), [
    (["z.jpg"], {}, "'z.jpg'"), (["a.JPG", "a.JPG"], {}, "expected each image once"),
    (["a.JPG"], {"images": [{"id": 1, "file_name": "a.JPG", "width": 30, "height": 40}]}, "to have 30 × 40 pixels"),
    (["a.JPG"], {"annotations": [{"id": 1, "image_id": 1, "category_id": 9, "bbox": [1, 1, 90, 9]}]}, "inside 40 × 30"),
    (["a.JPG"], {"categories": []}, "expected a category id")])
def test_what_does_not_fit_is_refused(folder, tmp_path, file_names, change, said):
    assert said in refused(folder, coco(tmp_path / "l.json", file_names, [1], **change))
