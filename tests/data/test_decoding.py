import os

import numpy as np
import pytest
from PIL import Image

from mgral.data.decoding import decode, each, opened, size_as_seen
from mgral.errors import DataError
from tests.data.pictures import wide_png, wide_tiff


def corners(path, width=8, height=6):
    """Mean colours of the four corners: top left, top right, bottom left, bottom right."""
    pixels = decode(path, width, height)
    assert pixels.shape == (height, width, 3)
    assert pixels.dtype == np.uint8
    return [pixels[y, x].tolist() for y in (0, -1) for x in (0, -1)]


@pytest.fixture
def quarters():
    pixels = np.zeros((60, 80, 3), dtype=np.uint8)
    pixels[:30, :40], pixels[:30, 40:], pixels[30:, :40], pixels[30:, 40:] = (200, 0, 0), (0, 200, 0), (0, 0, 200), 90
    return Image.fromarray(pixels)


def test_grey_is_repeated(tmp_path, quarters):
    quarters.convert("L").save(tmp_path / "a.png")
    assert corners(tmp_path / "a.png") == [[60] * 3, [117] * 3, [23] * 3, [90] * 3]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1", "LA"])
def test_modes_become_rgb(tmp_path, quarters, mode):
    image = quarters.quantize(8) if mode == "P" else quarters.convert(mode)
    image.save(tmp_path / "a.png")
    expected = np.asarray(image.convert("RGB").resize((8, 6), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(corners(tmp_path / "a.png"), expected[[0, 0, -1, -1], [0, -1, 0, -1]], atol=3)


def test_palette_with_transparency(tmp_path, quarters):
    quarters.convert("P").save(tmp_path / "a.png", transparency=bytes([0, 128, 255]))
    assert np.abs(np.array(corners(tmp_path / "a.png")[0]) - (200, 0, 0)).max() < 40


def test_transparency_is_dropped(tmp_path):
    Image.new("RGBA", (8, 6), (10, 20, 30, 0)).save(tmp_path / "a.png")
    assert corners(tmp_path / "a.png")[0] == [10, 20, 30]


def test_sixteen_bits_keep_their_range(tmp_path):
    Image.fromarray(np.full((6, 8), 40_000, dtype=np.uint16)).save(tmp_path / "a.png")
    assert corners(tmp_path / "a.png")[0] == [40_000 // 257] * 3


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_white_is_the_brightest_value_of_sixteen_bits(tmp_path, ending):
    Image.fromarray(np.full((6, 8), 4079, dtype=np.uint16)).save(tmp_path / f"a.{ending}")
    for white, value in ((None, 15), (65_535, 15), (4095, 254), (4079, 255), (1000, 255), (8191, 126)):
        assert (decode(tmp_path / f"a.{ending}", 8, 6, white) == value).all()


@pytest.mark.parametrize(("write", "channels", "error"), [(wide_png, 3, 0), (wide_png, 4, 0), (wide_png, 2, 0),
                                                          (wide_tiff, 3, 8)])
def test_white_of_sixteen_bit_colours(tmp_path, write, channels, error):
    pixels = np.random.default_rng(0).integers(0, 4096, (6, 8, channels))
    (tmp_path / "a").write_bytes(write(pixels))
    colours = pixels[..., :3] if channels > 2 else pixels[..., :1].repeat(3, axis=2)
    expected = colours * 255 // 4095
    assert np.abs(decode(tmp_path / "a", 8, 6, 4095).astype(int) - expected).max() <= error
    np.testing.assert_array_equal(decode(tmp_path / "a", 8, 6), colours // 256)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_white_does_not_change_eight_bits(tmp_path, quarters, mode):
    quarters.convert(mode).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode(tmp_path / "a.png", 8, 6, 100), decode(tmp_path / "a.png", 8, 6))


def test_large_images_are_decoded_one_at_a_time(tmp_path, monkeypatch, quarters):
    inside = []

    class Lock:
        def __enter__(self):
            inside.append(True)

        def __exit__(self, *_):
            pass

    quarters.save(tmp_path / "a.png")
    monkeypatch.setattr("mgral.data.decoding._one_large", Lock())
    decode(tmp_path / "a.png", 8, 6)
    assert not inside
    monkeypatch.setattr("mgral.data.decoding.LARGE", 80 * 60 - 1)
    decode(tmp_path / "a.png", 8, 6)
    assert inside


def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="expected an image file, got a named pipe; remove it"):
        decode(tmp_path / "a.jpg", 8, 6)


def test_postscript_under_another_name_starts_no_interpreter(tmp_path, monkeypatch):
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was called"))
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match=r"got PostScript \(EPS\); convert it to JPEG or PNG"):
        decode(tmp_path / "a.jpg", 8, 6)


def test_odd_metadata_is_passed_over_in_silence(tmp_path, quarters):
    quarters.save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0\xff\xff")
    ((pixels, problems),) = each(lambda path: decode(path, 8, 6), [tmp_path / "a.jpg"])
    assert (pixels.shape, problems) == ((6, 8, 3), ())


def test_pixels_above_pillows_own_limit(tmp_path, monkeypatch, quarters):
    quarters.save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert decode(tmp_path / "a.png", 8, 6).shape == (6, 8, 3)


def test_cmyk(tmp_path, quarters):
    quarters.convert("CMYK").save(tmp_path / "a.jpg", quality=98)
    np.testing.assert_allclose(corners(tmp_path / "a.jpg")[0], [200, 0, 0], atol=12)


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(np.zeros((6, 8), dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="got floating-point pixels, whose range nobody knows; replace the file"):
        decode(tmp_path / "a.tif", 8, 6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
def test_every_orientation_is_turned_upright(tmp_path, quarters, orientation, ending):
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Pillow's operation that undoes each orientation's remedy
    stored = quarters if orientation == 1 else quarters.transpose(Image.Transpose(back[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{ending}"
    stored.save(path, exif=exif, **({"quality": 98} if ending == "jpg" else {}))
    with opened(path) as image:
        assert size_as_seen(image) == (80, 60)
    np.testing.assert_allclose(corners(path), [[200, 0, 0], [0, 200, 0], [0, 0, 200], [90] * 3], atol=12)


def test_large_jpegs_are_averaged_not_sampled(tmp_path):
    checks = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checks).save(tmp_path / "a.jpg", quality=98)
    np.testing.assert_allclose(decode(tmp_path / "a.jpg", 32, 32), 127, atol=8)


@pytest.mark.parametrize("ending", ["jpg", "png"])
@pytest.mark.parametrize("size", [(320, 240), (20, 15)])
def test_truncated_image(tmp_path, ending, size):
    path = tmp_path / f"a.{ending}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(DataError, match=f"{path}: expected a readable image, got .*; replace the file or remove"):
        decode(path, *size)


def test_missing_image(tmp_path):
    with pytest.raises(DataError, match="expected an image file, got nothing there; restore it"):
        decode(tmp_path / "no.jpg", 8, 6)


def test_each_keeps_order_and_collects_problems():
    def half(number):
        if number % 2:
            raise DataError(f"{number} is odd", "twice said")
        return number // 2

    results = list(each(half, range(100)))
    assert results[4] == (2, ())
    assert results[5] == (None, ("5 is odd", "twice said"))
    assert [result for result, _ in results[::2]] == list(range(50))
