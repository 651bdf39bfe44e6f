import json

import numpy as np
import pytest
from PIL import Image

from mgral.config import DataConfig, SyntheticConfig
from mgral.data import synthetic
from mgral.data.drawing import SHAPES, thing
from mgral.data.formats import load_dataset
from mgral.data.synthetic import CLASSES, draw_scene, near_copy, write_scenes

SMALL = SyntheticConfig(pool=40, reward=8, test=8, image_size=48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("scenes")
    write_scenes(SMALL, path, seed=3)
    return path


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_scenes_pass_the_checks_of_every_data_set(folder):
    dataset = load_dataset(DataConfig(), folder).dataset
    assert [len(dataset.splits[name]) for name in ("train", "reward", "test")] == [40, 8, 8]
    assert dataset.classes == CLASSES
    assert {(image.width, image.height) for image in dataset.images.values()} == {(48, 48)}
    assert set(dataset.boxes) == set(dataset.images)


def test_same_seed_same_files(folder, tmp_path):
    write_scenes(SMALL, tmp_path / "again", seed=3)
    assert contents(tmp_path / "again") == contents(folder)
    write_scenes(SMALL, tmp_path / "other", seed=4)
    assert contents(tmp_path / "other")["train_00001.jpg"] != contents(folder)["train_00001.jpg"]


def test_written_scenes_are_left_alone_and_others_replaced(tmp_path, monkeypatch):
    tiny = SyntheticConfig(pool=3, reward=1, test=1, image_size=32)
    write_scenes(tiny, tmp_path, seed=0)
    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "draw_scene", lambda *_: pytest.fail("drew scenes that were there"))
        write_scenes(tiny, tmp_path, seed=0)
    write_scenes(tiny.model_copy(update={"pool": 2}), tmp_path, seed=0)
    assert len(list((tmp_path / "images").glob("train_*.jpg"))) == 2


def test_unfinished_scenes_are_drawn_again(tmp_path, monkeypatch):
    tiny = SyntheticConfig(pool=3, reward=1, test=1, image_size=32)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "near_copy", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_scenes(tiny, tmp_path, seed=0)
    write_scenes(tiny, tmp_path, seed=0)
    assert len(load_dataset(DataConfig(), tmp_path).dataset.images) == 5


def test_scenes_half_overwritten_by_others_are_drawn_again(tmp_path, monkeypatch):
    tiny = SyntheticConfig(pool=3, reward=1, test=1, image_size=32, duplicates=1.0)
    write_scenes(tiny, tmp_path, seed=0)
    before = contents(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(synthetic, "near_copy", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_scenes(tiny, tmp_path, seed=1)
    write_scenes(tiny, tmp_path, seed=0)
    assert contents(tmp_path) == before


def test_shares_of_the_config_are_met(tmp_path):
    config = SyntheticConfig(pool=200, reward=1, test=1, image_size=32, duplicates=0.3, empty=0.25, spoiled=0)
    write_scenes(config, tmp_path, seed=1)
    content = json.loads((tmp_path / "annotations" / "instances_train.json").read_text())
    empty = 200 - len({entry["image_id"] for entry in content["annotations"]})
    assert 30 <= empty <= 75
    counts = np.bincount([entry["category_id"] for entry in content["annotations"]], minlength=7)[1:]
    assert counts[0] > counts[3] > counts[4:].max()
    assert counts.min() > 0


def test_a_burst_shows_one_scene(tmp_path):
    config = SyntheticConfig(pool=40, reward=1, test=1, image_size=48, duplicates=0.5, empty=0, spoiled=0)
    write_scenes(config, tmp_path, seed=1)
    small = [np.asarray(Image.open(path).resize((6, 6))).astype(float).ravel()
             for path in sorted((tmp_path / "images").glob("train_*.jpg"))]
    likeness = np.corrcoef(small)
    neighbours = np.diagonal(likeness, 1) > 0.9
    assert 12 <= neighbours.sum() <= 28
    assert np.abs(likeness[np.tril_indices(40, -3)]).mean() < 0.6


def test_empty_scene_has_no_boxes():
    assert len(draw_scene(np.random.default_rng(0), 48, empty=True).labels) == 0


def test_boxes_are_tight_and_inside():
    for seed in range(20):
        scene = draw_scene(np.random.default_rng(seed), 48)
        assert len(scene.labels) == len(scene.xyxy)
        assert (scene.xyxy >= 0).all()
        assert (scene.xyxy <= 48).all()
        assert (scene.xyxy[:, 2:] - scene.xyxy[:, :2] >= 1).all()


def test_near_copy_moves_boxes_with_the_pixels():
    pixels = np.full((96, 96, 3), 20, dtype=np.uint8)
    pixels[30:60, 40:70] = 200
    scene = synthetic.Scene(pixels, np.array([[40.0, 30, 70, 60]]), np.array([2]))
    for seed in range(10):
        copy = near_copy(np.random.default_rng(seed), scene)
        rows, columns = np.nonzero(copy.pixels[..., 0] > 100)
        extent = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(copy.xyxy[0], extent, atol=1.5)
        assert copy.labels.tolist() == [2]


def test_near_copy_drops_boxes_that_the_crop_cuts_off():
    scene = synthetic.Scene(np.zeros((96, 96, 3), dtype=np.uint8),
                            np.array([[0.0, 0, 3, 3], [93, 93, 96, 96], [30, 30, 60, 60]]), np.array([0, 1, 2]))
    left = [near_copy(np.random.default_rng(seed), scene).labels.tolist() for seed in range(20)]
    assert all(2 in labels for labels in left)
    assert [2] in left


@pytest.mark.parametrize("name", SHAPES)
def test_things_differ_within_a_class(name):
    drawn = [thing(np.random.default_rng(seed), name, 40) for seed in range(5)]
    assert all(mask.any() and colours.shape == (*mask.shape, 3) for colours, mask in drawn)
    assert len({mask.tobytes() for _, mask in drawn}) == 5
