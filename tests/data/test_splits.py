import json
from dataclasses import replace

import pytest

from mgral.config import DataConfig
from mgral.data.dataset import Boxes, Dataset
from mgral.data.splits import (
    Splits,
    arrived,
    check_budget,
    draw_splits,
    draw_test,
    read_splits,
    write_splits,
)
from mgral.errors import ConfigError, DataError
from tests.small_data import blank_dataset

POOL = {f"p{row:02d}": [row % 3] for row in range(30)}
OTHERS = {"r1": [0], "r2": [1], "t1": [2]}
SPLITS = {"train": list(POOL), "reward": ["r2", "r1"], "test": ["t1"]}
CONFIG = DataConfig(labelled=10)


def drawn(dataset, config, seed=0, **more):
    return draw_splits(dataset, config, seed, **more)[0]


@pytest.fixture
def dataset():
    return blank_dataset({**POOL, **OTHERS}, SPLITS)


def test_named_splits_stay_and_the_pool_is_divided(dataset):
    splits = drawn(dataset, CONFIG, seed=1)
    assert splits.reward == ("r1", "r2")
    assert splits.test == ("t1",)
    assert len(splits.labelled) == 10
    assert sorted(splits.labelled + splits.pool) == sorted(POOL)


def test_shares_of_the_pool_are_set_aside_first(dataset):
    splits = drawn(dataset, DataConfig(pool="train", labelled=10, reward=0.2, test=0.1), seed=1)
    assert [len(ids) for ids in (splits.labelled, splits.pool, splits.reward, splits.test)] == [10, 11, 6, 3]
    assert sorted(splits.labelled + splits.pool + splits.reward + splits.test) == sorted(POOL)


def test_same_seed_same_splits_whatever_the_order_of_files(dataset):
    turned = Dataset(dataset.root, dataset.classes, dataset.category_ids, dict(reversed(dataset.images.items())),
                     dataset.boxes, {**dataset.splits, "train": dataset.splits["train"][::-1]})
    assert draw_splits(dataset, CONFIG, seed=1) == draw_splits(turned, CONFIG, seed=1)
    assert draw_splits(dataset, CONFIG, seed=1) != draw_splits(dataset, CONFIG, seed=2)


def test_every_image_may_be_drawn(dataset):
    labelled = {image_id for seed in range(40) for image_id in drawn(dataset, CONFIG, seed).labelled}
    assert labelled == set(POOL)


def test_only_annotated_images_are_labelled_or_measured(dataset):
    known = {image_id: boxes for image_id, boxes in dataset.boxes.items() if image_id not in ("p00", "p01", "p02")}
    partly = Dataset(dataset.root, dataset.classes, dataset.category_ids, dataset.images, known, dataset.splits)
    splits = drawn(partly, DataConfig(pool="train", labelled=19, reward=0.2, test=0.1), seed=0)
    assert splits.pool == ("p00", "p01", "p02")


def test_unknown_split(dataset):
    with pytest.raises(DataError, match="expected a split 'val' with images in it, got train, reward, test"):
        draw_splits(dataset, DataConfig(labelled=10, reward="val"), seed=0)


@pytest.mark.parametrize(("config", "match"), [
    (DataConfig(labelled=31), "data.labelled: expected 1 to 30 images, as many as are annotated .*, got 31"),
    (DataConfig(pool="train", labelled=10, reward=0.0), "data.reward: expected 1 to 30 images, .* got 0"),
    (DataConfig(pool="train", labelled=10, test=0.5, reward=1.0), "data.reward: expected 1 to 15 images, .* got 30")])
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
    with pytest.raises(ConfigError, match="expected images that are not labelled yet, got none; add images without .*"
                                          "data.labelled: 60 draws so many at random"):
        check_budget(Splits(("a",), (), (), ()), cycles=1, budget=1)
    with pytest.raises(ConfigError, match="at most the 3 images that are not labelled yet, got 2 × 2 = 4; lower one"):
        check_budget(splits, cycles=2, budget=2)


def test_written_and_read(dataset, tmp_path):
    splits = drawn(dataset, CONFIG, seed=1)
    write_splits(tmp_path / "splits.json", splits)
    assert read_splits(tmp_path / "splits.json") == splits


def test_edited_file_is_refused(dataset, tmp_path):
    path = tmp_path / "splits.json"
    write_splits(path, drawn(dataset, CONFIG, seed=1))
    content = json.loads(path.read_text())
    content["test"].append(content["pool"].pop())
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"expected the splits as they were drawn .*, got an edited file; restore it"):
        read_splits(path)


@pytest.mark.parametrize(("text", "match"), [
    ("{", "expected JSON, got"),
    ("[]", "expected labelled, pool, reward, test, left_out and sha256, got other content"),
    ('{"labelled": []}', "got other content; restore the file")])
def test_malformed_file_is_refused(tmp_path, text, match):
    path = tmp_path / "splits.json"
    path.write_text(text)
    with pytest.raises(DataError, match=match):
        read_splits(path)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="expected a split file, got nothing there; run `prepare` first"):
        read_splits(tmp_path / "splits.json")


def unlabelled(dataset, *without):
    return replace(dataset, boxes={image_id: boxes for image_id, boxes in dataset.boxes.items()
                                   if image_id not in without})


def test_what_is_annotated_is_labelled_and_the_rest_is_the_pool(dataset):
    pool = tuple(f"p{row:02d}" for row in range(20, 30))
    splits = drawn(unlabelled(dataset, *pool), DataConfig())
    assert splits.pool == pool
    assert (splits.reward, splits.test) == (("r1", "r2"), ("t1",))
    assert len(splits.labelled) == 20


def test_without_named_splits_a_fifth_each_is_set_aside(dataset):
    bare = replace(unlabelled(dataset, "p28", "p29"), splits={})
    splits = drawn(bare, DataConfig())
    assert [len(ids) for ids in (splits.labelled, splits.pool, splits.reward, splits.test)] == [19, 2, 6, 6]
    assert splits.pool == ("p28", "p29")


@pytest.mark.parametrize("names", [("valid", "test"), ("val2017", "testing"), ("Validation", "Test")])
def test_splits_are_known_by_their_names(dataset, names):
    val, test = names
    named = replace(dataset, splits={"train": tuple(POOL), val: ("r1", "r2"), test: ("t1",)})
    splits = drawn(named, DataConfig(labelled=5))
    assert (splits.reward, splits.test) == (("r1", "r2"), ("t1",))


def test_a_named_split_without_labels_measures_nothing(dataset):
    bare = unlabelled(dataset, "t1")
    splits = drawn(bare, DataConfig(labelled=5))
    assert len(splits.test) == 6
    assert "t1" in splits.pool, "it may be chosen, as nobody measures on it"
    with pytest.raises(DataError, match="data.test: expected a split with annotated images, got 'test' with none of"):
        drawn(bare, DataConfig(labelled=5, test="test"))


def test_a_list_says_what_is_labelled(dataset):
    listed = frozenset(f"p{row:02d}" for row in range(10))
    splits = drawn(dataset, DataConfig(), listed=listed)
    assert set(splits.labelled) == listed
    assert len(splits.pool) == 20


def test_all_labels_in_measured_splits(dataset):
    with pytest.raises(DataError, match="expected annotated images to learn from beside those that are measured on"):
        drawn(unlabelled(dataset, *POOL), DataConfig())


def test_one_split_for_two_roles(dataset):
    with pytest.raises(ConfigError, match="different splits, got 'test' more than once; use a share such as 0.2"):
        drawn(dataset, DataConfig(reward="test", test="test"))


def test_copies_of_measured_images_are_left_out(dataset):
    splits, notes = draw_splits(dataset, CONFIG, 0, copies=[("p03", "t1"), ("p05", "p06", "r1"), ("r2", "t1")])
    assert splits.left_out == ("p03", "p05", "p06", "r2")
    assert splits.reward == ("r1",)
    assert not set(splits.left_out) & {*splits.labelled, *splits.pool}
    assert notes == ("4 images are left out, as a copy of one that is measured on: p03 of t1 and others",)


def test_copies_are_drawn_together(dataset):
    groups = [tuple(f"p{row:02d}" for row in range(start, start + 3)) for start in range(0, 30, 3)]
    bare = replace(dataset, splits={})
    for seed in range(10):
        splits = drawn(bare, DataConfig(), seed, copies=groups)
        for ids in (splits.reward, splits.test):
            assert all(set(group) <= set(ids) for group in groups if set(group) & set(ids))


def test_the_same_pictures_elsewhere_are_drawn_alike(dataset):
    def moved(ids):
        return tuple(f"z/{image_id}" for image_id in ids)

    elsewhere = blank_dataset({f"z/{image_id}": labels for image_id, labels in (POOL | OTHERS).items()},
                              {name: moved(ids) for name, ids in SPLITS.items()})
    here, there = drawn(dataset, CONFIG, 3), drawn(elsewhere, CONFIG, 3)
    assert moved(here.labelled) == there.labelled


def test_images_that_came_later_may_be_chosen(dataset):
    splits = drawn(dataset, CONFIG)
    more = blank_dataset({**POOL, **OTHERS, "new": [0], "t2": [1]}, {**SPLITS, "test": ["t1", "t2"]})
    assert arrived(more, CONFIG, splits) == ("new",), "what came into the test split is not chosen"
    assert arrived(more, DataConfig(pool="train"), splits) == ()


def test_training_and_test_images_of_a_comparison(dataset):
    train, test = draw_test(unlabelled(dataset, "p00"), DataConfig(), 0)
    assert (len(train), test) == (29, ("t1",))
    train, test = draw_test(replace(dataset, splits={}), DataConfig(test=0.2), 0)
    assert (len(train), len(test)) == (26, 7)
