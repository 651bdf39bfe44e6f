import io
import os
import socket

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mgral.data.decoding import decode
from mgral.data.headers import Header, read_headers, same_files, white_of
from mgral.errors import DataError
from mgral.findings import Findings
from tests.data.pictures import NOISE, WHOLE, encoded, header_of, ramp, read, wide_png, wide_tiff


@pytest.mark.parametrize("ending", WHOLE)
def test_every_format_under_any_name(tmp_path, ending):
    for name in (f"a.{ending}", "b.jpg", "c.png", "d", "ä ö.txt"):
        header = header_of(tmp_path, WHOLE[ending], name)
        assert (header.width, header.height, header.orientation, header.brightest) == (40, 30, 1, None)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_sizes_are_those_seen(tmp_path, orientation, name):
    exif = Image.Exif()
    exif[0x0112] = orientation
    header = header_of(tmp_path, encoded(name, exif=exif))
    assert (header.width, header.height) == ((30, 40) if orientation > 4 else (40, 30))
    assert header.orientation == (1 if name == "TIFF" else orientation)


@pytest.mark.parametrize("value", [0, 9, 255])
def test_an_orientation_that_does_not_exist_is_none(tmp_path, value):
    exif = Image.Exif()
    exif[0x0112] = value
    assert header_of(tmp_path, encoded("JPEG", exif=exif)).orientation == 1


@pytest.mark.parametrize("ending", WHOLE)
@settings(max_examples=25, deadline=None)
@given(share=st.floats(0, 1), junk=st.binary(max_size=20))
def test_a_cut_file_is_refused_and_never_one_that_decodes(tmp_path_factory, ending, share, junk):
    root = tmp_path_factory.getbasetemp()
    content = WHOLE[ending][:round(share * len(WHOLE[ending]))] + junk
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            whole = image.size == (40, 30)
    except Exception:
        whole = False
    found = header_of(root, content)
    assert isinstance(found, Header) or not whole
    if not whole and not junk and len(content) > 100:
        assert "damaged or cut short" in found


@pytest.mark.parametrize("ending", ["jpg", "jpeg", "png", "gif", "bmp", "tif", "tiff", "webp", "ppm"])
@pytest.mark.parametrize("size", [(40, 30), (700, 500)])
def test_a_file_of_which_the_last_third_is_missing(tmp_path, ending, size):
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    name = {"jpg": "JPEG", "jpeg": "JPEG", "tif": "TIFF", "tiff": "TIFF"}.get(ending, ending.upper())
    content = encoded(name, pixels, **({"progressive": True} if ending == "jpeg" else {}))
    assert "damaged or cut short" in header_of(tmp_path, content[:len(content) * 2 // 3])


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_picture(tmp_path):
    content = encoded("JPEG", exif=b"Exif\0\0" + encoded("JPEG"))
    assert content.count(b"\xff\xd9") == 2
    assert "cut short" in header_of(tmp_path, content[:-400])


@pytest.mark.parametrize("trailing", [b"\0" * 3000, b"SEFT" * 4000, encoded("JPEG"),
                                      b"\0\0\0\x18ftypmp42" + b"x" * 99_999])
@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "bmp", "tif", "webp"])
def test_what_cameras_append_is_no_fault(tmp_path, ending, trailing):
    assert isinstance(header_of(tmp_path, WHOLE[ending] + trailing), Header)


FOREIGN = {
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "AVIF": b"\0\0\0\x20ftypavif",
    "a video (MP4)": b"\0\0\0\x18ftypmp42", "JPEG XL": b"\xff\x0a\xfa\x1f",
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n", "PDF": b"%PDF-1.7\n",
    "PostScript (EPS)": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a Photoshop file (PSD)": b"8BPS\0\1",
    "a ZIP archive": b"PK\3\4", "SVG": b'<?xml version="1.0"?>\n<svg xmlns="">', "an icon (ICO)": b"\0\0\1\0\1\0",
    "a web page": b"\n<!DOCTYPE html><html>", "DICOM": b"\0" * 128 + b"DICM",
    "a Canon raw image (CR2)": b"II*\0\x10\0\0\0CR\2\0",
}


@pytest.mark.parametrize("found", FOREIGN)
def test_other_formats_are_named_and_no_reader_of_theirs_is_started(tmp_path, found, monkeypatch):
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was called"))
    for name in ("a.jpg", "b.eps"):
        assert f"got {found}; " in header_of(tmp_path, FOREIGN[found] + b" " * 300, name)


@pytest.mark.parametrize(("content", "words"), [
    (b"", "got an empty file; fetch"), (b"\0" * 5000, "got nothing but zero bytes; fetch"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS pointer; type `git lfs pull`"),
    (b"/annex/objects/MD5E-s9--0.jpg", "type `git annex get`"), (b"no image", "no known image format"),
    (b"\x07\xfe\x80" * 33, "no known image format"), (b"BM", "damaged or cut short"),
    (b"\xff\xd8\xff", "damaged or cut short"), (b"P5 \n", "damaged or cut short"), (b"RIFF\0\0\0\0WEBP", "damaged"),
    (b"II*\0", "damaged"), (b"GIF89a", "damaged"), (b"\x89PNG\r\n\x1a\n", "damaged")])
def test_files_that_hold_no_image(tmp_path, content, words):
    assert words in header_of(tmp_path, content)


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "TIFF"])
@pytest.mark.parametrize("count", [2, 5])
def test_several_frames_are_refused(tmp_path, name, count):
    frames = [Image.fromarray(np.full((30, 40, 3), 40 * row, dtype=np.uint8)) for row in range(count)]
    frames[0].save(tmp_path / "a.jpg", format=name, save_all=True, append_images=frames[1:])
    assert f"expected one picture, got {count} frames of a {name} file; save" in read(tmp_path, ["a.jpg"])


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_one_frame_and_a_phones_second_picture_are_accepted(tmp_path, name):
    frames = [Image.fromarray(NOISE), Image.fromarray(255 - NOISE)]
    frames[0].save(tmp_path / "a.jpg", format=name, save_all=True, append_images=frames[1:] if name == "MPO" else [])
    assert read(tmp_path, ["a.jpg"]).width == 40


@pytest.mark.parametrize(("kinds", "words"), [((0, 1), None), ((0, 4), None), ((0, 1, 1), None), ((0, 0), "2 frames"),
                                              ((0, 1, 0), "2 frames"), ((1, 0), "got a camera's raw image")])
def test_overviews_and_masks_in_a_tiff_are_no_pictures_of_their_own(tmp_path, kinds, words):
    from PIL.TiffImagePlugin import AppendingTiffWriter, ImageFileDirectory_v2

    with AppendingTiffWriter(str(tmp_path / "a.tif"), True) as file:
        for kind in kinds:
            tags = ImageFileDirectory_v2()
            tags[254] = kind
            Image.fromarray(NOISE).save(file, format="TIFF", tiffinfo=tags)
            file.newFrame()
    found = read(tmp_path, ["a.tif"])
    assert found.width == 40 if words is None else words in found


def test_too_many_pixels(tmp_path):
    Image.new("1", (12_000, 8041)).save(tmp_path / "a.png")
    assert read(tmp_path, ["a.png"], 178_000_000).width == 12_000  # above the line where Pillow warns
    assert "expected at most 90000000 pixels, got more (12000 × 8041 pixels); raise data.max_pixels" in read(
        tmp_path, ["a.png"], 90_000_000)
    cache = tmp_path / "cache.npz"
    assert read(tmp_path, ["a.png"], 178_000_000, cache).width == 12_000
    assert "raise data.max_pixels" in read(tmp_path, ["a.png"], 1000, cache)


def test_too_large_a_file_is_not_decoded_to_see_more_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr("mgral.data.headers.load", lambda _: pytest.fail("decoded"))
    monkeypatch.setattr("mgral.data.decoding.load", lambda _: pytest.fail("decoded"))
    for content in (encoded("PNG", ramp(4079, (40, 40))), encoded("BMP")[:-9], encoded("PPM")):
        assert "raise data.max_pixels" in header_of(tmp_path, content, max_pixels=1000)


def test_pillows_own_limit_is_named_where_it_cannot_be_passed(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    assert "at most 1000 pixels, got more (Image size (1200 pixels)" in header_of(tmp_path, encoded("WEBP"))
    assert isinstance(header_of(tmp_path, encoded("TIFF")), Header)
    with pytest.raises(DataError, match="Pillow reads no larger ones of this format; scale the image"):
        decode(tmp_path / "a.jpg", 4, 3)


def test_a_tiff_that_only_its_xmp_data_turn(tmp_path):
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()
    tags[700] = b'<x:xmpmeta tiff:Orientation="6"/>'
    header = header_of(tmp_path, encoded("TIFF", tiffinfo=tags), "a.tif")
    assert (header.width, header.height) == (30, 40)
    with Image.open(tmp_path / "a.tif") as image:
        image.load()
        assert image.size == (30, 40)


def test_floating_point_pixels_are_refused_before_they_are_decoded(tmp_path):
    Image.fromarray(np.zeros((6, 8), dtype=np.float32)).save(tmp_path / "a.tif")
    assert "floating-point pixels, whose range nobody knows; replace the file" in read(tmp_path, ["a.tif"])


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    os.symlink("loop.jpg", tmp_path / "loop.jpg")
    os.symlink("/dev/zero", tmp_path / "zero.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.jpg")) if len(str(tmp_path)) < 90 else (tmp_path / "s.jpg").mkdir()
    expected = {"pipe.jpg": "a named pipe", "folder.jpg": "a folder", "loop.jpg": "symbolic links",
                "zero.jpg": "a device", "s.jpg": "got a ", "x" * 5000 + ".jpg": "of 5", "a\0b.jpg": "null byte",
                "a\ud800.jpg": "a file name that the system can hold"}
    for name, words in expected.items():
        assert words in read(tmp_path, [name])
        assert len(read(tmp_path, [name])) < 500 + len(str(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    (tmp_path / "a.jpg").write_bytes(WHOLE["jpg"])
    (tmp_path / "a.jpg").chmod(0)
    assert "Permission denied" in read(tmp_path, ["a.jpg"])


def test_missing_files_are_one_line_that_tells_a_lost_one_from_a_wrong_folder(tmp_path):
    for row in range(4):
        (tmp_path / f"{row}.jpg").write_bytes(WHOLE["jpg"])
    known = [f"{row}.jpg" for row in range(4)]
    assert "got nothing there; restore it or take it out of the data set (1 of 5 images)" in read(
        tmp_path, [*known, "gone.jpg"])
    gone = [f"gone/{row}.jpg" for row in range(500)]
    assert "expected 504 image files, got nothing at 500 of them (gone/0.jpg, gone/1.jpg, gone/2.jpg, …); restore" in (
        read(tmp_path, [*known, *gone]))
    assert "expected 500 image files, got none of them (gone/0.jpg, gone/1.jpg, gone/2.jpg, …); check that the" in (
        read(tmp_path, gone))


def test_like_faults_are_counted(tmp_path):
    for row in range(50):
        (tmp_path / f"{row}.jpg").write_bytes(FOREIGN["HEIC"])
        (tmp_path / f"{row}.png").write_bytes(b"")
    findings = Findings()
    assert read_headers(tmp_path, os.listdir(tmp_path), None, 10**6, findings) == {}
    assert len(findings.problems) == 6
    assert sum("and 47 more like this" in line for line in findings.problems) == 2


def test_names_that_end_lines_do_not_end_the_message(tmp_path):
    assert "a\\nb.jpg: expected" in header_of(tmp_path, b"", "a\nb.jpg")


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
@pytest.mark.parametrize("top", [0, 255, 4079, 65_535])
def test_the_brightest_value_of_sixteen_bits(tmp_path, name, top):
    assert header_of(tmp_path, encoded(name, ramp(top))).brightest == top


@pytest.mark.parametrize("write", [wide_png, wide_tiff])
def test_the_brightest_value_of_sixteen_bit_colours_is_at_most_255_too_large(tmp_path, write):
    assert header_of(tmp_path, write(ramp(4079, colours=3))).brightest == 4095
    assert header_of(tmp_path, write(ramp(65_535, colours=3))).brightest == 65_535


def header(brightest):
    return Header(4, 3, 1, brightest, "0")


@pytest.mark.parametrize(("tops", "white"), [
    ([4079, 100, None], 4095), ([8191], 8191), ([8192], 65_535), ([65_535, 12], 65_535), ([255], 255), ([256], 511),
    ([0], 65_535), ([None], 65_535), ([], 65_535), ([1], 1)])
def test_white_is_told_from_all_images(tops, white):
    findings = Findings()
    assert white_of(map(header, tops), None, findings) == white
    assert len(findings.notes) == (white < 65_535)


def test_white_as_set(tmp_path):
    findings = Findings()
    assert white_of([header(4079)], 4095, findings) == 4095
    assert findings.notes == ()
    assert white_of([header(4079)], 1000, findings) == 1000
    assert "brightest value 4079, above data.image_range; all above 1000 is white" in findings.notes[0]


def test_the_note_says_what_was_assumed():
    findings = Findings()
    white_of([header(4079)], None, findings)
    assert findings.notes == ("16-bit images: brightest value 4079 of 65535; taken as 12-bit, 4095 = white; set "
                              "data.image_range if that is wrong",)


def test_slow_files_are_read_by_threads_in_the_same_order(tmp_path, monkeypatch):
    for row in range(150):
        Image.new("L", (row + 1, 2)).save(tmp_path / f"{row}.png")
    names = [f"{row}.png" for row in range(150)]
    monkeypatch.setattr("mgral.data.headers.SLOW", 0.0)
    calls = []
    headers = read_headers(tmp_path, names, None, 10**6, Findings(), lambda *done: calls.append(done))
    assert [header.width for header in headers.values()] == list(range(1, 151))
    assert calls == [(64, 150), (128, 150), (150, 150)]


def test_files_of_the_same_bytes(tmp_path):
    middle = bytearray(encoded("BMP", np.zeros((200, 200, 3), dtype=np.uint8)))
    contents = {"b.bmp": bytes(middle), "a.bmp": bytes(middle), "sub/c.png": WHOLE["png"], "z.png": WHOLE["png"],
                "other.jpg": WHOLE["jpg"]}
    middle[len(middle) // 2] = 1
    contents["d.bmp"] = bytes(middle)  # the same size and ends
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    headers = read_headers(tmp_path, list(contents), None, 10**6, Findings())
    assert headers["d.bmp"].digest == headers["a.bmp"].digest
    assert same_files(headers, tmp_path) == [("a.bmp", "b.bmp"), ("sub/c.png", "z.png")]


def test_reading_nothing(tmp_path):
    assert read_headers(tmp_path, [], tmp_path / "c.npz", 10, Findings()) == {}


def test_the_kind_of_a_fault_is_a_data_error():
    from mgral.data.decoding import ImageFault

    assert isinstance(ImageFault("damaged", "a: expected b"), DataError)
