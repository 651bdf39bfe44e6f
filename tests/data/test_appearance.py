import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from mgral.data.appearance import appearances, near_copies
from mgral.data.synthetic import draw_scene, near_copy
from mgral.errors import DataError
from tests.small_data import BCCD

SIDE = 128


def scene(number, side=SIDE):
    return draw_scene(np.random.default_rng([5, number]), side)


@pytest.fixture(scope="module")
def pictures():
    return [Image.fromarray(scene(number).pixels) for number in range(40)]


def groups_of(folder, pictures, **options):
    """Groups of near-copies among pictures, as sets of their numbers."""
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number}.jpg", **{"quality": 90, **options})
    names = [f"{number}.jpg" for number in range(len(pictures))]
    found = near_copies(names, appearances(folder, names, None))
    assert found == sorted(tuple(sorted(group)) for group in found)
    return [{int(name.removesuffix(".jpg")) for name in group} for group in found]


def crop(picture, share):
    width, height = picture.size
    return picture.crop((0, round(height * share), round(width * (1 - share)), height))


COPIES = {
    "as it is": lambda picture: picture,
    "smaller": lambda picture: picture.resize((77, 77), Image.Resampling.LANCZOS),
    "larger, other sides": lambda picture: picture.resize((200, 190)),
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.08),
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.92),
    "grown by a crop": lambda picture: crop(picture, 0.016),
    "noisy": lambda picture: Image.fromarray((np.asarray(picture) + np.random.default_rng(0).normal(
        0, 3, (SIDE, SIDE, 3))).clip(0, 255).astype(np.uint8)),
}


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found_and_others_are_not(tmp_path, pictures, kind):
    groups = groups_of(tmp_path, [*pictures, *map(COPIES[kind], pictures)])
    right = [{number, number + 40} for number in range(40)]
    assert all(group in right for group in groups)
    assert len(groups) >= 39


def test_another_quality(tmp_path, pictures):
    groups = groups_of(tmp_path, [*pictures, *(Image.open(path) for path in written(tmp_path, pictures, 40))])
    assert len(groups) >= 38
    assert all(max(group) - min(group) == 40 for group in groups)


def written(folder, pictures, quality):
    (folder / "poor").mkdir()
    for number, picture in enumerate(pictures):
        picture.save(folder / "poor" / f"{number}.jpg", quality=quality)
        yield folder / "poor" / f"{number}.jpg"


def test_frames_of_one_camera_are_different_pictures(tmp_path):
    rng = np.random.default_rng(3)
    background = draw_scene(rng, 160, empty=True).pixels.astype(np.float32)
    frames = []
    for _ in range(40):
        frame = background * rng.uniform(0.97, 1.03) + rng.normal(0, 2, background.shape)
        y, x = rng.integers(0, 140, 2)
        frame[y:y + 18, x:x + 18] = rng.choice([[240, 240, 240], [10, 10, 10], [200, 40, 40]])
        frames.append(Image.fromarray(frame.clip(0, 255).astype(np.uint8)))
    assert groups_of(tmp_path, frames) == []
    assert groups_of(tmp_path, [*frames, frames[7]]) == [{7, 40}]


def test_a_closer_crop_in_other_light_is_another_picture_more_often_than_not(tmp_path):
    rng = np.random.default_rng(0)
    copies = [Image.fromarray(near_copy(rng, scene(number)).pixels) for number in range(40)]
    groups = groups_of(tmp_path, [*(Image.fromarray(scene(number).pixels) for number in range(40)), *copies])
    assert all(max(group) - min(group) == 40 for group in groups)
    assert 4 <= len(groups) <= 28


@pytest.mark.skipif(not BCCD.exists(), reason="needs the BCCD images")
def test_no_two_of_the_blood_smears_but_the_same_field_in_another_focus():
    folder = BCCD / "BCCD" / "JPEGImages"
    names = sorted(path.name for path in folder.glob("*.jpg"))
    assert near_copies(names, appearances(folder, names, None)) == [("BloodImage_00037.jpg", "BloodImage_00038.jpg")]


def test_pictures_without_contrast_are_no_copies(tmp_path):
    flat = [Image.new("RGB", (50, 50), colour) for colour in ("black", "black", "white", (9, 9, 9), "red", "blue")]
    assert groups_of(tmp_path, flat) == []


@pytest.mark.parametrize("change", [lambda rgb: 255 - rgb, lambda rgb: rgb[:, ::-1], lambda rgb: rgb[::-1],
                                    lambda rgb: rgb[..., [2, 1, 0]], lambda rgb: rgb // 2 + 100])
def test_negatives_mirror_images_and_other_colours_are_no_copies(tmp_path, pictures, change):
    changed = [Image.fromarray(np.ascontiguousarray(change(np.asarray(picture)))) for picture in pictures]
    assert groups_of(tmp_path, [*pictures, *changed]) == []


def test_a_turned_phone_picture_is_a_copy_of_the_upright_one(tmp_path, pictures):
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures[0].transpose(Image.Transpose.ROTATE_90).save(tmp_path / "phone.jpg", exif=exif)
    pictures[0].save(tmp_path / "upright.png")
    names = ["upright.png", "phone.jpg"]
    assert near_copies(names, appearances(tmp_path, names, None)) == [("phone.jpg", "upright.png")]


def test_many_copies_of_one_are_one_group(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr("mgral.data.appearance.CANDIDATES", 2)
    monkeypatch.setattr("mgral.data.appearance.BLOCK", 100)
    copies = [ImageEnhance.Brightness(pictures[3]).enhance(1 + number / 400) for number in range(30)]
    assert groups_of(tmp_path, [*pictures[:3], *copies, *pictures[4:]]) == [set(range(3, 33))]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.85, 1.2), st.integers(-15, 15))
def test_other_light_makes_a_copy_and_another_scene_none(seed, gain, offset):
    rng = np.random.default_rng(seed)
    one, other = rng.normal(110, 30, (2, 6, 6))
    smooth = [np.asarray(Image.fromarray(values.astype(np.float32)).resize((32, 32), Image.Resampling.BICUBIC))
              for values in (one, one * gain + offset, other)]
    thumbnails = np.stack([np.r_[values.clip(0, 255).ravel(), np.full(512, 128)] for values in smooth]).astype(np.uint8)
    assert near_copies("abc", thumbnails) == [("a", "b")]


def test_they_are_kept_until_a_file_changes(tmp_path, pictures, monkeypatch):
    names = [f"{number}.png" for number in range(6)]
    for name, picture in zip(names, pictures, strict=False):
        picture.save(tmp_path / name)
    calls, cache = [], tmp_path / "runs" / "appearances.npz"
    first = appearances(tmp_path, names, cache, None, lambda *done: calls.append(done))
    assert calls == [(number, 6) for number in range(1, 7)]
    assert (first.shape, first.dtype) == ((6, 1536), np.uint8)
    calls.clear()
    pictures[9].save(tmp_path / "2.png")
    second = appearances(tmp_path, names[::-1], cache, None, lambda *done: calls.append(done))[::-1]
    assert calls == [(1, 1)]
    assert [row for row in range(6) if (first[row] != second[row]).any()] == [2]
    monkeypatch.setattr("mgral.data.appearance.decode", lambda *_: pytest.fail("decoded"))
    np.testing.assert_array_equal(appearances(tmp_path, names, cache), second)


def test_white_counts(tmp_path):
    Image.fromarray(np.full((9, 9), 4095, dtype=np.uint16)).save(tmp_path / "a.png")
    cache = tmp_path / "c.npz"
    assert [appearances(tmp_path, ["a.png"], cache, white)[0, 0] for white in (None, 4095)] == [15, 255]


def test_files_that_do_not_decode_are_counted(tmp_path):
    for number in range(9):
        (tmp_path / f"{number}.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="got an empty file.*\n.*\n.*and 6 more like this") as caught:
        appearances(tmp_path, [f"{number}.jpg" for number in range(9)], tmp_path / "c.npz")
    assert len(caught.value.problems) == 3
    assert not (tmp_path / "c.npz").exists()


def test_no_and_one_image(tmp_path, pictures):
    assert near_copies([], appearances(tmp_path, [], None)) == []
    pictures[0].save(tmp_path / "a.png")
    assert near_copies(["a.png"], appearances(tmp_path, ["a.png"], None)) == []
