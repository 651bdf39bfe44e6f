"""What an XML file of Pascal VOC says: boxes, sizes, encodings, and what of it is refused."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgral.data.formats.detecting import Found
from mgral.data.formats.folder import Folder
from mgral.data.formats.reading import Given, Reading
from mgral.data.formats.voc import read as read_voc
from mgral.findings import Findings
from tests.data.trees import CELL, SIZE, assert_refused, boxes, cell, clean, corners, folder_of, noted, read, tree, xml


@pytest.fixture
def one(tmp_path):
    """Writes a.jpg with an XML file beside it."""
    return lambda content: tree(tmp_path, {"a.jpg": SIZE, "a.xml": content})


@pytest.mark.parametrize(("content", "expected"), [
    (cell(corners("5", "4.70000076293945", "15.0", " 13 ")), ("cell", [5, 4.7, 15, 13])),
    (cell(f"<part><name>head</name>{corners(1, 1, 4, 4)}</part>{corners(5, 5, 15, 13)}"), CELL),
    (cell("<bndbox><xmax>15</xmax><xmin>5</xmin><ymax>13</ymax><ymin>5</ymin></bndbox>"), CELL),
    (cell(name=" Car\n"), ("Car", [5, 5, 15, 13])),
    (cell(name="Red\n\t Car"), ("Red Car", [5, 5, 15, 13])),
    (cell(name="R&amp;B"), ("R&B", [5, 5, 15, 13])),
    (cell(corners("1e1", "5", "15", "13")), ("cell", [10, 5, 15, 13])),
])
def test_objects_as_tools_write_them(one, content, expected):
    assert boxes(clean(one(xml(content)))) == {"a.jpg": [expected]}


@pytest.mark.parametrize(("value", "ignored"), [
    ("1", True), (" 1 ", True), ("0", False), ("Unspecified", False), ("", False)])
def test_difficult_is_ignored(one, value, ignored):
    loaded = clean(one(xml(cell(more=f"<difficult>{value}</difficult>"))))
    assert loaded.dataset.boxes["a.jpg"].ignore.tolist() == [ignored]


@pytest.mark.parametrize(("text", "got"), [
    ("(88, 100)", "expected 4 numbers, got ['(88, 100)'"), ("4,7", "expected 4 numbers"), ("", "expected 4 numbers"),
    ("1_0", "expected 4 numbers"), ("nan", "expected finite numbers"), ("-inf", "expected finite numbers"),
    ("1e999", "expected finite numbers")])
def test_coordinates_that_are_no_numbers(one, text, got):
    assert_refused(one(xml(cell(corners(text, 5, 15, 13)))), "a.xml: object 1 (cell): ", got)


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="<&"), max_size=12))
@settings(max_examples=40, deadline=None)
def test_a_coordinate_is_a_finite_number_or_named(text):
    with folder_of({"a.jpg": SIZE, "a.xml": xml(cell(corners(text, 5, 15, 13)))}) as root:
        loaded = read(root)
        try:
            fine = "_" not in text and 0 <= float(text) < 14
        except ValueError:
            fine = False
        assert fine == (loaded.problems == ()) or "-" in text
        assert all("a.xml: object 1 (cell): expected" in problem for problem in loaded.problems)


@pytest.mark.parametrize("size", ["", "<size/>", "<size><width>0</width><height>0</height></size>",
                                  "<size><width>-1</width><height>-1</height></size>",
                                  "<size><width></width><height></height></size>", "<size><width>40</width></size>"])
def test_a_size_that_is_not_known_is_taken_from_the_file(one, size):
    loaded = clean(one(xml(cell(), size=size)))
    assert boxes(loaded) == {"a.jpg": [CELL]}
    assert noted(loaded, "are taken from the image file")


@pytest.mark.parametrize("text", ["wide", "nan", "inf", "40.5"])
def test_a_size_that_is_no_number(one, text):
    assert_refused(one(xml(cell(), size=f"<size><width>{text}</width><height>30</height></size>")),
                   "size: expected 2 whole")


def test_a_size_unlike_the_file(one):
    assert_refused(one(xml(cell(), size="<size><width>41</width><height>30</height></size>")), "a.xml: expected",
            "to have 41 × 30 pixels as annotated, got 40 × 30")


@pytest.mark.parametrize("box", [(25, 5, 15, 13), (5, 20, 15, 13), (25, 20, 15, 13), (5, 5, 5, 13)])
def test_swapped_corners_are_refused_and_repair_leaves_the_image_not_annotated(tmp_path, box):
    root = tree(tmp_path, {"a.jpg": SIZE, "a.xml": xml(cell(corners(*box))), "b.jpg": SIZE, "b.xml": xml(cell())})
    assert_refused(root, "a.xml: object 1 (cell)", "correct it or set `data.invalid_boxes: repair`")
    repaired = clean(root, invalid_boxes="repair")
    assert boxes(repaired) == {"a.jpg": None, "b.jpg": [CELL]}
    assert noted(repaired, "every box was dropped, so the image counts as not annotated")


def test_an_overhang_of_a_pixel_is_rounding(one):
    loaded = clean(one(xml(cell(corners(-1, 5, 41, 13)), cell(corners(5, 5, 15, 31)))))
    assert boxes(loaded) == {"a.jpg": [("cell", [0, 5, 40, 13]), ("cell", [5, 5, 15, 30])]}
    assert noted(loaded, "over the edge by a pixel")


def test_an_annotation_without_object_is_empty_and_no_file_is_not_annotated(tmp_path):
    loaded = clean(tree(tmp_path, {"a.jpg": SIZE, "a.xml": xml(), "b.jpg": SIZE, "c.jpg": SIZE, "c.xml": xml(cell())}))
    assert boxes(loaded) == {"a.jpg": [], "b.jpg": None, "c.jpg": [CELL]}


@pytest.mark.parametrize("content", [b"", b" \n\t", b"\xef\xbb\xbf", "\n".encode("utf-16")])
def test_an_empty_file_says_nothing(one, content):
    assert_refused(one(content), "a.xml: expected XML, got an empty file")


@pytest.mark.parametrize(("declared", "codec", "name"), [
    ("gb2312", "gb2312", "车"), ("GB2312", "gb18030", "镕"), ("gbk", "gbk", "车辆"), ("utf-16", "utf-16", "車"),
    ("UTF-16", "utf-16-le", "車"), ("utf-16", "utf-16-be", "車"), ("ISO-8859-1", "latin-1", "Stück °"),
    ("windows-1252", "cp1252", "Stück €"), ("shift_jis", "shift_jis", "車"), ("euc-kr", "euc_kr", "차"),
    ("big5", "big5", "車"), ("koi8-r", "koi8-r", "машина"), ("utf-8", "utf-8-sig", "Stück"),
    ("utf-16", "utf-8", "Stück"), ("us-ascii", "ascii", "cell")])
def test_declared_encodings(one, declared, codec, name):
    head = f'<?xml version="1.0" encoding="{declared}"?>\n'
    loaded = clean(one(xml(cell(name=name), head=head).encode(codec)))
    assert loaded.dataset.classes == (name,)


@pytest.mark.parametrize(("name", "codec", "byte", "likely"), [
    ("Stück °", "latin-1", "0xfc", "latin-1"), ("Stück €", "cp1252", "0xfc", "cp1252"),
    ("车辆", "gb2312", "0xb3", "gb18030")])
@pytest.mark.parametrize("head", ["", '<?xml version="1.0"?>', '<?xml version="1.0" encoding="utf-8"?>'])
def test_other_bytes_without_declaration_are_not_guessed(one, name, codec, byte, likely, head):
    assert_refused(one(xml(cell(name=name), head=head).encode(codec)), "a.xml: expected UTF-8 text", byte, likely)


@pytest.mark.parametrize("declared", ["nonsense", "idna", "unicode_escape", "zlib", "hex", "undefined", "punycode"])
def test_an_encoding_that_is_none(one, declared):
    head = f'<?xml version="1.0" encoding="{declared}"?>'
    assert_refused(one(xml(cell(), head=head)), "a.xml: expected text in a known encoding")


@pytest.mark.parametrize(("content", "texts"), [
    ("<annotation>\n<object>\n</annotation>", ("a.xml:3: expected XML, got mismatched tag",)),
    (xml(cell(name="R&B")), ("a.xml:1: expected XML", "an & in a name is written &amp;")),
    ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', ("expected plain XML, got DTDForbidden",)),
    ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', ("expected plain XML, got DTDForbidden",)),
    (xml(cell()) + "<annotation/>", ("a.xml:1: expected XML, got junk after document element",)),
    ("<project/>", ("expected an <annotation>, got <project>", "called like a.jpg")),
    (xml(cell(name=" ")), ("object 1: expected a name, got none",)),
    (xml("<name>cell</name>"), ("object 1 (cell): expected a <bndbox>, got none",)),
])
def test_files_that_are_refused(one, content, texts):
    assert_refused(one(content), *texts)


def test_blank_lines_before_the_declaration(one):
    assert boxes(clean(one("\n\n" + xml(cell(), head='<?xml version="1.0"?>')))) == {"a.jpg": [CELL]}


@given(st.binary(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_read_or_named(content):
    with folder_of({"a.jpg": SIZE, "a.xml": content, "b.jpg": SIZE, "b.xml": xml(cell())}) as root:
        problems = read(root).problems
        assert len(problems) == 1
        assert "a.xml" in problems[0]


@given(st.binary(min_size=1, max_size=8), st.integers(0, 120))
@settings(max_examples=60, deadline=None)
def test_a_damaged_file_never_ends_in_a_traceback(content, at):
    whole = xml(cell()).encode()
    with folder_of({"a.jpg": SIZE, "a.xml": whole[:at] + content + whole[at:]}) as root:
        for note in (*read(root).problems, *read(root, invalid_boxes="repair").notes):
            assert "\n" not in note


def test_deep_nesting_is_no_fault_of_ours(one):
    assert_refused(one("<annotation>" * 50_000), "a.xml:1: expected XML")


@pytest.mark.parametrize(("angle", "envelope"), [
    (0, [5, 5, 15, 13]), (math.pi / 2, [6, 4, 14, 14]), (-math.pi / 2, [6, 4, 14, 14]), (math.pi, [5, 5, 15, 13]),
    (math.pi / 4, [10 - 9 / math.sqrt(2), 9 - 9 / math.sqrt(2), 10 + 9 / math.sqrt(2), 9 + 9 / math.sqrt(2)])])
def test_rotated_boxes_are_enveloped(one, angle, envelope):
    box = f"<robndbox><cx>10</cx><cy>9</cy><w>10</w><h>8</h><angle>{angle}</angle></robndbox>"
    loaded = clean(one(xml(cell(box, more="<type>robndbox</type>"))))
    assert boxes(loaded) == {"a.jpg": [("cell", [round(side, 2) for side in envelope])]}
    assert noted(loaded, "its upright envelope is taken")


def test_an_angle_in_degrees_is_refused(one):
    box = "<robndbox><cx>10</cx><cy>9</cy><w>10</w><h>8</h><angle>37.5</angle></robndbox>"
    assert_refused(one(xml(cell(box))), "expected an angle in radians, got 37.5")


@pytest.mark.parametrize("polygon", [
    "<polygon><x1>5</x1><y1>5</y1><x2>15</x2><y2>5</y2><x3>9</x3><y3>13</y3></polygon>",
    "<polygon><pt><x>5</x><y>5</y></pt><pt><x>15</x><y>5</y></pt><pt><x>9</x><y>13</y></pt></polygon>"])
def test_polygons_are_enveloped_where_there_is_no_box(one, polygon):
    loaded = clean(one(xml(cell(polygon))))
    assert boxes(loaded) == {"a.jpg": [CELL]}
    assert noted(loaded, "the envelope of its polygon is taken")
    other = clean(one(xml(cell(polygon + corners(1, 2, 3, 4)))))
    assert boxes(other) == {"a.jpg": [("cell", [1, 2, 3, 4])]}


@pytest.mark.parametrize("polygon", ["<polygon/>", "<polygon><x1>5</x1><y1>5</y1><x2>15</x2></polygon>",
                                     "<polygon><x1>5</x1><y1>five</y1><x2>15</x2><y2>6</y2></polygon>"])
def test_polygons_that_are_none(one, polygon):
    assert_refused(one(xml(cell(polygon))), "object 1 (cell): expected", "numbers")


def test_what_was_deleted_in_labelme_is_gone(one):
    assert boxes(clean(one(xml(cell(), cell(more="<deleted>1</deleted>"))))) == {"a.jpg": [CELL]}


def test_offset_counts_from_one(one):
    root = one(xml(cell(corners(1, 1, 40, 30))))
    reading = Reading(Folder(root), Findings())
    read_voc(reading, Found("voc", ("a.xml",)), Given(), offset=1.0)
    assert list(reading.corners) == [0, 0, 40, 30]


def test_like_faults_are_counted(tmp_path):
    root = tree(tmp_path, {f"{row}.{kind}": SIZE if kind == "jpg" else xml(cell(corners(25, 5, 15, 13)))
                           for row in range(9) for kind in ("jpg", "xml")})
    problems = read(root).problems
    assert len(problems) == 3
    assert problems[-1].endswith("(and 6 more like this)")
