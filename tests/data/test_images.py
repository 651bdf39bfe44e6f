import hashlib
import os
import pickle
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from mgral.data.dataset import Dataset, ImageInfo
from mgral.data.images import PADDING, ImageStore
from mgral.errors import DataError
from mgral.files import sha256_of


@pytest.fixture
def dataset(tmp_path):
    """A wide, a tall and a small image, each of one colour."""
    images = {}
    for name, width, height, colour in (("wide", 200, 100, (250, 0, 0)), ("tall", 60, 120, (0, 250, 0)),
                                        ("small", 10, 5, (0, 0, 250))):
        Image.new("RGB", (width, height), colour).save(tmp_path / f"{name}.png")
        images[name] = ImageInfo(name, f"{name}.png", width, height)
    return Dataset(tmp_path, ("a",), (1,), images, {})


def test_geometry(dataset, tmp_path):
    store = ImageStore.open(dataset, 80, tmp_path / "store")
    assert store.canvas == (96, 96)
    assert len(store) == 3
    assert store.ids == ("wide", "tall", "small")
    assert [store.content(image_id) for image_id in store.ids] == [(40, 80), (80, 40), (40, 80)]
    assert [store.scale(image_id) for image_id in store.ids] == [80 / 200, 80 / 120, 8.0]


def test_canvas_is_no_larger_than_needed(dataset, tmp_path):
    wide = Dataset(tmp_path, ("a",), (1,), {"wide": dataset.images["wide"]}, {})
    assert ImageStore.open(wide, 96, tmp_path / "store").canvas == (64, 96)


def test_pixels_are_in_the_order_asked_for_with_padding(dataset, tmp_path):
    store = ImageStore.open(dataset, 80, tmp_path / "store")
    pixels = store.pixels(["small", "wide", "small"])
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (3, 3, 96, 96)
    assert pixels[0, :, :40, :80].flatten(1).unique(dim=1).flatten().tolist() == [0, 0, 250]
    assert pixels[1, :, 0, 0].tolist() == [250, 0, 0]
    assert (pixels[0, :, 40:] == PADDING).all()
    assert (pixels[0, :, :, 80:] == PADDING).all()


def test_pixels_are_a_copy(dataset, tmp_path):
    store = ImageStore.open(dataset, 80, tmp_path / "store")
    store.pixels(["wide"]).zero_()
    assert store.pixels(["wide"])[0, 0, 0, 0] == 250


def test_second_opening_decodes_nothing(dataset, tmp_path, monkeypatch):
    seen = []
    first = ImageStore.open(dataset, 80, tmp_path / "store", lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    monkeypatch.setattr("mgral.data.images.decode", None)
    second = ImageStore.open(dataset, 80, tmp_path / "store", lambda *_: pytest.fail("nothing to decode"))
    np.testing.assert_array_equal(first.array, second.array)


def test_changed_file_or_size_makes_another_store(dataset, tmp_path):
    ImageStore.open(dataset, 80, tmp_path / "store")
    ImageStore.open(dataset, 64, tmp_path / "store")
    Image.new("RGB", (200, 100), (1, 1, 1)).save(dataset.path("wide"))
    assert ImageStore.open(dataset, 80, tmp_path / "store").pixels(["wide"])[0, 0, 0, 0] == 1
    assert len(list((tmp_path / "store").glob("*.npy"))) == 3


def test_unfinished_store_is_built_again(dataset, tmp_path):
    ImageStore.open(dataset, 80, tmp_path / "store")
    path = next((tmp_path / "store").glob("*.npy"))
    path.write_bytes(path.read_bytes()[:500])
    assert ImageStore.open(dataset, 80, tmp_path / "store").pixels(["wide"])[0, 0, 0, 0] == 250
    path.with_suffix(".json").unlink()
    assert ImageStore.open(dataset, 80, tmp_path / "store").pixels(["wide"])[0, 0, 0, 0] == 250


def test_all_damaged_images_are_named_and_nothing_is_left(dataset, tmp_path):
    for name in ("wide", "small"):
        dataset.path(name).write_bytes(dataset.path(name).read_bytes()[:45])
    with pytest.raises(DataError, match="expected a readable image") as caught:
        ImageStore.open(dataset, 80, tmp_path / "store")
    assert len(caught.value.problems) == 2
    assert list((tmp_path / "store").iterdir()) == []


def test_missing_images(dataset, tmp_path):
    dataset.path("wide").unlink()
    dataset.path("tall").unlink()
    with pytest.raises(DataError, match="expected an image file, got nothing there") as caught:
        ImageStore.open(dataset, 80, tmp_path / "store")
    assert len(caught.value.problems) == 2


def test_digests_are_those_of_the_files(dataset, tmp_path):
    for _ in range(2):
        store = ImageStore.open(dataset, 80, tmp_path / "store")
        assert store.digests == {image_id: hashlib.sha256(dataset.path(image_id).read_bytes()).hexdigest()[:16]
                                 for image_id in dataset.images}


def test_replaced_pixels_of_the_same_size_and_time_are_decoded_again(dataset, tmp_path):
    path = dataset.path("wide").with_suffix(".bmp")
    dataset = replace(dataset, images={"wide": replace(dataset.images["wide"], file_name=path.name)})
    Image.new("RGB", (200, 100), (250, 0, 0)).save(path)
    before = ImageStore.open(dataset, 80, tmp_path / "store").digests
    times = path.stat()
    time.sleep(0.02)  # the clock of file times ticks every few milliseconds
    Image.new("RGB", (200, 100), (1, 1, 1)).save(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    store = ImageStore.open(dataset, 80, tmp_path / "store")
    assert store.pixels(["wide"])[0, 0, 0, 0] == 1
    assert store.digests["wide"] != before["wide"]


def test_files_that_were_only_touched_are_not_decoded_again(dataset, tmp_path, monkeypatch):
    ImageStore.open(dataset, 80, tmp_path / "store")
    time.sleep(0.02)
    dataset.path("wide").chmod(0o600)
    hashed = []
    monkeypatch.setattr("mgral.data.images.decode", None)
    monkeypatch.setattr("mgral.data.images.sha256_of", lambda path: hashed.append(path.name) or sha256_of(path))
    for _ in range(2):
        ImageStore.open(dataset, 80, tmp_path / "store")
    assert hashed == ["wide.png"]


@pytest.mark.parametrize("damage", [lambda text: "", lambda text: text[:40], lambda text: "[]",
                                    lambda text: text.replace("digests", "other")])
def test_a_damaged_index_is_made_again(dataset, tmp_path, damage):
    first = ImageStore.open(dataset, 80, tmp_path / "store").digests
    index = next((tmp_path / "store").glob("*.json"))
    index.write_text(damage(index.read_text()))
    assert ImageStore.open(dataset, 80, tmp_path / "store").digests == first


def test_white_makes_another_store(dataset, tmp_path):
    Image.fromarray(np.full((100, 200), 4095, dtype=np.uint16)).save(dataset.path("wide"))
    assert ImageStore.open(dataset, 80, tmp_path / "store").pixels(["wide"])[0, 0, 0, 0] == 15
    assert ImageStore.open(replace(dataset, white=4095), 80, tmp_path / "store").pixels(["wide"])[0, 0, 0, 0] == 255


def test_too_little_room(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(DataError, match=r"expected 0\.0 GiB of free disk for the decoded images, got 0\.0; make room"):
        ImageStore.open(dataset, 80, tmp_path / "store")


def test_unknown_image(dataset, tmp_path):
    store = ImageStore.open(dataset, 80, tmp_path / "store")
    for ask in (lambda: store.pixels(["other"]), lambda: store.scale("other"), lambda: store.content("other")):
        with pytest.raises(ValueError, match="expected an image of the store, got 'other'"):
            ask()


def test_no_image(tmp_path):
    with pytest.raises(ValueError, match="expected a data set with at least one image, got none"):
        ImageStore.open(Dataset(tmp_path, (), (), {}, {}), 80, tmp_path)


def test_pixels_on_a_device_and_in_another_process_are_those_of_the_file(dataset, tmp_path):
    store = ImageStore.open(dataset, 80, tmp_path / "store")
    assert store.on("cpu") is store
    resident = replace(store, resident=torch.from_numpy(np.array(store.array)))
    elsewhere = pickle.loads(pickle.dumps(resident))
    assert elsewhere.resident is None
    assert len(pickle.dumps(store)) < store.array.nbytes / 4  # a process maps the file, it is not sent the pixels
    for copied in (resident, elsewhere):
        assert torch.equal(copied.pixels(["small", "wide"]), store.pixels(["small", "wide"]))
