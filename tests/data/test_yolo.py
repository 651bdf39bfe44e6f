"""What YOLO's label files say, line by line, and where they lie."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.trees import CELL, LINE, SIZE, assert_refused, boxes, clean, folder_of, noted, read, splits, tree

YAML = "path: .\ntrain: images/train\nnames: [cell, red car]\n"


def labelled(text, yaml: str = YAML) -> dict:
    return {"data.yaml": yaml, "images/train/a.jpg": SIZE, "labels/train/a.txt": text}


def of_line(loaded) -> list:
    return boxes(loaded)["images/train/a.jpg"]


@pytest.mark.parametrize("text", [
    LINE, LINE.replace("\n", "\r\n"), LINE.replace(" ", "\t"), LINE.replace(" ", "  "), LINE.strip(), f"\n\n{LINE} \n",
    "0.0" + LINE[1:], "\ufeff" + LINE, f" {LINE}", "+0" + LINE[1:], LINE.replace("0.25", "2.5e-1"),
    LINE.replace("0.", "."),
    LINE.encode("utf-16")])
def test_lines_as_tools_write_them(tmp_path, text):
    assert of_line(clean(tree(tmp_path, labelled(text)))) == [CELL]


@given(st.integers(0, 1), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0.05, 0.5), st.floats(0.05, 0.5),
       st.sampled_from([" ", "\t", "   "]), st.sampled_from(["{}", "{}.0", " {}"]), st.sampled_from(["\n", "\r\n", ""]))
@settings(max_examples=30, deadline=None)
def test_shares_become_pixels(label, x, y, width, height, blank, number, end):
    line = blank.join([number.format(label), *(repr(v) for v in (x + width / 2, y + height / 2, width, height))]) + end
    with folder_of(labelled(line)) as root:
        (name, corners), = of_line(clean(root))
    assert name == ("cell", "red car")[label]
    expected = (x * 40, y * 30, (x + width) * 40, (y + height) * 30)
    assert all(math.isclose(one, other, abs_tol=0.011) for one, other in zip(corners, expected, strict=True))


@pytest.mark.parametrize(("line", "envelope"), [
    ("1 0.1 0.1 0.4 0.1 0.4 0.5 0.1 0.5", [4, 3, 16, 15]), ("1 0.2 0.1 0.4 0.3 0.1 0.5", [4, 3, 16, 15]),
    ("1 0.25 0.1 0.4 0.3 0.25 0.5 0.1 0.3", [4, 3, 16, 15]), ("1 " + "0.1 0.1 0.4 0.5 " * 30, [4, 3, 16, 15])])
def test_polygons_and_oriented_boxes_are_enveloped(tmp_path, line, envelope):
    loaded = clean(tree(tmp_path, labelled(f"{LINE}{line}\n{line}\n")))
    assert of_line(loaded) == [CELL, ("red car", envelope), ("red car", envelope)]
    assert sum("the upright envelope of a polygon" in note for note in loaded.notes) in (1, 2)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=12))
@settings(max_examples=30, deadline=None)
def test_any_polygon_is_enveloped(points):
    line = "0 " + " ".join(f"{x:.6f} {y:.6f}" for x, y in points)
    xs, ys = ([round(point[axis], 6) for point in points] for axis in (0, 1))
    with folder_of(labelled(line)) as root:
        loaded = read(root)
    flat = min((max(xs) - min(xs)) * 40, (max(ys) - min(ys)) * 30) < 0.03
    if not flat:
        expected = (min(xs) * 40, min(ys) * 30, max(xs) * 40, max(ys) * 30)
        assert loaded.problems == ()
        (_, corners), = of_line(loaded)
        assert all(abs(one - other) < 0.011 for one, other in zip(corners, expected, strict=True))


@pytest.mark.parametrize(("line", "texts"), [
    ("0 0.25 0.3 0.25 0.27 0.87", ("six columns are predictions with a confidence, or tracks with an id: cut the last",
                                   )),
    ("0 0.25 0.3 0.25 0.27 17", ("cut the last column",)),
    ("0,0.29,0.18,0.06,0.17", ("put blanks where there are commas",)), ("0, 0.29, 0.18, 0.06, 0.17", ("commas",)),
    ("0;0.29;0.18;0.06;0.17", ("commas",)), ("0 0,25 0,3 0,25 0,27", ("commas",)),
    ("cell 0.25 0.3 0.25 0.27", ("the class is written as a name: write 0 for 'cell'",)),
    ("red car 0.25 0.3 0.25 0.27", ("write 1 for 'red car'",)),
    ("dog 0.2 0.3 0.2 0.2", ("write its number for 'dog'",)),
    ("0.25 0.3 0.25 0.27", ("maybe the class number at the front",)), ("0 0.5 0.5", ("expected 5 numbers",)),
    ("0", ("expected 5",)),
    ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", ("a polygon has a class number and pairs of numbers",)),
    ("0 0.25 x 0.25 0.27", ("expected 5 numbers", "correct the line")),
    ("0 0.2_5 0.3 0.25 0.27", ("expected 5 numbers",)),
    ("0 0.25 nan 0.25 0.27", ("expected finite numbers",)), ("0 inf 0.3 0.25 0.27", ("expected finite numbers",)),
    ("2 0.25 0.3 0.25 0.27", ("expected a class number from 0 to 1, got 2",)), ("-1 0.25 0.3 0.25 0.27", ("got -1",)),
    ("0.5 0.25 0.3 0.25 0.27", ("from 0 to 1, got 0.5",)), ("nan 0.25 0.3 0.25 0.27", ("expected finite numbers",)),
    ("1e99 0.25 0.3 0.25 0.27", ("from 0 to 1",)), ("2 0.1 0.1 0.4 0.1 0.4 0.5", ("from 0 to 1, got 2",)),
    ("0 120 45 40 30", ("expected shares of the image from 0 to 1", "divide pixels")),
    ("0 0.9 0.5 0.5 0.5", ("expected a box with an area and inside 40 × 30 pixels, got [26, 7.5, 46, 22.5]",)),
    ("0 1.2 0.5 0.1 0.1", ("expected a box with an area and inside",)),
    ("0 0.5 0.5 -0.1 0.1", ("expected x1 < x2 and y1 < y2",)),
    ("0 0.5 0.5 0 0.1", ("expected a box with an area",)), ("# comment", ("expected 5 numbers",))])
def test_lines_that_are_refused(tmp_path, line, texts):
    root = tree(tmp_path, labelled(f"{LINE}{line}\n"))
    assert_refused(root, f"{root / 'labels/train/a.txt'}:2: expected", *texts)
    assert of_line(read(root))[:1] == [CELL]


@given(st.text(max_size=30))
@settings(max_examples=60, deadline=None)
def test_any_line_is_read_or_named(line):
    with folder_of(labelled(line.encode("utf-8", "replace"))) as root:
        for problem in (*read(root).problems, *read(root, invalid_boxes="repair").problems):
            assert "\n" not in problem
            assert "a.txt" in problem


@given(st.binary(max_size=40))
@settings(max_examples=40, deadline=None)
def test_any_bytes_are_read_or_named(content):
    with folder_of(labelled(content)) as root:
        loaded = read(root)
        assert loaded.problems or of_line(loaded) == [] or b"0" in content


def test_repair_drops_and_an_image_emptied_by_it_is_not_annotated(tmp_path):
    files = labelled("0 0.5 0.5 -0.1 0.1\n") | {"images/train/b.jpg": SIZE,
                                                "labels/train/b.txt": f"0 nan 1 1 1\n{LINE}",
                                                "images/train/c.jpg": SIZE, "labels/train/c.txt": "0 120 45 40 30\n"}
    loaded = clean(tree(tmp_path, files), invalid_boxes="repair")
    assert boxes(loaded) == {"images/train/a.jpg": None, "images/train/b.jpg": [CELL], "images/train/c.jpg": None}


def test_an_overhang_of_a_pixel_is_rounding(tmp_path):
    loaded = clean(tree(tmp_path, labelled("0 0.5 0.5 1.04 1.04\n")))
    assert of_line(loaded) == [("cell", [0, 0, 40, 30])]
    assert noted(loaded, "over the edge by a pixel")


def test_keypoints_are_passed_over(tmp_path):
    yaml = YAML + "kpt_shape: [4, 2]\n"
    loaded = clean(tree(tmp_path, labelled(LINE.strip() + " 0.9" * 8, yaml)))
    assert of_line(loaded) == [CELL]
    assert noted(loaded, "keypoints are passed over")
    yaml = YAML + "kpt_shape: [17, 3]\n"
    assert of_line(clean(tree(tmp_path, labelled(LINE.strip() + " 0.9 0.9 2" * 17, yaml)))) == [CELL]


def test_an_empty_file_is_empty_and_no_file_is_not_annotated(tmp_path):
    files = labelled("") | {"images/train/b.jpg": SIZE, "images/train/c.jpg": SIZE, "labels/train/c.txt": LINE,
                            "images/train/d.jpg": SIZE, "labels/train/d.txt": "\r\n \n"}
    loaded = clean(tree(tmp_path, files))
    assert boxes(loaded) == {"images/train/a.jpg": [], "images/train/b.jpg": None, "images/train/c.jpg": [CELL],
                             "images/train/d.jpg": []}
    assert sum("2 label files are empty" in note and "1 images have no label file" in note and "background" in note
               for note in loaded.notes) == 1


# Where the label files are.


@pytest.mark.parametrize(("image", "label"), [
    ("images/train/a.jpg", "labels/train/a.txt"), ("train/images/a.jpg", "train/labels/a.txt"),
    ("shots/a.jpg", "shots/a.txt"),
    ("fire/images/images-1.jpg", "fire/labels/images-1.txt"), ("images/set/images/a.jpg", "images/set/labels/a.txt"),
    ("images/a.b.rgb.JPG", "labels/a.b.rgb.txt"), ("images/Bild 1.jpg", "labels/Bild 1.txt"), ("a.jpg", "a.txt"),
    ("images/a_jpg.rf.0f1e.jpg", "labels/a_jpg.rf.0f1e.txt")])
def test_the_usual_places(tmp_path, image, label):
    place = image.rpartition("/")[0] or "."
    loaded = clean(tree(tmp_path, {"data.yaml": f"train: {place}\nnames: [cell]\n", image: SIZE, label: LINE}))
    assert boxes(loaded) == {image: [CELL]}
    assert not noted(loaded, "label files")


@pytest.mark.parametrize(("image", "label", "note"), [
    ("images/train/images/a.jpg", "images/train/images/a.txt", "label files beside the images are read"),
    ("images/a.jpg", "images/a.txt", "label files beside the images are read"),
    ("images/train/images/a.jpg", "labels/train/images/a.txt", "its label files are read from"),
    ("imgs/train/a.jpg", "labels/train/a.txt", "its label files are read from labels/train"),
    ("train/a.jpg", "labels/train/a.txt", "its label files are read from labels/train"),
    ("train/a.jpg", "train/labels/a.txt", "its label files are read from train/labels"),
    ("images/train/a.jpg", "labels/a.txt", "its label files are read from labels"),
    ("x/JPEGImages/a.jpg", "x/labels/a.txt", "its label files are read from x/labels")])
def test_other_places_are_noted(tmp_path, image, label, note):
    place = image.rpartition("/")[0] or "."
    loaded = clean(tree(tmp_path, {"data.yaml": f"train: {place}\nnames: [cell]\n", image: SIZE, label: LINE}))
    assert boxes(loaded) == {image: [CELL]}
    assert noted(loaded, note)


def test_labels_beside_images_do_not_count_where_the_folder_of_labels_does(tmp_path):
    loaded = clean(tree(tmp_path, labelled(LINE) | {"images/train/a.txt": "1 0.5 0.5 0.5 0.5\n"}))
    assert of_line(loaded) == [CELL]
    assert noted(loaded, "images/train: 1 label files are passed over, as those in labels/train are read")


def test_a_folder_without_labels_shows(tmp_path):
    files = {f"images/{folder}/{name}.jpg": SIZE for folder in ("north", "south") for name in "abc"}
    files |= {f"labels/south/{name}.txt": LINE for name in "ab"}
    loaded = clean(tree(tmp_path, files | {"data.yaml": "train: [images/north, images/south]\nnames: [cell]\n"}))
    assert [name for name, own in boxes(loaded).items() if own] == ["images/south/a.jpg", "images/south/b.jpg"]
    assert noted(loaded, "0 of 3 images below images/north have a label file")
    assert noted(loaded, "2 of 3 images below images/south have a label file")


def test_folders_without_labels_are_counted(tmp_path):
    files = {f"images/{row:02d}/a.jpg": SIZE for row in range(15)}
    loaded = clean(tree(tmp_path, files | {"data.yaml": "train: images\nnames: [cell]\n"}))
    assert sum("images below" in note for note in loaded.notes) == 10
    assert noted(loaded, "images without a label file are in 5 more folders")


@pytest.mark.parametrize("images", [("a.jpg", "a.png"), ("a.jpg", "a.JPG"), ("a.b.jpg", "a.b.jpeg")])
def test_two_images_of_one_label_file(tmp_path, images):
    stem = images[0].rpartition(".")[0]
    files = {f"images/train/{name}": SIZE for name in images} | {"data.yaml": YAML, f"labels/train/{stem}.txt": LINE}
    assert_refused(tree(tmp_path, files), f"{stem}.txt: expected one image of this label file", *images)


def test_two_images_of_one_name_without_label_file(tmp_path):
    loaded = clean(tree(tmp_path, labelled(LINE) | {"images/train/b.jpg": SIZE, "images/train/b.png": SIZE}))
    assert boxes(loaded) == {"images/train/a.jpg": [CELL], "images/train/b.jpg": None, "images/train/b.png": None}


def test_label_files_without_image_are_counted(tmp_path):
    files = labelled(LINE) | {f"labels/train/{name}.txt": LINE for name in "bcd"} | {
        "labels/classes.txt": "cell\n", "labels/train/classes.txt": "cell\n", "README.txt": "0 1 2 3 4\n"}
    loaded = clean(tree(tmp_path, files))
    assert sum("labels/train/b.txt: 3 label files have no image" in note for note in loaded.notes) == 1


def test_label_files_of_lost_folders_show(tmp_path):
    loaded = clean(tree(tmp_path, labelled(LINE) | {"labels/val/z.txt": LINE}))
    assert noted(loaded, "labels/val/z.txt: this label file has no image")


def test_what_macs_leave_behind(tmp_path):
    root = tree(tmp_path, labelled(LINE) | {"images/train/._a.jpg": b"\0\5", "labels/train/._a.txt": b"\0\5\xff",
                                            ".DS_Store": b"\0", "__MACOSX/images/train/b.jpg": b"\0",
                                            "images/train/.DS_Store": b"\0"})
    assert boxes(clean(root)) == {"images/train/a.jpg": [CELL]}


def test_what_is_not_annotated_is_in_its_split_too(tmp_path):
    loaded = clean(tree(tmp_path, labelled(LINE, YAML + "val: images/val\n") | {"images/val/b.jpg": SIZE}))
    assert boxes(loaded)["images/val/b.jpg"] is None
    assert splits(loaded) == {"train": ["images/train/a.jpg"], "val": ["images/val/b.jpg"]}


def test_a_label_file_that_leaves_the_folder(tmp_path):
    root = tree(tmp_path / "set", labelled(LINE))
    tree(tmp_path, {"b.txt": "secret\n"})
    (root / "labels/train/a.txt").unlink()
    (root / "labels/train/a.txt").symlink_to(tmp_path / "b.txt")
    assert "secret" not in assert_refused(root, "a.txt: expected a path inside", "got a link to")


def test_labels_of_another_folder_are_never_taken(tmp_path):
    files = {"images/a.jpg": SIZE, "labels/a.txt": LINE, "labels/lost.txt": LINE, "images/north/a.jpg": SIZE,
             "images/north/lost.jpg": SIZE, "classes.txt": "cell\n"}
    assert boxes(clean(tree(tmp_path, files))) == {"images/a.jpg": [CELL], "images/north/a.jpg": None,
                                                   "images/north/lost.jpg": None}
