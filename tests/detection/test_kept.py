"""What frozen stages make of images is computed once, kept whole or not at all, and the same whoever asks."""

import numpy as np
import pytest
import torch

from mgral.config import DetectorConfig
from mgral.data.augment import TRAIN, view
from mgral.data.images import ImageStore
from mgral.detection import Detector, build_detector, inspect, kept
from mgral.detection.building import built, load_mmdet
from mgral.detection.detector import Maps
from mgral.detection.kept import looked_at, views_of
from mgral.detection.presets import model_config
from mgral.randomness import stream
from tests.detection.scenes import Scenes

CLASSES = ("cat", "dog")
IDS = ("i0.jpg", "i3.jpg", "i1.jpg")


def random_lite0(frozen=3, seed=0, **settings) -> Detector:
    """With random weights: what is kept does not depend on what they are, and no package is needed."""
    load_mmdet()
    config = DetectorConfig(preset="lite0", image_size=64, frozen_stages=frozen, **settings)
    model, channels = built(model_config(config, CLASSES), "lite0", seed, first_weights=False)
    return Detector(config, CLASSES, model, channels).eval()


@pytest.fixture
def detector():
    return random_lite0()


@pytest.fixture
def store(toy, tmp_path):
    return ImageStore.open(toy, 64, tmp_path / "store").with_views(3)


@pytest.fixture
def counted(monkeypatch):
    """Images that were computed."""
    made, frozen = [], Detector.frozen
    monkeypatch.setattr(Detector, "frozen", lambda self, pixels: made.append(len(pixels)) or frozen(self, pixels))
    return made


def same(some: Maps, others: Maps) -> bool:
    assert some.shape == others.shape
    return all(torch.equal(one, other) for one, other in zip(some.maps, others.maps, strict=True))


def another_process():
    kept._opened.cache_clear()


def test_each_image_and_view_is_computed_once(detector, store, counted):
    first, drawn = looked_at(detector, store, IDS), views_of(detector, store, IDS, (0, 2, 0))
    assert counted == [1] * 6
    assert same(first, looked_at(detector, store, IDS))
    assert same(drawn.pixels, views_of(detector, store, IDS, (0, 2, 0)).pixels)
    another_process()
    again = looked_at(detector, store, IDS[::-1])
    assert counted == [1] * 6
    assert all(torch.equal(one.flip(0), other) for one, other in zip(first.maps, again.maps, strict=True))
    views_of(detector, store, IDS, (1, 2, 0))
    assert counted == [1] * 7


def test_kept_or_not_the_numbers_are_the_same(detector, store, monkeypatch):
    found = looked_at(detector, store, IDS)
    another_process()
    read = looked_at(detector, store, IDS)
    monkeypatch.setattr(kept, "_kept", lambda *_: None)
    for maps in (read, looked_at(detector, store, IDS)):
        assert same(maps, found)
    pixels = store.pixels(IDS)
    for level, wanted in zip(found.maps, detector.frozen(pixels), strict=True):
        assert level.shape == wanted.shape
        torch.testing.assert_close(level, wanted, rtol=1e-2, atol=1e-3)
    assert len(found) == 3
    assert found.shape == tuple(pixels.shape)


def test_detections_and_embeddings_from_what_is_kept_are_those_from_pixels(detector, store):
    there, plain = inspect(detector, store, IDS), inspect(detector, store.with_views(None), IDS)
    np.testing.assert_allclose(there.embedding, plain.embedding, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(there.class_scores, plain.class_scores, atol=1e-3)


def test_a_view_is_that_of_its_image_and_number_alone(detector, store):
    three, seven = views_of(detector, store, IDS, (2, 0, 1)), views_of(detector, store.with_views(7), IDS, (2, 0, 1))
    alone = views_of(detector, store, IDS[1:2], (0,))
    assert torch.equal(three.matrices, seven.matrices)
    assert same(three.pixels, seven.pixels)
    assert torch.equal(alone.matrices[0], three.matrices[1])
    assert torch.equal(alone.pixels.maps[0][0], three.pixels.maps[0][1])
    others = views_of(detector, store, IDS, (1, 1, 0))
    assert not any(torch.equal(one, other) for one, other in zip(three.matrices, others.matrices, strict=True))


def test_a_detector_without_frozen_stages_gets_the_pixels_of_the_same_views(store, detector):
    tiny = build_detector(DetectorConfig(image_size=64), CLASSES, 0)
    assert torch.equal(looked_at(tiny, store, IDS), store.pixels(IDS))
    seen = views_of(tiny, store, IDS, (2, 0, 1))
    assert torch.equal(seen.matrices, views_of(detector, store, IDS, (2, 0, 1)).matrices)
    for row, (image_id, number) in enumerate(zip(IDS, (2, 0, 1), strict=True)):
        generator = stream("view", store.digests[image_id], number)
        wanted = view(store.pixels([image_id]), torch.tensor([store.content(image_id)]), TRAIN, generator)
        assert torch.equal(seen.pixels[row:row + 1], wanted.pixels)
        assert torch.equal(seen.matrices[row:row + 1], wanted.matrices)


def test_without_fixed_views_a_detector_gets_pixels(detector, store):
    assert torch.equal(looked_at(detector, store.with_views(None), IDS), store.pixels(IDS))


def test_images_without_a_file_are_computed_each_time(detector, counted):
    scenes = Scenes(3).with_views(2)
    found = looked_at(detector, scenes, scenes.ids)
    assert same(found, looked_at(detector, scenes, scenes.ids))
    assert counted == [1] * 6


def maps_file(store):
    (path,) = store.path.parent.glob("*.maps")
    return path


def test_a_torn_block_is_computed_again(detector, store, counted):
    found = looked_at(detector, store, IDS)
    content = bytearray(maps_file(store).read_bytes())
    size = sum(np.prod(shape) for shape in detector.prefix.kept_shapes(store.canvas)) * 2
    place = kept.PAGE + store.row[IDS[1]] * 4 * size
    assert bytes(content[place:place + size]).strip(b"\0")
    content[place + size // 2] ^= 1
    maps_file(store).write_bytes(content)
    another_process()
    assert same(looked_at(detector, store, IDS), found)
    assert counted == [1] * 4
    another_process()
    assert same(looked_at(detector, store, IDS), found)
    assert counted == [1] * 4, "and it is whole again"


def test_another_image_in_its_place_is_another_one(detector, store, counted):
    for _ in range(2):
        looked_at(detector, store, IDS)
    fields = {name: getattr(store, name) for name in type(store).__dataclass_fields__}
    changed = list(store.hashes)
    changed[store.row[IDS[0]]] = "0" * 16
    looked_at(detector, type(store)(**{**fields, "hashes": tuple(changed)}), IDS)
    assert counted == [1] * 4


def test_two_files_at_once_see_what_the_other_wrote(store, tmp_path):
    path, block = tmp_path / "two.maps", np.arange(6, dtype=np.float16)
    one, other = kept.Kept(path, 4, 2, 6), kept.Kept(path, 4, 2, 6)
    assert other.read(3, 1, "a") is None
    one.write(3, 1, "a", block)
    np.testing.assert_array_equal(other.read(3, 1, "a"), block)
    other.write(3, 1, "a", block)
    other.write(0, 0, "b", 2 * block)
    np.testing.assert_array_equal(one.read(0, 0, "b"), 2 * block)
    assert one.read(0, 1, "b") is None
    assert kept.Kept(path, 4, 2, 6).read(3, 1, "other image") is None
    assert path.stat().st_size == kept.PAGE + 4 * 2 * 6 * 2


def test_a_full_disk_is_noted_once_and_nothing_is_lost(detector, store, counted, heard, monkeypatch):
    free = kept.shutil.disk_usage(store.path.parent)._replace(free=kept.LEAST_FREE)
    monkeypatch.setattr(kept.shutil, "disk_usage", lambda _: free)
    found = looked_at(detector, store, IDS)
    assert same(looked_at(detector, store, IDS), found)
    assert counted == [1] * 6
    (note,) = heard.notes
    assert "expected 2 GiB of free disk and more, got less; what frozen stages make of images is no longer kept" in note


def test_a_file_that_cannot_be_made_is_noted(detector, store, heard, monkeypatch):
    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(kept.os, "open", refuse)
    another_process()
    assert len(looked_at(detector, store, IDS)) == 3
    assert "expected to keep what frozen stages make of images, got Read-only file system" in heard.notes[0]
    another_process()


@pytest.mark.parametrize("other", [{"seed": 1}, {"frozen": 4}, {"precision": "bfloat16"}])
def test_other_weights_stages_or_numbers_have_a_file_of_their_own(detector, store, other):
    looked_at(detector, store, IDS)
    looked_at(random_lite0(**other), store, IDS)
    assert len(list(store.path.parent.glob("*.maps"))) == 2


def test_weights_that_are_written_to_are_other_weights(detector, store):
    before = looked_at(detector, store, IDS)
    with torch.no_grad():
        detector.prefix.stem.norm.bias.add_(1)
    assert not same(before, looked_at(detector, store, IDS))
    learning = detector.prefix.stages[5][0].project.norm.bias
    with torch.no_grad():
        learning.add_(1)
    looked_at(detector, store, IDS)
    assert len(list(store.path.parent.glob("*.maps"))) == 2, "those of stages that learn do not count"


@pytest.mark.parametrize(("settings", "views", "most"), [
    ({"preset": "lite0", "frozen_stages": 3}, 2, 24 * 16 * 16 + 40 * 8 * 8), ({"preset": "lite0"}, None, 0),
    ({"preset": "lite0", "frozen_stages": -1}, 2, 0), ({"preset": "tiny"}, 2, 0), ({"config": "model.py"}, 2, 0)])
def test_how_much_is_kept_at_most_is_known(settings, views, most):
    """Ten images, four of them trained on in all their views, at two bytes a number."""
    found = kept.most_kept(DetectorConfig(**settings), (64, 64), 10, 4, views)
    assert found == most * 2 * (10 + 4 * (views or 0))


@pytest.mark.parametrize("frozen", range(8))
@pytest.mark.parametrize("canvas", [(64, 96), (32, 32)])
def test_shapes_are_known_before_anything_is_computed(frozen, canvas):
    prefix = random_lite0(frozen).prefix
    found = [tuple(level.permute(0, 2, 3, 1).shape[1:]) for level in prefix.frozen(torch.zeros(1, 3, *canvas))]
    assert prefix.kept_shapes(canvas) == found
