"""What says which classes and splits a YOLO data set has: YAML files, darknet's files, lists of classes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.trees import CELL, LINE, SIZE, assert_refused, boxes, clean, folder_of, noted, read, splits, tree

NAMES = "names: [cell, bus]\n"
IMAGES = {f"images/{split}/{split}.jpg": SIZE for split in ("train", "val")}
LABELS = {f"labels/{split}/{split}.txt": LINE for split in ("train", "val")}
ALL = {"images/train/train.jpg": [CELL], "images/val/val.jpg": [CELL]}
SPLITS = {"train": ["images/train/train.jpg"], "val": ["images/val/val.jpg"]}
PLACES = "train: images/train\nval: images/val\n"


def of_yaml(tmp_path, yaml, name: str = "data.yaml"):
    return tree(tmp_path, {name: yaml, **IMAGES, **LABELS})


@pytest.mark.parametrize("names", [
    "names: [cell, bus]", "names: {0: cell, 1: bus}", "names:\n  0: cell\n  1: bus", "names:\n  - cell\n  - bus",
    "names: {'0': cell, '1': bus}", "names:\n  '1': bus\n  '0': ' cell '", "names: ['cell', \"bus\"]\nnc: 2",
    "nc: 2\nnames: [cell, bus]", "nc: '2'\nnames: [cell, bus]", "nc: 2.0\nnames: [cell, bus]",
    "names: {1: bus, 0: cell}\nroboflow:\n  license: MIT\n  url: https://x/y"])
def test_names(tmp_path, names):
    loaded = clean(of_yaml(tmp_path, f"{PLACES}{names}\n"))
    assert loaded.dataset.classes == ("cell", "bus")
    assert loaded.dataset.category_ids == (1, 2)
    assert boxes(loaded) == ALL
    assert splits(loaded) == SPLITS


@pytest.mark.parametrize(("names", "texts"), [
    ("names:\n  0:car\n  1:bus", ("blank after the colon",)), ("names: {0:car, 1:bus}", ("blank after the colon",)),
    ("names:\n  - 0:car\n  - 1:bus\n", ("blank after the colon",)), ("names:\n  - 0: car\n", ("names: [first",)),
    ("names:\n  0:car", ("blank after the colon",)),
    ("names: [yes, no]", ("quote the names", "got True")), ("names: {0: on, 1: cell}", ("quote",)),
    ("names: [cell, null]", ()),
    ("names: [1.5, cell]", ("quote",)), ("names: [cell, '']", ("expected text",)),
    ("names: [cell, cell]", ("expected each class once, got 'cell' again",)),
    ("names: ['a', ' a']", ("each class once",)),
    ("names: {1: cell, 2: bus}", ("a mapping from 0, 1, …",)), ("names: {0: cell, 2: bus}", ("a mapping from 0",)),
    ("names: {a: cell, b: bus}", ("a mapping from 0",)), ("names: cell", ("expected a list", "names: [first")),
    ("names: []", ("expected a list",)), ("names:", ("expected a list",)), ("nc: 2", ("expected a list",)),
    ("names: [[cell]]", ()),
    ("nc: 3\nnames: [car, bus]", ("nc: expected 2, as there are so many names, got 3",)),
    ("nc: 1\nnames: [car, bus]", ("got 1",)),
    ("nc: two\nnames: [car, bus]", ("got 'two'",)), ("nc: true\nnames: [car]", ("got True",))])
def test_names_that_cannot_be_used_are_the_only_problem(tmp_path, names, texts):
    assert_refused(of_yaml(tmp_path, f"{PLACES}{names}\n"), "data.yaml: n", *texts)


def test_names_that_are_numbers_are_taken_as_text_and_noted(tmp_path):
    loaded = clean(of_yaml(tmp_path, f"{PLACES}names: [7, 8]\n"))
    assert loaded.dataset.classes == ("7", "8")
    assert noted(loaded, "class 0 is read as the text '7'")


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=6),
                min_size=1,
                max_size=5, unique=True), st.sampled_from(["list", "numbers", "text"]))
@settings(max_examples=30, deadline=None)
def test_any_quoted_names(names, form):
    import json

    keys = {"list": names, "numbers": None, "text": {str(row): name for row, name in enumerate(names)}}
    value = json.dumps(keys[form], ensure_ascii=False) if form != "numbers" else (
        "{" + ", ".join(f"{row}: {json.dumps(name, ensure_ascii=False)}" for row, name in enumerate(names)) + "}")
    with folder_of({"data.yaml": f"{PLACES}names: {value}\n", **IMAGES, **LABELS}) as root:
        assert clean(root).dataset.classes == tuple(names)


@pytest.mark.parametrize(("yaml", "text"), [
    ("names: [bee", "data.yaml:2: expected YAML"), ("names: [a]\n\ttrain: x", "expected YAML"),
    ("names: !!python/object:os.system [ls]\n", "expected YAML"), ("names: [a]\n---\nnames: [b]\n", "expected YAML"),
    ("names: " + "[" * 3000, "expected at most 50 levels of lists and sections"),
    ("- names: a\n- nc: 1", "got list")])
def test_yaml_that_cannot_be_read(tmp_path, yaml, text):
    assert_refused(of_yaml(tmp_path, f"{yaml}\n"), text, format="yolo", annotations=("data.yaml",))


@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from([
    "names:", "nc:", "path:", "train:", "val:", "[", "]", "{", "}", ":", "-", " ", "\n", "0", "cell", "images", "/",
    "..", "*",
    "&a", "*a", "!!", "~", "'", '"', "images/train", "true", "kpt_shape:", "1e9", "\t", "#"]),
                                                max_size=14).map(" ".join)))
@settings(max_examples=150, deadline=None)
def test_any_yaml_is_read_or_named(text):
    with folder_of({"data.yaml": text, **IMAGES, **LABELS}) as root:
        for problem in (*read(root).problems, *read(root, format="yolo", annotations=("data.yaml",)).problems):
            assert "\n" not in problem


@pytest.mark.parametrize("name", ["config.yaml", "dataset.yml", "BCCD.yaml", "sub/data.yaml", "a b.YAML"])
def test_a_yaml_file_of_any_name(tmp_path, name):
    assert boxes(clean(of_yaml(tmp_path, PLACES + NAMES, name))) == ALL


def test_a_byte_order_mark(tmp_path):
    assert boxes(clean(of_yaml(tmp_path, "\ufeff" + NAMES + PLACES))) == ALL
    assert boxes(clean(of_yaml(tmp_path, (NAMES + PLACES).encode("utf-16")))) == ALL


def test_of_several_yaml_files_the_one_whose_splits_are_there(tmp_path):
    root = tree(tmp_path, {"old.yaml": "train: /gone/train2\nnames: [x]\n", "model.yaml": "nc: 80\nbackbone: [1]\n",
                           "args.yaml": "names: [y]\n", "hyp.yaml": "lr0: 0.1\n"})
    loaded = clean(of_yaml(root, PLACES + NAMES, "config.yaml"))
    assert boxes(loaded) == ALL
    assert noted(loaded, "config.yaml is read; args.yaml, old.yaml are passed over")


def test_several_yaml_files_that_all_fit(tmp_path):
    root = of_yaml(tree(tmp_path, {"other.yaml": PLACES + "names: [x, y]\n"}), PLACES + NAMES)
    assert_refused(root, "expected one YAML file of a YOLO data set, got data.yaml, other.yaml; name the right one in "
                   "data.")
    assert boxes(clean(root, annotations=("data.yaml",))) == ALL
    (root / "other.yaml").write_text("# a copy\n" + PLACES + NAMES)
    assert boxes(clean(root)) == ALL


@pytest.mark.parametrize("yaml", [
    "path: .\ntrain: images/train\nval: images/val", "train: ./images/train\nval: images/val/",
    "path: images\ntrain: train\nval: val", "train: [images/train]\nval: [images/val]",
    "train: images/train/*.jpg\nval: images/val/*", "path: ./\ntrain: images/../images/train\nval: images/val\ntest:",
    "path: null\ntrain: images/train\nval: images/val\ntest: ''", "{root}train: images/train\nval: images/val",
    "train: {here}/images/train\nval: {here}/images/val"])
def test_places_as_they_are_written(tmp_path, yaml):
    text = yaml.replace("{root}", f"path: {tmp_path}\n").replace("{here}", str(tmp_path))
    loaded = clean(of_yaml(tmp_path, f"{text}\n{NAMES}"))
    assert splits(loaded) == SPLITS
    assert not noted(loaded, "taken for")


@pytest.mark.parametrize("yaml", [
    "train: ../images/train\nval: ../images/val", "train: ../../images/train\nval: ../../images/val",
    "path: ../datasets/x\ntrain: images/train\nval: images/val",
    "path: /content/x\ntrain: images/train\nval: images/val",
    "train: project/images/train\nval: project/images/val",
    "train: /home/me/x/images/train\nval: /home/me/x/images/val",
    r"train: C:\data\images\train" "\n" r"val: C:\data\images\val", r"train: images\train" "\n" r"val: ..\images\val",
    "path: D:\\data\\x\ntrain: images/train\nval: images/val", "path: /x/images\ntrain: train\nval: val",
    "path: ./x\ntrain: x/images/train\nval: x/images/val", "path: 'https://x/y'\ntrain: images/train\nval: images/val"])
def test_places_of_other_machines_are_found_and_noted(tmp_path, yaml):
    loaded = clean(of_yaml(tmp_path, f"{yaml}\n{NAMES}"))
    assert splits(loaded) == SPLITS
    assert boxes(loaded) == ALL
    assert "\\" in yaml or noted(loaded, "was taken for") or noted(loaded, "is not there; what the file names")


@given(st.lists(st.sampled_from(["..", "data", "set", "home", "C:", "x y", "."]), max_size=5),
       st.sampled_from(["/", "\\"]),
       st.booleans())
@settings(max_examples=40, deadline=None)
def test_any_leading_parts_are_dropped(parts, slash, absolute):
    train, val = (slash.join([*([""] if absolute else []), *parts, "images", split]) for split in ("train", "val"))
    with folder_of({"data.yaml": f"train: '{train}'\nval: '{val}'\n{NAMES}", **IMAGES, **LABELS}) as root:
        assert splits(clean(root)) == SPLITS


@pytest.mark.parametrize("place", ["../valid", "/etc", "images/no", "no.txt", "../../../..", "images/train2/images"])
def test_a_place_that_is_not_there(tmp_path, place):
    root = of_yaml(tmp_path, f"train: images/train\nval: {place}\n{NAMES}")
    assert_refused(root, "data.yaml: val: expected a folder of images or a list of them", repr(place),
                   "which is not there")


def test_a_folder_of_another_split_is_never_taken(tmp_path):
    yaml = f"train: ../train/images\nval: ../valid/images\n{NAMES}"
    files = {"images/a.jpg": SIZE, "labels/a.txt": LINE, "data.yaml": yaml}
    problems = read(tree(tmp_path, files)).problems
    assert len(problems) == 2
    assert all("which is not there" in problem for problem in problems)


def test_a_test_split_that_an_export_lacks_is_noted(tmp_path):
    loaded = clean(of_yaml(tmp_path, f"{PLACES}test: ../test/images\n{NAMES}"))
    assert noted(loaded, "test: expected a folder of images")
    assert boxes(loaded) == ALL


@pytest.mark.parametrize("value", ["3", "{a: b}", "[1, 2]", "true"])
def test_a_split_that_is_no_place(tmp_path, value):
    root = of_yaml(tmp_path, f"train: images/train\nval: {value}\n{NAMES}")
    assert_refused(root, "data.yaml: val: expected a folder of images")


def test_splits_of_other_names(tmp_path):
    yaml = f"{PLACES}{NAMES}pool: images/pool\nauthor: me\ndownload: images/train\n"
    files = {"images/pool/c.jpg": SIZE, "data.yaml": yaml}
    loaded = clean(tree(tmp_path, {**IMAGES, **LABELS, **files}))
    assert splits(loaded) == SPLITS | {"pool": ["images/pool/c.jpg"]}


@pytest.mark.parametrize("line", [
    "images/train/train.jpg", "./images/train/train.jpg", "/home/x/set/images/train/train.jpg",
    "../images/train/train.jpg",
    "images\\train\\train.jpg", r"C:\x\images\train\train.jpg", "data/images/train/train.jpg",
    "images/train/train.jpg  "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\n\r\n"])
def test_list_files(tmp_path, line, end):
    root = of_yaml(tmp_path, f"train: train.txt\nval: [lists/val.txt]\n{NAMES}")
    tree(root, {"train.txt": ("\ufeff" + end + line + end).encode(), "lists/val.txt": f"images/val/val.jpg{end}"})
    loaded = clean(root)
    assert splits(loaded) == SPLITS
    assert boxes(loaded) == ALL


def test_lines_with_a_dot_count_from_the_list(tmp_path):
    root = of_yaml(tmp_path, f"train: part/train.txt\n{NAMES}")
    tree(root, {"part/train.txt": "./images/train/train.jpg\n", "part/images/train/train.jpg": SIZE})
    assert splits(clean(root)) == {"train": ["part/images/train/train.jpg"]}


def test_images_that_a_list_leaves_out_keep_their_labels(tmp_path):
    root = of_yaml(tmp_path, f"train: train.txt\n{NAMES}")
    tree(root, {"train.txt": "images/train/train.jpg\n", "images/train/b.jpg": SIZE, "labels/train/b.txt": LINE})
    loaded = clean(root)
    assert boxes(loaded)["images/train/b.jpg"] == [CELL]
    assert splits(loaded) == {"train": ["images/train/train.jpg"]}


def test_a_listed_image_that_is_missing(tmp_path):
    root = of_yaml(tmp_path, f"train: train.txt\n{NAMES}")
    tree(root, {"train.txt": "images/train/train.jpg\nimages/train/gone.jpg\n"})
    assert_refused(root, "train.txt:2: expected an image file 'images/train/gone.jpg'", "1 of 2 images are missing")


def test_one_image_in_two_splits(tmp_path):
    loaded = clean(of_yaml(tmp_path, f"train: images/train\nval: images/train\n{NAMES}"))
    assert splits(loaded) == {"train": ["images/train/train.jpg"], "val": ["images/train/train.jpg"]}


# Without a YAML file.


@pytest.mark.parametrize("name", ["classes.txt", "labels/classes.txt", "obj.names", "labels/train/classes.txt",
                                  "data/coco.names", "train/_darknet.labels"])
def test_a_list_of_classes(tmp_path, name):
    loaded = clean(tree(tmp_path, {name: "cell\r\nred bus\r\n\r\n", **IMAGES, **LABELS, "images/val/b.jpg": SIZE}))
    assert loaded.dataset.classes == ("cell", "red bus")
    assert boxes(loaded) == ALL | {"images/val/b.jpg": None}
    assert splits(loaded) == {"train": SPLITS["train"], "val": ["images/val/val.jpg", "images/val/b.jpg"]}


def test_lists_of_classes_that_say_the_same_or_not(tmp_path):
    root = tree(tmp_path, {"labels/train/classes.txt": "cell\n", "labels/val/classes.txt": "cell", **IMAGES, **LABELS,
                           "predefined_classes.txt": "dog\ncat\n"})
    assert boxes(clean(root)) == ALL
    (root / "labels/val/classes.txt").write_text("bus\ncell\n")
    assert_refused(root, "labels/train/classes.txt and labels/val/classes.txt, which differ")


def test_a_blank_line_among_class_names(tmp_path):
    root = tree(tmp_path, {"classes.txt": "cell\n\nbus\n", **IMAGES, **LABELS})
    assert_refused(root, "classes.txt:2: expected a class name, got a blank line")


def test_labels_without_any_names(tmp_path):
    assert_refused(tree(tmp_path, {**IMAGES, **LABELS}), "expected a file that names the classes of the YOLO "
                   "labels, got none")


def test_images_of_a_folder_without_labels(tmp_path):
    loaded = clean(tree(tmp_path, {"classes.txt": "cell\n", **IMAGES, **LABELS, "images/north/c.jpg": SIZE,
                                   "docs/logo.png": SIZE}))
    assert boxes(loaded) == ALL | {"images/north/c.jpg": None}
    assert noted(loaded, "0 of 1 images below images/north have a label file")
    assert noted(loaded, "docs: 1 images are not taken in")


DARKNET = {"obj.data": "classes = 2\ntrain = data/train.txt\nvalid = data/val.txt\nnames = data/obj.names\n",
           "obj.names": "cell\nbus\n", "train.txt": "data/obj_train_data/a.jpg\n",
           "val.txt": "data/obj_train_data/b.jpg\n",
           "obj_train_data/a.jpg": SIZE, "obj_train_data/a.txt": LINE, "obj_train_data/b.jpg": SIZE}


def test_darknet_as_cvat_writes_it(tmp_path):
    loaded = clean(tree(tmp_path, DARKNET))
    assert boxes(loaded) == {"obj_train_data/a.jpg": [CELL], "obj_train_data/b.jpg": None}
    assert splits(loaded) == {"train": ["obj_train_data/a.jpg"], "valid": ["obj_train_data/b.jpg"]}
    assert loaded.dataset.classes == ("cell", "bus")


def test_darknet_without_its_data_file(tmp_path):
    loaded = clean(tree(tmp_path, {name: text for name, text in DARKNET.items() if name != "obj.data"}))
    assert boxes(loaded) == {"obj_train_data/a.jpg": [CELL], "obj_train_data/b.jpg": None}
    assert splits(loaded)["train"] == ["obj_train_data/a.jpg"]


def test_darknet_that_cannot_be_used(tmp_path):
    root = tree(tmp_path, DARKNET | {"obj.data": DARKNET["obj.data"].replace("= 2", "= 3")})
    assert_refused(root, "classes: expected 2, as obj.names names so many, got '3'")
    root = tree(tmp_path / "other", DARKNET | {"obj.data": "train = train.txt\nnames = no.names\n"})
    assert_refused(root, "names: expected a file with a class name a line, got 'no.names', which is not there")


# Whole exports.


def test_roboflows_export(tmp_path):
    files = {f"{split}/{kind}/x_jpg.rf.{row}.{end}": SIZE if end == "jpg" else LINE for row, split in
             enumerate(("train", "valid", "test")) for kind, end in (("images", "jpg"), ("labels", "txt"))}
    yaml = ("train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\nnames: ['cell', 'bus']\n\n"
            "roboflow:\n  workspace: w\n  version: 3\n")
    loaded = clean(tree(tmp_path, {**files, "data.yaml": yaml, "README.dataset.txt": "# x",
                                   "README.roboflow.txt": "y"}))
    assert {name: len(members) for name, members in splits(loaded).items()} == {"train": 1, "val": 1, "test": 1}
    assert all(own == [CELL] for own in boxes(loaded).values())


def test_images_that_are_a_link_to_a_sister_folder(tmp_path):
    root = tree(tmp_path / "set", {"config.yaml": f"path: .\n{PLACES}{NAMES}", **LABELS})
    tree(tmp_path / "pictures", {name.removeprefix("images/"): SIZE for name in IMAGES})
    (root / "images").symlink_to(tmp_path / "pictures")
    assert boxes(clean(root)) == ALL


def test_images_that_are_a_link_within_the_set(tmp_path):
    files = {f"yolo/{name}": LINE for name in LABELS}
    root = tree(tmp_path, {"yolo/config.yaml": f"path: .\n{PLACES}{NAMES}", **files})
    tree(root / "pictures", {name.removeprefix("images/"): SIZE for name in IMAGES})
    (root / "yolo" / "images").symlink_to(root / "pictures")
    loaded = clean(root)
    assert {name.removeprefix("yolo/"): own for name, own in boxes(loaded).items() if own} == ALL
    assert splits(loaded) == {name: [f"yolo/{member}" for member in members] for name, members in SPLITS.items()}


def test_no_file_that_says_anything(tmp_path):
    assert_refused(tree(tmp_path, {"a.jpg": SIZE}), "expected a file that names the classes", format="yolo")
