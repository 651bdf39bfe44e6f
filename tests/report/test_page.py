"""The page of a batch, read as a browser reads it: by its tags, attributes and text."""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mgral.data.dataset import Dataset, ImageInfo
from mgral.errors import DataError
from mgral.pool.inspection import Detections
from mgral.report import page
from mgral.report.colours import COLOURS, ink
from mgral.report.page import write_page

VOID = {"meta", "link", "img", "wbr", "rect"}


@dataclass
class Read(HTMLParser):
    """`tags` are all elements with their attributes; `texts` what stands in those of a name, in order."""

    tags: list[tuple[str, dict]] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def of(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]

    def pictures(self) -> list[Image.Image]:
        head = "data:image/jpeg;base64,"
        assert all(image["src"].startswith(head) for image in self.of("img"))
        return [Image.open(BytesIO(base64.b64decode(image["src"][len(head):]))) for image in self.of("img")]


def read(path: Path) -> Read:
    parsed = Read()
    parsed.feed(path.read_text(encoding="utf-8"))
    parsed.close()
    assert parsed.open == []
    return parsed


def found(*boxes: tuple[tuple[float, ...], float, int]) -> Detections:
    return Detections(np.array([box[0] for box in boxes], np.float32).reshape(-1, 4),
                      np.array([box[1] for box in boxes], np.float32), np.array([box[2] for box in boxes], np.int64))


def photos(folder: Path, *names: str, size: tuple[int, int] = (80, 60), classes=("cat", "dog")) -> Dataset:
    for name in names:
        Image.new("RGB", size, (200, 100, 0)).save(folder / name)
    images = {name: ImageInfo(name, name, *size) for name in names}
    return Dataset(folder, classes, tuple(range(1, len(classes) + 1)), images, {})


@pytest.fixture
def two(tmp_path) -> Read:
    """A page of b.png, on which are three boxes of which one is unsure, and a.png, on which is none."""
    detections = {"b.png": found(((8, 6, 40, 30), 0.9, 1), ((10, 40, 20, 50), 0.8, 0), ((0, 0, 70, 50), 0.5, 1),
                                 ((5, 5, 9, 9), 0.2, 0)), "a.png": found()}
    write_page(tmp_path / "page.html", photos(tmp_path, "a.png", "b.png"), ["b.png", "a.png"], detections,
               ["dogs are rare", "unlike all"], [0.75, 0.25], "s: random, cycle 1", ["Label them.", "Import them."])
    return read(tmp_path / "page.html")


def test_it_says_what_is_expected_and_what_to_do_next(two):
    assert two.texts["h1"] == ["s: random, cycle 1"] == two.texts["title"][:1]
    assert "2 images, 3 boxes of the model to check (score 0.3 or more)." in two.texts["header"][0]
    entries = [text.strip() for text in two.texts["li"]]
    assert entries[:4] == ["cat 1", "dog 2", "Label them.", "Import them."]
    assert two.of("html") == [{"lang": "en"}]


def test_images_stand_in_the_order_of_preference_with_all_that_is_known_of_them(two):
    first, second = (" ".join(text.split()) for text in two.texts["figcaption"])
    assert first == "1. b.png 80 × 60 pixels, score 0.75 cat 1dog 2 dogs are rare"
    assert second == "2. a.png 80 × 60 pixels, score 0.25 no box unlike all"
    assert [image["alt"] for image in two.of("img")] == ["Image 1: 1 cat, 2 dog", "Image 2: no boxes"]
    assert [picture.size for picture in two.pictures()] == [(80, 60)] * 2, "small pictures are not enlarged"
    assert [(image["width"], image["height"]) for image in two.of("img")] == [("400", "300")] * 2


def test_boxes_lie_over_the_picture_in_its_scale_the_largest_first(two):
    (drawn,) = two.of("svg")
    assert drawn["viewbox"] == "0 0 400.00 300.00"
    corners = [[float(rect[side]) for side in ("x", "y", "width", "height")] for rect in two.of("rect")]
    assert corners[::2] == corners[1::2] == [[0, 0, 350, 250], [40, 30, 160, 120], [50, 200, 50, 50]]
    assert two.texts["title"][1:] == ["dog, score 0.50", "dog, score 0.90", "cat, score 0.80"]
    assert [group["class"] for group in two.of("g")] == ["c1", "c1", "c0"]
    assert two.texts["text"] == ["\u2068dog\u2069 0.90", "\u2068cat\u2069 0.80", "\u2068dog\u2069 0.50"]


def test_names_in_a_picture_cover_none_that_is_surer_and_stay_inside(tmp_path):
    dataset = photos(tmp_path, "a.png", size=(400, 300))
    detections = found(((50, 50, 90, 90), 0.9, 0), ((55, 52, 95, 92), 0.8, 0), ((380, 0, 400, 20), 0.7, 1),
                       ((50, 100, 90, 140), 0.6, 1))
    write_page(tmp_path / "p.html", dataset, ["a.png"], {"a.png": detections}, (), (), "t")
    parsed = read(tmp_path / "p.html")
    assert [text[-4:] for text in parsed.texts["text"]] == ["0.90", "0.70", "0.60"]
    edge = parsed.of("text")[1]
    assert (edge["text-anchor"], float(edge["x"]), float(edge["y"])) == ("end", 398, 12)


def test_a_reason_and_a_score_that_all_share_are_said_once(tmp_path):
    dataset = photos(tmp_path, "a.png", "b.png")
    detections = dict.fromkeys(dataset.images, found())
    write_page(tmp_path / "p.html", dataset, list(dataset.images), detections, ["drawn at random"] * 2, [0.0, 0.0], "t")
    parsed = read(tmp_path / "p.html")
    assert parsed.texts["body"][0].count("drawn at random") == 1
    assert "Why these: drawn at random" in parsed.texts["header"][0]
    assert "score 0" not in parsed.texts["main"][0]


def test_without_a_model_it_says_so(tmp_path):
    dataset = photos(tmp_path, "a.png", classes=())
    write_page(tmp_path / "p.html", dataset, ["a.png"], {}, (), (), "s: the first batch")
    parsed = read(tmp_path / "p.html")
    assert "1 image, no boxes: no model has looked at them yet." in parsed.texts["header"][0]
    assert parsed.of("svg") == []
    assert "no box" not in parsed.texts["main"][0]


ODD = ("a\"b'<c>.png", "<img src=x onerror=alert(1)>.png", f"{'n' * 240}.png", "תמונה 12.png", "a\u202egnp.exe.png",
       "two\nlines.png", "caf\udce9.png", "写真.png", "&amp;.png", "wide\u3000space.png")


def test_names_are_text_whatever_they_are(tmp_path):
    classes = ("<script>alert(1)</script>", "</style><b>", '" onload="alert(1)', "כלב")
    dataset = photos(tmp_path, *ODD, classes=classes)
    boxes = found(*(((8 * row, 6, 8 * row + 7, 30), 0.9, row) for row in range(4)))
    write_page(tmp_path / "p.html", dataset, ODD, dict.fromkeys(ODD, boxes), [f"<i>{name}" for name in ODD], (),
               "<title> of & \"study\"", ["a < b"])
    parsed = read(tmp_path / "p.html")
    assert {tag for tag, _ in parsed.tags} <= {
        "html", "head", "meta", "link", "title", "style", "body", "header", "main", "h1", "h2", "p", "ol", "ul", "li",
        "figure", "figcaption", "div", "img", "svg", "g", "rect", "text", "bdi", "i", "wbr"}
    assert not [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")]
    names = [text.split(".\xa0", 1)[1] for text in parsed.texts["h2"][-len(ODD):]]
    spelt = {"a\u202egnp.exe.png": "a\\u202egnp.exe.png", "two\nlines.png": "two\\nlines.png",
             "caf\udce9.png": "caf\\udce9.png"}
    assert names == [spelt.get(name, name) for name in ODD]
    assert parsed.texts["h1"] == ["<title> of & \"study\""]
    assert {title.rsplit(",", 1)[0] for title in parsed.texts["title"][1:]} == set(classes)


def test_nothing_from_elsewhere_is_loaded_and_nothing_but_its_own_style_is_allowed(two, tmp_path):
    addresses = [value for _, attributes in two.tags for name, value in attributes.items()
                 if name in ("src", "href", "action", "srcset", "data", "poster")]
    assert {address.split(",")[0] for address in addresses} == {"data:", "data:image/jpeg;base64"}
    assert "style" not in {name for _, attributes in two.tags for name in attributes}
    (style,) = two.texts["style"]
    assert not re.search(r"url\(|@import|http", style)
    policy = next(meta["content"] for meta in two.of("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert sorted(policy.split("; ")) == sorted([
        "default-src 'none'", "img-src data:", "base-uri 'none'", "form-action 'none'", f"style-src 'sha256-{digest}'"])


def test_pictures_are_upright_in_the_range_of_the_data_set_and_no_larger_than_shown(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    red_left = np.zeros((300, 800, 3), dtype=np.uint8)
    red_left[:, :400, 0] = 255
    Image.fromarray(red_left).save(tmp_path / "phone.jpg", exif=exif, quality=98)
    Image.fromarray(np.full((40, 40), 4095, dtype=np.uint16)).save(tmp_path / "wide.png")
    images = {"phone.jpg": ImageInfo("phone.jpg", "phone.jpg", 300, 800),
              "wide.png": ImageInfo("wide.png", "wide.png", 40, 40)}
    write_page(tmp_path / "p.html", Dataset(tmp_path, (), (), images, {}, white=4095), list(images), {}, (), (), "t")
    phone, wide = read(tmp_path / "p.html").pictures()
    assert phone.size == (150, 400)
    np.testing.assert_allclose(np.asarray(phone).astype(int)[40, 70], (255, 0, 0), atol=30)
    np.testing.assert_allclose(np.asarray(phone).astype(int)[360, 70], (0, 0, 0), atol=30)
    np.testing.assert_allclose(np.asarray(wide).astype(int)[20, 20], (255, 255, 255), atol=10)


def noise(folder: Path, count: int) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "noise.jpg", quality=95)
    images = {f"{number}": ImageInfo(f"{number}", "noise.jpg", 400, 400) for number in range(count)}
    return Dataset(folder, ("cat",), (1,), images, {})


def test_quality_gives_way_to_size(tmp_path, monkeypatch):
    dataset = noise(tmp_path, 6)
    detections = dict.fromkeys(dataset.images, found(*(((1, 1, 90, 90), 0.9, 0),) * 20))
    monkeypatch.setattr(page, "BYTES", 360_000)
    write_page(tmp_path / "p.html", dataset, list(dataset.images), detections, (), (), "t")
    assert 250_000 < (tmp_path / "p.html").stat().st_size < 370_000
    monkeypatch.setattr(page, "BYTES", 3_000_000)
    write_page(tmp_path / "p.html", dataset, list(dataset.images), detections, (), (), "t")
    assert (tmp_path / "p.html").stat().st_size > 400_000


def test_of_many_images_the_first_are_shown_smaller(tmp_path, monkeypatch):
    dataset = noise(tmp_path, 5)
    monkeypatch.setattr(page, "FEW", 2)
    monkeypatch.setattr(page, "MOST", 3)
    detections = dict.fromkeys(dataset.images, found(((1, 1, 90, 90), 0.9, 0)))
    write_page(tmp_path / "p.html", dataset, list(dataset.images), detections, list("abcde"), (), "t")
    parsed = read(tmp_path / "p.html")
    assert [picture.size for picture in parsed.pictures()] == [(page.SMALL, page.SMALL)] * 3
    assert "5 images, 5 boxes" in parsed.texts["header"][0]
    assert "The first 3 of 5 images are shown here" in parsed.texts["header"][0]


def test_of_many_classes_those_with_boxes_are_named(tmp_path):
    dataset = photos(tmp_path, "a.png", classes=tuple(f"kind{row}" for row in range(60)))
    write_page(tmp_path / "p.html", dataset, ["a.png"], {"a.png": found(((1, 1, 9, 9), 0.9, 57))}, (), (), "t")
    assert read(tmp_path / "p.html").texts["ul"][0] == "kind57 159 more classes without a box"


def test_pictures_that_cannot_be_read_are_all_named_and_no_page_is_left(tmp_path):
    dataset = photos(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "a.png").unlink()
    (tmp_path / "c.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match="a.png: expected .*\n.*c.png: expected "):
        write_page(tmp_path / "p.html", dataset, list(dataset.images), {}, (), (), "t")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.png", "c.png"]


@pytest.mark.parametrize("colour", COLOURS)
def test_names_can_be_read_on_their_colour(colour):
    def luminance(name: str) -> float:
        values = (int(name[place:place + 2], 16) / 255 for place in (1, 3, 5))
        return float(np.dot([0.2126, 0.7152, 0.0722],
                            [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
                             for value in values]))

    dark, light = sorted((luminance(colour), luminance(ink(colour))))
    assert (light + 0.05) / (dark + 0.05) >= 4.5
