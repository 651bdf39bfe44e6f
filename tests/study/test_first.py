"""The first batch of a folder in which nothing is labelled."""

import json

import numpy as np
import pytest

from mgral.config import StudyConfig
from mgral.errors import DataError, StateError
from mgral.study.first import first_batch, import_first, typical
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


def test_it_is_chosen_once_and_its_labels_begin_the_study(bare, workspace, tmp_path):
    described = describe(config(), workspace, bare.folder)
    awaiting = first_batch(STUDY, workspace, described)
    assert (awaiting.cycle, awaiting.images, awaiting.missing) == (0, 10, 10)
    written = awaiting.batch.read_bytes()
    assert first_batch(STUDY, workspace, described) == awaiting
    assert awaiting.batch.read_bytes() == written
    back = bare.annotate(awaiting.batch, tmp_path / "back.json")
    import_first(workspace, described, back)
    prepared = prepare(config(), workspace, bare.folder)
    assert set(prepared.dataset.classes) == {entry["name"] for entry in bare.truth["categories"]}
    splits = prepared.splits
    assert [len(ids) for ids in (splits.labelled, splits.pool, splits.reward, splits.test)] == [6, 20, 2, 2]
    with pytest.raises(StateError, match="expected a study that has not begun, got one that stands on the first batch"):
        import_first(workspace, described, back)


def test_a_partial_file_changes_nothing(bare, workspace, tmp_path):
    described = describe(config(), workspace, bare.folder)
    back = bare.annotate(first_batch(STUDY, workspace, described).batch, tmp_path / "back.json")
    content = json.loads(back.read_text())
    content["images"].pop()
    back.write_text(json.dumps(content))
    with pytest.raises(DataError):
        import_first(workspace, described, back)
    assert not workspace.corrections.exists()


def test_no_first_batch(bare, workspace, tmp_path):
    described = describe(config(), workspace, bare.folder)
    with pytest.raises(StateError, match="expected a first batch that was chosen, got no file"):
        import_first(workspace, described, tmp_path / "back.json")


def test_a_budget_beyond_the_folder(bare, workspace):
    (fault,) = describe(config(budget=31), workspace, bare.folder).study_problems
    assert str(fault) == f"study.budget: expected at most the 30 images of {bare.folder}, got 31; lower it"
