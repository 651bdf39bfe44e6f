import json

import pytest

from mgral.config import DataConfig
from mgral.data.dataset import Boxes, Dataset
from mgral.data.splits import Splits, check_budget, draw_splits, read_splits, write_splits
from mgral.errors import ConfigError, DataError
from tests.small_data import blank_dataset

POOL = {f"p{row:02d}": [row % 3] for row in range(30)}
OTHERS = {"r1": [0], "r2": [1], "t1": [2]}
SPLITS = {"train": list(POOL), "reward": ["r2", "r1"], "test": ["t1"]}
CONFIG = DataConfig(labelled=10)


@pytest.fixture
def dataset():
    return blank_dataset({**POOL, **OTHERS}, SPLITS)


def test_named_splits_stay_and_the_pool_is_divided(dataset):
    splits = draw_splits(dataset, CONFIG, seed=1)
    assert splits.reward == ("r1", "r2")
    assert splits.test == ("t1",)
    assert len(splits.labelled) == 10
    assert sorted(splits.labelled + splits.pool) == sorted(POOL)


def test_shares_of_the_pool_are_set_aside_first(dataset):
    splits = draw_splits(dataset, DataConfig(labelled=10, reward=0.2, test=0.1), seed=1)
    assert [len(ids) for ids in (splits.labelled, splits.pool, splits.reward, splits.test)] == [10, 11, 6, 3]
    assert sorted(splits.labelled + splits.pool + splits.reward + splits.test) == sorted(POOL)


def test_same_seed_same_splits_whatever_the_order_of_files(dataset):
    turned = Dataset(dataset.root, dataset.classes, dataset.category_ids, dict(reversed(dataset.images.items())),
                     dataset.boxes, {**dataset.splits, "train": dataset.splits["train"][::-1]})
    assert draw_splits(dataset, CONFIG, seed=1) == draw_splits(turned, CONFIG, seed=1)
    assert draw_splits(dataset, CONFIG, seed=1) != draw_splits(dataset, CONFIG, seed=2)


def test_every_image_may_be_drawn(dataset):
    drawn = {image_id for seed in range(40) for image_id in draw_splits(dataset, CONFIG, seed).labelled}
    assert drawn == set(POOL)


def test_only_annotated_images_are_labelled_or_measured(dataset):
    known = {image_id: boxes for image_id, boxes in dataset.boxes.items() if image_id not in ("p00", "p01", "p02")}
    partly = Dataset(dataset.root, dataset.classes, dataset.category_ids, dataset.images, known, dataset.splits)
    splits = draw_splits(partly, DataConfig(labelled=18, reward=0.2, test=0.1), seed=0)
    assert splits.pool == ("p00", "p01", "p02")


def test_unknown_split(dataset):
    with pytest.raises(DataError, match="expected a split 'val' with images in it, got train, reward, test"):
        draw_splits(dataset, DataConfig(labelled=10, reward="val"), seed=0)


@pytest.mark.parametrize(("config", "match"), [
    (DataConfig(labelled=31), "data.labelled: expected 1 to 30 images, as many as are annotated .*, got 31"),
    (DataConfig(labelled=10, reward=0.0), "data.reward: expected 1 to 30 images, .* got 0"),
    (DataConfig(labelled=10, test=1.0, reward=0.5), "data.test: expected 1 to 15 images, .* got 30")])
def test_more_than_there_is(dataset, config, match):
    with pytest.raises(ConfigError, match=match):
        draw_splits(dataset, config, seed=0)


def test_labelled_images_without_any_box():
    nothing = blank_dataset({**{image_id: [] for image_id in POOL}, **OTHERS}, SPLITS)
    with pytest.raises(DataError, match=r"expected boxes in the first 10 labelled images, got none \(seed 7\)"):
        draw_splits(nothing, CONFIG, seed=7)
    crowd = {image_id: Boxes.of([(1, 1, 9, 9)], [0], [True]) for image_id in nothing.images}
    with pytest.raises(DataError, match="expected boxes in the first 10"):
        draw_splits(Dataset(nothing.root, ("a",), (1,), nothing.images, crowd, nothing.splits), CONFIG, seed=7)


def test_budget_beyond_the_pool():
    splits = Splits(("a",), ("b", "c", "d"), (), ())
    check_budget(splits, cycles=3, budget=1)
    with pytest.raises(ConfigError, match="at most the 3 images that are not labelled yet, got 2 × 2 = 4; lower one"):
        check_budget(splits, cycles=2, budget=2)


def test_written_and_read(dataset, tmp_path):
    splits = draw_splits(dataset, CONFIG, seed=1)
    write_splits(tmp_path / "splits.json", splits)
    assert read_splits(tmp_path / "splits.json") == splits


def test_edited_file_is_refused(dataset, tmp_path):
    path = tmp_path / "splits.json"
    write_splits(path, draw_splits(dataset, CONFIG, seed=1))
    content = json.loads(path.read_text())
    content["test"].append(content["pool"].pop())
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"expected the splits as they were drawn .*, got an edited file; restore it"):
        read_splits(path)


@pytest.mark.parametrize(("text", "match"), [
    ("{", "expected JSON, got"), ("[]", "expected labelled, pool, reward, test and sha256, got other content"),
    ('{"labelled": []}', "got other content; restore the file")])
def test_malformed_file_is_refused(tmp_path, text, match):
    path = tmp_path / "splits.json"
    path.write_text(text)
    with pytest.raises(DataError, match=match):
        read_splits(path)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="expected a split file, got nothing there; run `prepare` first"):
        read_splits(tmp_path / "splits.json")
