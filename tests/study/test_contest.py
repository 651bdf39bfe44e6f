"""Soft Teacher's Table 2 protocol: split files, the baseline, every method, and figures that can be trusted."""

import dataclasses

import numpy as np
import pytest

from mgral.config import Config
from mgral.data.splits import draw_folds
from mgral.errors import ConfigError, StateError
from mgral.files import read_json, write_json
from mgral.report.semisup import draw_contest, table_markdown, verdicts
from mgral.study.contest import Trial, TrialResult, open_contest
from mgral.study.opened import Job

CONFIG = Config.model_validate({
    "data": {"synthetic": {"pool": 40, "reward": 4, "test": 10, "image_size": 64}},
    "detector": {"image_size": 64}, "semisup": {"steps": 2, "labelled_per_step": 2, "unlabelled_per_step": 2},
    "semisup_study": {"methods": ("mean_teacher", "supervised"), "fractions": (0.1, 0.2), "folds": 2}})


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return Job(CONFIG, tmp_path_factory.mktemp("contest"), None, "mgral", 1)


@pytest.fixture(scope="module")
def opened(job):
    return open_contest(job, "cpu")


def test_folds_are_drawn_apart_and_the_same_again():
    ids = [f"i{number}" for number in range(50)]
    folds = draw_folds(ids, 0.1, 5, 0)
    assert [len(set(fold) & set(ids)) for fold in folds] == [5] * 5
    assert len(set(folds)) == 5
    assert draw_folds(ids[::-1], 0.1, 7, 0)[:5] == folds
    assert draw_folds(ids, 0.1, 5, 1) != folds
    assert len(draw_folds(ids, 0.001, 1, 0)[0]) == 1


def test_every_method_sees_the_same_labels_and_the_baseline_comes_first(opened):
    contest, trials = opened
    assert [one.method for one in trials] == ["supervised"] * 4 + ["mean_teacher"] * 4
    labelled = {(one.fraction, one.fold): one.labelled for one in trials[:4]}
    assert all(labelled[one.fraction, one.fold] == one.labelled for one in trials[4:])
    assert {len(one) for one in labelled.values()} == {4, 8}
    assert not set(contest.test) & set(contest.train)


def test_the_split_files_hold_the_labels_and_are_not_drawn_over(job, opened):
    folder = job.workspace.folder / "semisup" / "splits"
    assert sorted(path.name for path in folder.iterdir()) == ["10-1.json", "10-2.json", "20-1.json", "20-2.json"]
    path = folder / "10-1.json"
    content = read_json(path)
    assert tuple(content["labelled"]) == opened[1][0].labelled
    write_json(path, {**content, "labelled": content["labelled"][1:]})
    try:
        with pytest.raises(StateError, match=r"10-1.json: expected the images drawn from this data set with seed 0"):
            open_contest(job, "cpu")
    finally:
        write_json(path, content)


def test_a_trial_is_run_once_and_the_same_anywhere(job, opened):
    contest, trials = opened
    first = contest.run(trials[0])
    assert contest.run(trials[0]) == first  # seconds and all: it was read
    contest.receipt(trials[0]).unlink()
    contest.receipt(trials[0]).with_suffix(".pth").unlink()
    again = contest.run(trials[0])
    assert dataclasses.replace(again, seconds=first.seconds) == first
    assert 0 <= first.map <= first.ap50 <= 1


def test_labels_outside_the_fold_change_nothing(opened):
    contest, trials = opened
    trial = trials[4]
    result = contest.run(trial)
    blind = dataclasses.replace(contest, truth={one: boxes for one, boxes in contest.truth.items()
                                                if one in trial.labelled or one in contest.test},
                                cache=contest.cache / "blind")
    assert dataclasses.replace(blind.run(trial), seconds=result.seconds) == result


def test_all_labels_leave_nothing_to_learn_from(job, tmp_path):
    study = CONFIG.semisup_study.model_copy(update={"fractions": (1.0,)})
    whole = dataclasses.replace(job, config=CONFIG.model_copy(update={"semisup_study": study}), workdir=tmp_path)
    with pytest.raises(ConfigError, match="expected some training images to stay unlabelled, got 1, which labels all"):
        open_contest(whole, "cpu")


def results(gaps, noise=0.0):
    rng = np.random.default_rng(0)
    made = {}
    for fold in range(5):
        base = 0.2 + 0.05 * rng.standard_normal()
        for method, gap in gaps.items():
            value = base + gap + noise * rng.standard_normal()
            made[Trial(method, 0.1, fold, ())] = TrialResult(value, value, (), 1.0)
    return made


def test_a_gap_is_judged_on_paired_folds(tmp_path):
    """Folds differ by 5 points, methods by 3: only the paired difference shows it."""
    said = verdicts(results({"supervised": 0.0, "mean_teacher": 0.03}, 0.002))
    assert len(said) == 1
    assert "10 % labelled: mean_teacher is above supervised: +3." in said[0]
    assert "level with" in verdicts(results({"supervised": 0.0, "mean_teacher": 0.001}, 0.05))[0]
    assert "below" in verdicts(results({"supervised": 0.0, "mean_teacher": -0.03}, 0.002))[0]


def test_table_and_picture(tmp_path):
    found = results({"supervised": 0.0, "mean_teacher": 0.1})
    values = [100 * result.map for trial, result in found.items() if trial.method == "supervised"]
    assert f"| supervised | {np.mean(values):.2f} ± {np.std(values, ddof=1):.2f} |" in table_markdown(found)
    draw_contest(tmp_path / "picture.png", found)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
