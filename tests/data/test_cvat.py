"""CVAT's XML: shapes of images by name."""

import math
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgral.config import DataConfig
from mgral.data.formats import read_dataset
from tests.data.test_label_studio import boxes, noted, problem
from tests.small_data import save_image

BOX = '<box label="cell" xtl="5" ytl="6" xbr="15" ybr="16" occluded="0" z_order="0"/>'
CASE = """<annotations><version>1.1</version><image id="7" name="cam1/a.jpg" width="40" height="30">
<box label="cell" xtl="5" ytl="5" xbr="15" ybr="13" occluded="0" z_order="0" rotation="90.0"/>
<polygon label="cell" points="20,5;30,5;30,13"/><ellipse label="cell" cx="10" cy="20" rx="4" ry="3"/>
<skeleton label="p" z_order="0"><points label="1" outside="1" points="3,3"/></skeleton></image></annotations>"""
META = """<meta><{0}><labels><label><name>worm</name><type>any</type></label><label><name>cell</name></label>
<label><name>Ant</name><type>rectangle</type><attributes></attributes></label>
<label><name>p</name><type>skeleton</type></label><label><name>1</name><type>points</type><parent>p</parent></label>
<label><name>blurred</name><type>tag</type></label></labels></{0}></meta>"""


def image(*shapes, name="a.jpg", **more):
    attributes = {"id": 0, "name": name, "width": 40, "height": 30} | more
    texts = " ".join(f"{key}={quoteattr(str(value))}" for key, value in attributes.items())
    return f"<image {texts}>{''.join(shapes)}</image>"


def shape(tag="box", **values):
    values = {"label": "cell"} | values
    return f"<{tag} " + " ".join(f"{key}={quoteattr(str(value))}" for key, value in values.items()) + f"></{tag}>"


def load(root, *parts, images=("a.jpg",), whole=None, **given):
    """What is read of these images."""
    for name in images:
        if not (root / name).exists():
            save_image(root / name, 40, 30)
    text = whole or f"<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<annotations>{''.join(parts)}</annotations>"
    (root / "annotations.xml").write_text(text, encoding="utf-8")
    return read_dataset(DataConfig(**given), root)


def test_shapes_and_the_box_around_them(tmp_path):
    loaded = load(tmp_path, whole=CASE, images=("cam1/a.jpg",))
    assert np.allclose([box[1:] for box in boxes(loaded, "cam1/a.jpg")],
                       [(6, 4, 14, 14), (20, 5, 30, 13), (6, 17, 14, 23)])
    assert loaded.format == "cvat"
    assert loaded.dataset.classes == ("cell",)
    for text in ("box rotated by 90 degrees", "envelope of the polygon", "envelope of the ellipse",
                 "1 shapes of type 'skeleton'"):
        assert len(noted(loaded, text)) == 1


def test_masks(tmp_path):
    mask = shape("mask", rle="1, 2, 3", left=3, top=4, width=10, height=12)
    assert boxes(load(tmp_path, image(mask))) == [("cell", 3, 4, 13, 16)]
    assert "of at least 0" in problem(load(tmp_path, image(mask.replace('width="10"', 'width="-1"'))))


@settings(max_examples=50, deadline=None)
@given(st.floats(-720, 720), st.floats(1, 10), st.floats(1, 10))
def test_turned_boxes_by_their_corners(tmp_path_factory, angle, wide, high):
    turn = np.exp(1j * math.radians(angle))
    corners = [20 + 15j + turn * complex(a * wide, b * high) for a in (-1, 1) for b in (-1, 1)]
    box = shape(xtl=20 - wide, xbr=20 + wide, ytl=15 - high, ybr=15 + high, rotation=angle)
    loaded = load(tmp_path_factory.mktemp("turned"), image(box))
    expected = [f(getattr(c, part) for c in corners) for f in (min, max) for part in ("real", "imag")]
    assert np.allclose(boxes(loaded)[0][1:], expected, atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 360), st.floats(2, 10), st.floats(2, 10))
def test_ellipses_by_points_on_their_line(tmp_path_factory, angle, wide, high):
    turns = np.linspace(0, 2 * np.pi, 2001)
    line = 20 + 15j + np.exp(1j * math.radians(angle)) * (wide * np.cos(turns) + 1j * high * np.sin(turns))
    loaded = load(tmp_path_factory.mktemp("ellipse"),
                  image(shape("ellipse", cx=20, cy=15, rx=wide, ry=high, rotation=angle)))
    expected = line.real.min(), line.imag.min(), line.real.max(), line.imag.max()
    assert np.allclose(boxes(loaded)[0][1:], expected, atol=0.01)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(1, 39), st.floats(1, 29)), min_size=3, max_size=20))
def test_polygons_by_their_extremes(tmp_path_factory, points):
    text = ";".join(f"{x:.2f},{y:.2f}" for x, y in points)
    rounded = np.round(np.array(points), 2)
    if np.ptp(rounded, axis=0).min() > 0.1:
        loaded = load(tmp_path_factory.mktemp("polygon"), image(shape("polygon", points=text)))
        assert np.allclose(boxes(loaded)[0][1:], (*rounded.min(axis=0), *rounded.max(axis=0)), atol=1e-3)


@pytest.mark.parametrize("tag", ["polyline", "points", "skeleton", "cuboid", "tag", "made_up"])
def test_other_shapes_are_counted(tmp_path, tag):
    other = shape(tag, points="1,2;3,4", xtl1=4)
    loaded = load(tmp_path, image(BOX, other, other), image(other, name="b.jpg"), images=("a.jpg", "b.jpg"))
    assert len(boxes(loaded)) == 1
    (note,) = noted(loaded, "passed over")
    assert f"3 shapes of type '{tag}'" in note


def test_images_by_name_not_by_number(tmp_path):
    images = ("cam1/a.jpg", "cam2/a.jpg", "cam1/b.jpg")
    loaded = load(tmp_path, image(BOX, name="cam2/a.jpg", id=0), image(name="cam1/a.jpg", id=0), images=images)
    assert len(boxes(loaded, "cam2/a.jpg")) == 1
    assert boxes(loaded, "cam1/a.jpg") == []
    assert set(loaded.dataset.images) == set(images)
    assert "cam1/b.jpg" not in loaded.dataset.boxes
    assert (loaded.listed, loaded.silent) == (2, 1)


@pytest.mark.parametrize(("name", "path"), [
    ("a.jpg", "images/a.jpg"), ("cam1/a.jpg", "images/cam1/a.jpg"), ("a.jpg", "images/train/a.jpg"),
    ("cam1\\a.jpg", "cam1/a.jpg"), ("a.jpg", "train/a.jpg"), ("a.jpg", "train/images/a.jpg"),
    ("images/a.jpg", "a.jpg"), ("/mnt/share/cam1/a.jpg", "cam1/a.jpg"),
    ("my%20photo.jpg", "my photo.jpg"), ("é.jpg", "e\u0301.jpg"), ("&<>'\".jpg", "images/&<>'\".jpg")])
def test_where_an_image_lies(tmp_path, name, path):
    loaded = load(tmp_path, image(BOX, name=name, subset="train"), images=(path,))
    assert len(boxes(loaded, path)) == 1
    assert loaded.dataset.splits == {"train": (path,)}


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_characters="/\\", exclude_categories=("Cs", "Cc", "Cn", "Co")), min_size=1,
               max_size=20))
def test_names_of_odd_characters(tmp_path_factory, stem):
    root, path = tmp_path_factory.mktemp("odd"), f"images/x{stem}.jpg"
    assert len(boxes(load(root, image(BOX, name=f"x{stem}.jpg"), images=(path,)), path)) == 1


@pytest.mark.parametrize("name", ["b.jpg", "/etc/passwd", "../secret.jpg", "..", ".", "//", "images/"])
def test_names_of_no_file(tmp_path, name):
    save_image(tmp_path / "secret.jpg")
    assert "expected an image file" in problem(load(tmp_path / "set", image(BOX, name=name)))


def test_faulty_images(tmp_path):
    assert "expected each image once" in problem(load(tmp_path, image(BOX), image(BOX)))
    assert "expected the image's name, got none" in problem(load(tmp_path, image(BOX, name=" ")))
    assert "to have 30 × 40 pixels as annotated" in problem(load(tmp_path, image(BOX, width=30, height=40)))
    for width in ("0", "-4", "x", "", "nan", "40.5", "inf"):
        assert "expected width and height as whole numbers" in problem(load(tmp_path, image(BOX, width=width)))
    assert len(boxes(load(tmp_path, f'<image id="1" name="a.jpg">{BOX}</image>'))) == 1


def test_subsets_are_splits(tmp_path):
    subsets = {"a": "Train", "b": "valid", "c": ""}
    parts = [image(name=f"{name}.jpg", subset=subset) for name, subset in subsets.items()]
    loaded = load(tmp_path, *parts, images=("a.jpg", "b.jpg", "c.jpg"))
    assert loaded.dataset.splits == {"Train": ("a.jpg",), "valid": ("b.jpg",)}


@pytest.mark.parametrize("place", ["task", "project", "job"])
def test_classes_in_the_order_of_labels(tmp_path, place):
    loaded = load(tmp_path, META.format(place), image(BOX, shape(label="zebra", xtl=1, ytl=1, xbr=9, ybr=9)))
    assert loaded.dataset.classes == ("worm", "cell", "Ant", "zebra")
    assert loaded.dataset.category_ids == (1, 2, 3, 4)
    assert noted(loaded, "'p, blurred'")


def test_several_files_have_the_classes_of_all(tmp_path):
    for name, label in (("a", "bee"), ("b", "ant")):
        (tmp_path / name).mkdir()
        save_image(tmp_path / name / "x.jpg", 40, 30)
        (tmp_path / name / "annotations.xml").write_text(
            f"<annotations><meta><task><labels><label><name>{label}</name></label></labels></task></meta>"
            f"{image(BOX, name='x.jpg')}</annotations>")
    loaded = read_dataset(DataConfig(), tmp_path)
    assert loaded.dataset.classes == ("bee", "ant", "cell")
    assert len(boxes(loaded, "a/x.jpg")) == len(boxes(loaded, "b/x.jpg")) == 1


SHAPES = {"box": {"xtl": 1, "ytl": 2, "xbr": 11, "ybr": 12, "rotation": 0},
          "mask": {"left": 1, "top": 1, "width": 5, "height": 5},
          "ellipse": {"cx": 9, "cy": 9, "rx": 3, "ry": 3, "rotation": 0}}


@pytest.mark.parametrize(("tag", "side"), [(tag, side) for tag, sides in SHAPES.items() for side in sides])
@pytest.mark.parametrize("value", ["x", "nan", "inf", "5,5", "1e999", "0x10"])
def test_numbers_that_are_none(tmp_path, tag, side, value):
    assert f"{tag} 1" in problem(load(tmp_path, image(shape(tag, **SHAPES[tag] | {side: value}))))


@pytest.mark.parametrize(("tag", "side"), [(tag, side) for tag, sides in SHAPES.items() for side in sides])
def test_numbers_that_are_missing(tmp_path, tag, side):
    loaded = load(tmp_path, image(shape(tag, **{key: value for key, value in SHAPES[tag].items() if key != side})))
    assert len(boxes(loaded)) == 1 if side == "rotation" else "expected 4 numbers" in problem(loaded)


@pytest.mark.parametrize("points", ["", "1,2", "1,2;3,4", "1,2;3,4;5", "1,2,3;4,5,6;7,8,9", "a,b;c,d;e,f",
                                    "1,2;3,4;nan,5"])
def test_points_that_are_none(tmp_path, points):
    assert "polygon 1" in problem(load(tmp_path, image(shape("polygon", points=points))))


@pytest.mark.parametrize(("tag", "side"), [(tag, side) for tag, sides in SHAPES.items() for side in sides])
@pytest.mark.parametrize("value", ["1e308", "-1e308", "-9e99", "1e-320"])
@pytest.mark.parametrize("angle", ["30", "90"])
def test_numbers_beyond_all_pictures(tmp_path, tag, side, value, angle):
    for way in ("error", "repair"):
        turned = {"rotation": angle} if tag != "mask" else {}
        loaded = load(tmp_path, image(shape(tag, **SHAPES[tag] | turned | {side: value})), invalid_boxes=way)
        for found in loaded.dataset.boxes.values():
            assert np.isfinite(found.xyxy).all()
            assert found.xyxy.max(initial=0) <= 40


def test_many_files_are_all_read(tmp_path):
    for number in range(30):
        (tmp_path / f"{number}.xml").write_text(f"<annotations>{image(BOX, name=f'{number}.jpg')}</annotations>")
        save_image(tmp_path / f"{number}.jpg", 40, 30)
    loaded = read_dataset(DataConfig(), tmp_path)
    assert sum(len(found.labels) for found in loaded.dataset.boxes.values()) == 30


def test_repair_leaves_out_what_is_not_finite(tmp_path):
    loaded = load(tmp_path, image(BOX, shape(**SHAPES["box"] | {"xtl": "nan"})), invalid_boxes="repair")
    assert len(boxes(loaded)) == 1
    assert noted(loaded, "left out")


@pytest.mark.parametrize("label", ["", "  ", "\n"])
def test_shapes_without_a_label(tmp_path, label):
    assert "expected a label" in problem(load(tmp_path, image(shape(**SHAPES["box"] | {"label": label}))))
    assert "expected a label, got None" in problem(load(tmp_path, image(BOX.replace('label="cell"', ""))))


@pytest.mark.parametrize(("text", "told"), [
    ("", "annotations.xml:1: expected CVAT's XML, got an empty file"),
    ("\n \n", "annotations.xml:1: expected CVAT's XML, got an empty file"),
    ("\n\n<annotations>\n<image>", "annotations.xml:4: expected CVAT's XML, got an error at column 8 (no element"),
    ("<annotations>\n<image name='a & b'/></annotations>", "annotations.xml:2: expected CVAT's XML"),
    ("<annotations>\0</annotations>", "annotations.xml:1: expected CVAT's XML"),
    ("<annotations/><annotations/>", "annotations.xml:1: expected CVAT's XML"),
    ("<other><annotations/></other>", "expected <annotations>, got <other>"),
    ("<!DOCTYPE annotations><annotations/>", "expected plain XML, got DTDForbidden"),
    ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotations>&x;</annotations>', "got DTDForbidden"),
    ('<!DOCTYPE a [<!ENTITY x "xx"><!ENTITY y "&x;&x;">]><annotations>&y;</annotations>', "got DTDForbidden"),
    ("<annotations>&x;</annotations>", "annotations.xml:1: expected CVAT's XML"),
    ('<?xml version="1.0" encoding="no-such"?><annotations/>', "expected text in a known encoding"),
])
def test_broken_files(tmp_path, text, told):
    save_image(tmp_path / "a.jpg")
    (tmp_path / "annotations.xml").write_text(text)
    loaded = read_dataset(DataConfig(format="cvat"), tmp_path)
    assert told in problem(loaded)


def test_files_that_are_not_there(tmp_path):
    save_image(tmp_path / "a.jpg")
    assert "expected a CVAT XML file, got none" in problem(read_dataset(DataConfig(format="cvat"), tmp_path))
    config = DataConfig(format="cvat", annotations=("no.xml",))
    assert "data.annotations: expected an annotation file" in problem(read_dataset(config, tmp_path))


def test_other_encodings(tmp_path):
    save_image(tmp_path / "é.jpg", 40, 30)
    text = f"<annotations>{image(BOX, name='é.jpg')}</annotations>"
    for content in (text.encode("utf-8-sig"), text.encode("utf-16"),
                    f'<?xml version="1.0" encoding="utf-16"?>{text}'.encode("utf-16")):
        (tmp_path / "annotations.xml").write_bytes(content)
        assert len(boxes(read_dataset(DataConfig(format="cvat"), tmp_path), "é.jpg")) == 1


def test_deep_files_are_no_danger(tmp_path):
    deep = "<x>" * 50_000 + "</x>" * 50_000
    loaded = load(tmp_path, deep, image(BOX, deep))
    assert len(boxes(loaded)) == 1


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_is_told(tmp_path_factory, data):
    """Bytes cut out, put in or changed anywhere."""
    root = tmp_path_factory.mktemp("damage")
    save_image(root / "cam1/a.jpg", 40, 30)
    whole = CASE.replace("</annotations>", META.format("task") + "</annotations>").encode()
    start, length = data.draw(st.integers(0, len(whole))), data.draw(st.sampled_from([0, 1, 2, 30, 10_000]))
    put = data.draw(st.sampled_from([b"", b"9", b"-", b"e9", b'"', b"<", b"&#1;", b"\xff"]) | st.binary(max_size=3))
    (root / "annotations.xml").write_bytes(whole[:start] + put + whole[start + length:])
    loaded = read_dataset(DataConfig(format="cvat"), root)
    lines = [*loaded.problems, *loaded.notes]
    assert all("\n" not in line for line in lines)
    "".join([*lines, *loaded.dataset.classes]).encode()
    assert all(np.isfinite(found.xyxy).all() for found in loaded.dataset.boxes.values())
