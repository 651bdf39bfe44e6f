"""The first batch of a folder in which nothing is labelled."""

import numpy as np
import pytest

from mgral.annotation.changes import Changes
from mgral.config import DataConfig, StudyConfig
from mgral.data.formats import load_dataset
from mgral.errors import StateError
from mgral.study.batches import batch_files, check_not_begun
from mgral.study.first import first_batch, typical
from mgral.study.labels import Import, keep
from mgral.study.preparation import describe, prepare
from tests.people import People
from tests.study.test_preparation import config

STUDY = StudyConfig(name="s", budget=10)


def test_clusters_are_covered_and_outliers_are_not_sought():
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 10, (8, 5))
    points = np.concatenate([centre + rng.normal(0, 0.1, (20, 5)) for centre in centres]
                            + [rng.normal(0, 30, (3, 5))]).astype(np.float32)
    for seed in range(5):
        rows = typical(points, 16, seed)
        assert len({row // 20 for row in rows if row < 160}) >= 7, "k-means may split a cluster and join two"
        middles = np.concatenate([np.repeat(centres, 20, axis=0), points[160:]])
        assert np.median(np.linalg.norm(points[rows] - middles[rows], axis=1)) < 0.25


@pytest.mark.parametrize("count", [1, 7, 30])
def test_so_many_distinct_points_even_where_all_are_alike(count):
    points = np.zeros((30, 4), np.float32)
    points[0] = 1
    assert len(set(typical(points, count, seed=0))) == count


@pytest.fixture
def bare(tmp_path):
    return People(tmp_path, photos=30, labelled=0)


def test_it_is_chosen_once(bare, workspace):
    described = describe(config(), workspace, bare.folder)
    awaiting = first_batch(STUDY, workspace, described)
    assert (awaiting.cycle, awaiting.images, awaiting.missing) == (0, 10, 10)
    written = awaiting.batch.read_bytes()
    assert first_batch(STUDY, workspace, described) == awaiting
    assert awaiting.batch.read_bytes() == written
    assert (workspace.root / "batches" / "about-mgral.txt").read_text().startswith("What mgral asked people to label")


def test_its_labels_begin_the_study(bare, workspace, tmp_path):
    described = describe(config(), workspace, bare.folder)
    awaiting = first_batch(STUDY, workspace, described)
    back = bare.annotate(awaiting.batch, tmp_path / "back.json")
    labelled = load_dataset(DataConfig(annotations=(str(back),)), bare.folder).dataset
    keep(workspace.batch("", 0), labelled, {name: labelled.boxes[name] for name in batch_files(
        workspace, "", 0).choice().ids}, Import(0, "2026", "back.json", "coco", 10, 0, Changes()))
    check_not_begun(workspace)
    prepared = prepare(config(), workspace, bare.folder)
    assert set(prepared.dataset.classes) == {entry["name"] for entry in bare.truth["categories"]}
    splits = prepared.splits
    assert [len(ids) for ids in (splits.labelled, splits.pool, splits.reward, splits.test)] == [6, 20, 2, 2]
    with pytest.raises(StateError, match="expected a study that has not begun, got one that stands on the first batch"):
        check_not_begun(workspace)


def test_a_budget_beyond_the_folder(bare, workspace):
    (fault,) = describe(config(budget=31), workspace, bare.folder).study_problems
    assert str(fault) == f"study.budget: expected at most the 30 images of {bare.folder}, got 31; lower it"
