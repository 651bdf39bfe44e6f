"""Where the files of Pascal VOC lie: which image an XML file is about, and which lists and folders are splits."""

import unicodedata

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mgral.data.formats.folder import Folder
from mgral.data.formats.lists import Pictures
from mgral.data.formats.pairs import pair
from mgral.data.formats.reading import Reading
from mgral.findings import Findings
from tests.data.trees import (
    CELL,
    SIZE,
    assert_refused,
    boxes,
    cell,
    clean,
    corners,
    folder_of,
    noted,
    read,
    splits,
    tree,
    xml,
)
from tests.small_data import write_voc_set

ONE = xml(cell())
OTHER = xml(cell(corners(1, 2, 3, 4)))
OTHERS = ("cell", [1, 2, 3, 4])


@pytest.mark.parametrize(("image", "annotation"), [
    ("JPEGImages/a.jpg", "Annotations/a.xml"), ("a.jpg", "a.xml"), ("images/a.png", "labels/a.xml"),
    ("images/a.JPG", "xmls/a.XML"), ("data/pictures/a.jpeg", "data/ground truth/a.xml"), ("a.jpg", "annotations/a.xml"),
    ("images/a.jpg", "a.xml"), ("images/deep/er/a.jpg", "annotations/a.xml"), ("x/a.jpg", "x/annotations/xmls/a.xml"),
    ("100114004_186.rgb.jpg", "100114004_186.rgb.xml"), ("a.b.c.jpg", "a.b.c.xml"),
    ("a_jpg.rf.0f1e.jpg", "a_jpg.rf.0f1e.xml"),
    ("a.jpg", "a.jpg.xml"), ("Bild 1.jpg", "Bild 1.xml"), ("车.jpg", "车.xml")])
def test_an_xml_file_is_of_the_image_of_its_name(tmp_path, image, annotation):
    assert boxes(clean(tree(tmp_path, {image: SIZE, annotation: ONE}))) == {image: [CELL]}


@pytest.mark.parametrize("composed", [True, False])
def test_names_in_another_unicode_form(tmp_path, composed):
    one, other = (unicodedata.normalize(form, "Décran_학점") for form in ("NFC", "NFD"))
    image, annotation = (one, other) if composed else (other, one)
    assert boxes(clean(tree(tmp_path, {f"{image}.jpg": SIZE, f"{annotation}.xml": ONE}))) == {f"{image}.jpg": [CELL]}


def test_the_own_name_wins_over_the_one_inside(tmp_path):
    root = tree(tmp_path, {"a.jpg": SIZE, "b.jpg": SIZE, "b.xml": OTHER,
                           "a.xml": ONE.replace("<size>", "<filename>b.jpg</filename><path>/x/b.jpg</path><size>")})
    assert boxes(clean(root)) == {"a.jpg": [CELL], "b.jpg": [OTHERS]}


@pytest.mark.parametrize("name", ["a.jpg", "images/a.jpg", r"C:\data\images\a.jpg", "/home/x/images/a.jpg"])
def test_the_name_inside_where_no_image_is_called_so(tmp_path, name):
    content = ONE.replace("<size>", f"<filename>{name}</filename><size>")
    loaded = clean(tree(tmp_path, {"images/a.jpg": SIZE, "xml/0001.xml": content}))
    assert boxes(loaded) == {"images/a.jpg": [CELL]}
    assert noted(loaded, "no image is called so; images/a.jpg, which its <filename> names, is taken")


def test_the_name_inside_never_takes_an_image_of_another_file(tmp_path):
    content = OTHER.replace("<size>", "<filename>a.jpg</filename><size>")
    root = tree(tmp_path, {"a.jpg": SIZE, "a.xml": ONE, "0.xml": content})
    assert_refused(root, "0.xml: expected an image file '0.*'", "(1 of 2 images are missing")
    assert boxes(read(root)) == {"a.jpg": [CELL]}


def test_the_same_folder_comes_first_then_parallel_ones(tmp_path):
    root = tree(tmp_path, {"cam1/a.jpg": SIZE, "cam1/a.xml": ONE, "cam2/a.jpg": SIZE, "cam2/a.xml": OTHER})
    assert boxes(clean(root)) == {"cam1/a.jpg": [CELL], "cam2/a.jpg": [OTHERS]}
    root = tree(tmp_path / "two", {"JPEGImages/day/a.jpg": SIZE, "Annotations/day/a.xml": ONE,
                                   "JPEGImages/night/a.jpg": SIZE, "Annotations/night/a.xml": OTHER})
    assert boxes(clean(root)) == {"JPEGImages/day/a.jpg": [CELL], "JPEGImages/night/a.jpg": [OTHERS]}
    root = tree(tmp_path / "three", {"day/img/a.jpg": SIZE, "day/xml/a.xml": ONE,
                                     "night/img/a.jpg": SIZE, "night/xml/a.xml": OTHER})
    assert boxes(clean(root)) == {"day/img/a.jpg": [CELL], "night/img/a.jpg": [OTHERS]}


@given(st.lists(st.sampled_from(["day", "night", "cam 1", "0", "x.y"]), min_size=1, max_size=3, unique=True),
       st.sampled_from([("JPEGImages/{}/", "Annotations/{}/"), ("{}/images/", "{}/xml/"), ("{}/", "{}/"),
                        ("{}/", "{}/labels/"), ("set/{}/img/", "set/{}/ann/")]),
       st.lists(st.sampled_from(["a", "a.b", "00 1", "é"]), min_size=1, max_size=3, unique=True))
@settings(max_examples=30, deadline=None)
def test_equal_names_in_several_folders_are_never_mixed(folders, layout, stems):
    expected, files = {}, {}
    for row, (folder, stem) in enumerate((folder, stem) for folder in folders for stem in stems):
        image = f"{layout[0].format(folder)}{stem}.jpg"
        expected[image] = [("cell", [row, 1, row + 2, 9])]
        files |= {image: SIZE, f"{layout[1].format(folder)}{stem}.xml": xml(cell(corners(row, 1, row + 2, 9)))}
    with folder_of(files) as root:
        assert boxes(clean(root)) == expected


@pytest.mark.parametrize("images", [("a.jpg", "a.png"), ("images/a.jpg", "images/a.bmp"), ("x/a.jpg", "y/a.jpg")])
def test_two_images_of_one_xml_file(tmp_path, images):
    root = tree(tmp_path, {"xmls/a.xml": ONE, **dict.fromkeys(images, SIZE)})
    assert_refused(root, "a.xml: expected one image of this name", *images)


def test_two_images_of_one_xml_file_beside_them(tmp_path):
    assert_refused(tree(tmp_path, {"a.xml": ONE, "a.jpg": SIZE, "a.png": SIZE}), "a.jpg and a.png")


def test_masks_are_no_images_of_the_set(tmp_path):
    root = tree(tmp_path, {"JPEGImages/a.jpg": SIZE, "SegmentationClass/a.png": SIZE, "Annotations/a.xml": ONE,
                           "SegmentationObject/a.png": SIZE, "ImageSets/Main/train.txt": "a\n",
                           "ImageSets/Segmentation/val.txt": "a\n"})
    loaded = clean(root)
    assert boxes(loaded) == {"JPEGImages/a.jpg": [CELL]}
    assert splits(loaded) == {"train": ["JPEGImages/a.jpg"]}
    assert noted(loaded, "SegmentationClass: 1 images are not taken in")


def test_two_xml_files_of_one_image(tmp_path):
    assert_refused(tree(tmp_path, {"images/a.jpg": SIZE, "annotations/a.xml": ONE, "old/a.xml": OTHER}),
            "old/a.xml: expected an image of its own, got only images/a.jpg, which annotations/a.xml annotates")


def test_what_settings_name_decides(tmp_path):
    root = tree(tmp_path, {"images/a.jpg": SIZE, "small/a.jpg": (20, 15), "annotations/a.xml": ONE, "old/a.xml": OTHER,
                           "small/b.jpg": SIZE, "annotations/b.xml": ONE})
    loaded = clean(root, images="images", annotations=("annotations",))
    assert boxes(loaded) == {"images/a.jpg": [CELL]}
    assert noted(loaded, "1 XML files are of images outside images")


def test_an_image_of_another_split_is_not_taken(tmp_path):
    root = tree(tmp_path, {"train/b.jpg": SIZE, "train/b.xml": ONE, "train/a.xml": ONE, "test/a.jpg": SIZE})
    assert_refused(root, "train/a.xml: expected an image file 'a.*'", "1 of 3 images are missing")
    assert boxes(read(root)) == {"train/b.jpg": [CELL], "test/a.jpg": None}


def test_of_several_images_the_one_without_a_file_of_its_own(tmp_path):
    root = tree(tmp_path, {"cam1/a.jpg": SIZE, "cam1/a.xml": ONE, "cam2/a.jpg": SIZE, "xml/a.xml": OTHER})
    assert boxes(clean(root)) == {"cam1/a.jpg": [CELL], "cam2/a.jpg": [OTHERS]}


def test_missing_images_are_counted(tmp_path):
    root = tree(tmp_path, {f"{row}.xml": ONE for row in range(20)} | {"a.jpg": SIZE, "a.xml": ONE})
    assert_refused(root, "(20 of 21 images are missing", "'0.*'", "restore it or take it out")


def test_folders_of_splits(tmp_path):
    files = {f"{split}/{split}.{kind}": SIZE if kind == "jpg" else ONE for split in ("train", "valid", "test")
             for kind in ("jpg", "xml")}
    loaded = clean(tree(tmp_path, {**files, "README.roboflow.txt": "http://x\n", "train/new.png": SIZE}))
    assert splits(loaded) == {"train": ["train/train.jpg", "train/new.png"], "valid": ["valid/valid.jpg"],
                              "test": ["test/test.jpg"]}
    assert boxes(loaded)["train/new.png"] is None


@pytest.mark.parametrize("layout", [("images/{}/a{}.jpg", "images/{}/a{}.xml"),
                                    ("{}/images/a{}.jpg", "{}/annotations/a{}.xml"),
                                    ("JPEGImages/a{1}.jpg", "Annotations/{0}/a{1}.xml"),
                                    ("zip/{}/a{}.png", "zip/{}/a{}.xml")])
@pytest.mark.parametrize("names", [("train", "test"), ("Train", "Validation"), ("training", "val")])
def test_split_folders_of_images_or_of_xml_files(tmp_path, layout, names):
    files = {layout[0].format(split, row): SIZE for row, split in enumerate(names)}
    files |= {layout[1].format(split, row): ONE for row, split in enumerate(names)}
    assert splits(clean(tree(tmp_path, files))) == {
        split: [layout[0].format(split, row)] for row, split in enumerate(names)}


def test_a_split_without_any_xml_file_is_not_annotated(tmp_path):
    root = tree(tmp_path, {"train/a.jpg": SIZE, "train/a.xml": ONE, "test/b.jpg": SIZE, "unlabelled/c.jpg": SIZE})
    loaded = clean(root)
    assert boxes(loaded) == {"train/a.jpg": [CELL], "test/b.jpg": None, "unlabelled/c.jpg": None}
    assert splits(loaded)["test"] == ["test/b.jpg"]


def voc(**lists) -> dict:
    files = {f"ImageSets/Main/{name}.txt": text for name, text in lists.items()}
    for stem in ("a", "b", "c 1"):
        files |= {f"JPEGImages/{stem}.jpg": SIZE, f"Annotations/{stem}.xml": ONE}
    return files


@pytest.mark.parametrize("text", ["a\nc 1\n", "a.jpg\nc 1.jpg", "a  1\nc 1 -1\n", "a\r\n\r\nc 1\r\n", "\ufeffa\nc 1\n",
                                  "  a \n\n\nc 1\t1\n", "a.JPG 0\nc 1.jpg  1\n", "a.xml\nc 1.xml\n",
                                  "JPEGImages/a.jpg Annotations/a.xml\nJPEGImages/c 1.jpg Annotations/c.xml",
                                  r"JPEGImages\a.jpg" "\n" "/home/x/set/JPEGImages/c 1.jpg", "/x/y/a\nE:\\x\\c 1\n"])
def test_lines_of_lists(tmp_path, text):
    loaded = clean(tree(tmp_path, voc(train=text, val="b\n")))
    assert splits(loaded) == {"train": ["JPEGImages/a.jpg", "JPEGImages/c 1.jpg"], "val": ["JPEGImages/b.jpg"]}


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c 1"]), st.sampled_from(["", ".jpg", ".JPG", ".xml"]),
                          st.sampled_from(["", " 1", "  -1", "\t0"]), st.sampled_from(["\n", "\r\n", "\n\n", " \n"])),
                min_size=1, max_size=6))
@settings(max_examples=30, deadline=None)
def test_any_lines_of_a_list(rows):
    assume(any(column == "" for _, _, column, _ in rows))
    with folder_of(voc(train="".join(map("".join, rows)))) as root:
        members = dict.fromkeys(f"JPEGImages/{stem}.jpg" for stem, *_ in rows)
        assert splits(clean(root)) == {"train": list(members)}


def test_lists_may_overlap_and_leave_images_out(tmp_path):
    loaded = clean(tree(tmp_path, voc(train="a\n", val="b\n", trainval="a\nb\n")))
    assert splits(loaded) == {"train": ["JPEGImages/a.jpg"], "val": ["JPEGImages/b.jpg"],
                              "trainval": ["JPEGImages/a.jpg", "JPEGImages/b.jpg"]}
    assert boxes(loaded)["JPEGImages/c 1.jpg"] == [CELL]


def test_lists_a_class_are_no_splits(tmp_path):
    lists = {"cell_train": "a  1\nb -1\n", "dog_train": "a -1\nb  1\n", "cell_val": "c 1  0\n"}
    loaded = clean(tree(tmp_path / "one", voc(train="a\nb\n", val="c 1\n", **lists)))
    expected = {"train": ["JPEGImages/a.jpg", "JPEGImages/b.jpg"], "val": ["JPEGImages/c 1.jpg"]}
    assert splits(loaded) == expected
    assert splits(clean(tree(tmp_path / "two", voc(**lists)))) == expected
    loaded = clean(tree(tmp_path / "four", voc(train="a\n", cell_train="a  1\nb -1\n")))
    assert splits(loaded) == {"train": ["JPEGImages/a.jpg"]}
    assert set(splits(clean(tree(tmp_path / "three", voc(site_train="a\n", train="b\n"))))) == {"site_train", "train"}


def test_lists_beside_the_folders(tmp_path):
    files = {name.replace("ImageSets/Main/", ""): text for name, text in voc(train="a\n", test="b.jpg\n").items()}
    assert splits(clean(tree(tmp_path, files))) == {"train": ["JPEGImages/a.jpg"], "test": ["JPEGImages/b.jpg"]}


def test_a_listed_image_without_xml_file_is_not_annotated(tmp_path):
    loaded = clean(tree(tmp_path, voc(train="a\nd\n") | {"JPEGImages/d.jpg": SIZE}))
    assert boxes(loaded)["JPEGImages/d.jpg"] is None
    assert splits(loaded)["train"] == ["JPEGImages/a.jpg", "JPEGImages/d.jpg"]


def test_a_listed_name_without_image_is_named_once(tmp_path):
    root = tree(tmp_path, voc(train="a\ngone\n", trainval="a\ngone\nb\n") | {"Annotations/gone.xml": ONE})
    assert_refused(root, "gone.xml: expected an image file 'gone.*'", "1 of 4 images are missing")
    root = tree(tmp_path / "other", voc(train="a\ngone\n", trainval="gone\n"))
    assert_refused(root, "train.txt:2: expected an image file 'gone'", "1 of 4 images are missing")


@pytest.mark.parametrize("line", ["/x/train/a", "/x/train/a.jpg", "train\\a", "train/a.jpg", "x/train/img/a"])
def test_a_line_never_means_the_image_of_another_split(tmp_path, line):
    root = tree(tmp_path, {"test/a.jpg": SIZE, "test/a.xml": ONE, "ImageSets/Main/train.txt": line})
    assert_refused(root, "train.txt:1: expected an image file", "1 of 2 images are missing")


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "..\\..\\x", "x/../../a", "a\0"])
def test_a_list_never_leads_out_of_the_folder(tmp_path, name):
    tree(tmp_path, {"a.jpg": SIZE})
    loaded = read(tree(tmp_path / "set", {"JPEGImages/b.jpg": SIZE, "Annotations/b.xml": ONE,
                                          "ImageSets/Main/train.txt": f"b\n{name}\n"}))
    assert list(loaded.dataset.images) == ["JPEGImages/b.jpg"]
    assert len(loaded.problems) == 1


def test_several_years_are_one_set(tmp_path):
    for year in ("VOC2007", "VOC2012"):
        write_voc_set(tmp_path / "VOCdevkit" / year)
    loaded = clean(tmp_path)
    assert [len(splits(loaded)[name]) for name in ("train", "reward", "test")] == [6, 4, 2]
    assert splits(loaded)["test"] == [f"VOCdevkit/{year}/JPEGImages/6.jpg" for year in ("VOC2007", "VOC2012")]


def test_other_xml_files_are_passed_over(tmp_path):
    loaded = clean(tree(tmp_path, {"a.jpg": SIZE, "a.xml": ONE, "pom.xml": "<project/>"}))
    assert boxes(loaded) == {"a.jpg": [CELL]}
    assert noted(loaded, "pom.xml: expected an <annotation>, got <project>; passed over")


def test_no_xml_file(tmp_path):
    assert_refused(tree(tmp_path, {"a.jpg": SIZE}), "expected Pascal VOC XML files, got none", format="voc")


def test_what_macs_leave_behind(tmp_path):
    root = tree(tmp_path, {"a.jpg": SIZE, "a.xml": ONE, "._a.jpg": b"\0\5\x16\7", "._a.xml": b"\0\5\x16\7",
                           ".DS_Store": b"\0", "__MACOSX/a.xml": b"\0\5", "__MACOSX/._a.jpg": b"\0"})
    assert boxes(clean(root)) == {"a.jpg": [CELL]}


@pytest.mark.parametrize("layout", [("{}/rgb.jpg", "{}/rgb.xml"), ("images/{}/rgb.jpg", "xml/{}/rgb.xml"),
                                    ("{}/images/rgb.jpg", "{}/xml/rgb.xml"), ("{}/rgb.jpg", "{}/xml/rgb.xml")])
def test_folders_by_the_hundred_with_one_name_each(tmp_path, layout):
    rows = [f"{row:04d}" for row in range(300)]
    for row in rows:
        tree(tmp_path, {layout[0].format(row): b"", layout[1].format(row): ""})
    reading = Reading(Folder(tmp_path), Findings())
    images, doubtful = pair(reading, Pictures(reading.folder), reading.folder.ending(".xml"))
    assert images == {layout[1].format(row): layout[0].format(row) for row in rows}
    assert doubtful == set()
