"""Soft Teacher's Table 2 protocol: split files, the baseline, every method, and figures that can be trusted."""

import dataclasses

import pytest

from mgral.comparison.partial_labels import PartialLabelStudy
from mgral.config import DataConfig, DetectorConfig, SemisupConfig, SemisupStudyConfig, SyntheticConfig
from mgral.data.formats import load_dataset
from mgral.data.images import ImageStore
from mgral.data.splits import draw_folds, draw_test
from mgral.data.synthetic import write_scenes
from mgral.errors import ConfigError, DataError, StateError
from mgral.files import read_json, write_json

SCENES = SyntheticConfig(pool=40, reward=4, test=10, image_size=64)
SEMISUP = SemisupConfig(steps=2, labelled_per_step=2, unlabelled_per_step=2)
RULES = SemisupStudyConfig(methods=("mean_teacher", "stac", "supervised"), fractions=(0.1, 0.2), folds=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("comparison")


@pytest.fixture(scope="module")
def study(folder):
    write_scenes(SCENES, folder / "scenes", 0)
    data = DataConfig(format="synthetic", synthetic=SCENES)
    dataset = load_dataset(data, folder / "scenes").dataset
    train, test = draw_test(dataset, data, 0)
    return PartialLabelStudy(DetectorConfig(image_size=64), SEMISUP, dataset.classes,
                             ImageStore.open(dataset, 64, folder / "images"), dataset.boxes, train, test, "cpu", 0,
                             folder / "trials", "the data set")


@pytest.fixture(scope="module")
def trials(study, folder):
    return study.trials(RULES, folder / "splits")


def test_folds_are_drawn_apart_and_the_same_again():
    ids = [f"i{number}" for number in range(50)]
    folds = draw_folds(ids, 0.1, 5, 0)
    assert [len(set(fold) & set(ids)) for fold in folds] == [5] * 5
    assert len(set(folds)) == 5
    assert draw_folds(ids[::-1], 0.1, 7, 0)[:5] == folds
    assert draw_folds(ids, 0.1, 5, 1) != folds
    assert len(draw_folds(ids, 0.001, 1, 0)[0]) == 1


def test_every_method_sees_the_same_labels_and_the_baseline_comes_first(study, trials):
    assert [trial.method for trial in trials] == ["supervised"] * 4 + ["mean_teacher", "stac"] * 4
    labelled = {(trial.fraction, trial.fold): trial.labelled for trial in trials[:4]}
    assert all(labelled[trial.fraction, trial.fold] == trial.labelled for trial in trials[4:])
    assert {len(ids) for ids in labelled.values()} == {4, 8}
    assert not set(study.test) & set(study.train)


def test_the_split_files_hold_the_labels_and_are_not_drawn_over(study, trials, folder):
    assert sorted(path.name for path in (folder / "splits").iterdir()) == [
        "10-1.json", "10-2.json", "20-1.json", "20-2.json"]
    path = folder / "splits" / "10-1.json"
    content = read_json(path)
    assert tuple(content["labelled"]) == trials[0].labelled
    write_json(path, {**content, "labelled": content["labelled"][1:]})
    try:
        with pytest.raises(StateError, match=r"10-1.json: expected the images drawn from this data set with seed 0"):
            study.trials(RULES, folder / "splits")
    finally:
        write_json(path, content)


def test_a_trial_is_run_once_and_the_same_anywhere(study, trials):
    first = study.run(trials[0])
    assert study.run(trials[0]) == first  # seconds and all: it was read
    study.receipt(trials[0]).unlink()
    study.receipt(trials[0]).with_suffix(".pth").unlink()
    again = study.run(trials[0])
    assert dataclasses.replace(again, seconds=first.seconds) == first
    assert 0 <= first.map <= first.ap50 <= 1


def test_a_staged_method_leaves_its_teacher_to_the_baseline(study, trials):
    staged, baseline = (next(trial for trial in trials if trial.method == method and trial.fold == 2)
                        for method in ("stac", "supervised"))
    study.run(staged)
    assert study.receipt(baseline).with_suffix(".pth").exists()
    assert not study.receipt(baseline).exists()
    assert not study.receipt(staged).with_suffix(".pth").exists()


def test_labels_outside_the_fold_change_nothing(study, trials):
    trial = trials[4]
    result = study.run(trial)
    blind = dataclasses.replace(study, truth={image_id: boxes for image_id, boxes in study.truth.items()
                                              if image_id in trial.labelled or image_id in study.test},
                                cache=study.cache / "blind")
    assert dataclasses.replace(blind.run(trial), seconds=result.seconds) == result


def test_all_labels_leave_nothing_to_learn_from(study, tmp_path):
    with pytest.raises(ConfigError, match="expected some training images to stay unlabelled, got 1, which labels all"):
        study.trials(RULES.model_copy(update={"fractions": (1.0,)}), tmp_path)


def test_methods_that_refuse_the_detector_and_images_without_labels_are_refused(study, tmp_path):
    with pytest.raises(ConfigError, match="semisup_study.methods: expected methods for this detector, got isd: "):
        study.trials(RULES.model_copy(update={"methods": ("isd",)}), tmp_path)
    with pytest.raises(DataError, match="data.pool: expected annotated training images, got none"):
        dataclasses.replace(study, truth={}).trials(RULES, tmp_path)
