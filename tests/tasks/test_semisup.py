import mlflow
import pytest

from mgral.config import Config
from tasks.job import Job
from tasks.runs import open_tracker
from tasks.semisup import compare_methods, list_methods

CONFIG = Config.model_validate({
    "data": {"format": "synthetic", "synthetic": {"pool": 20, "reward": 4, "test": 8, "image_size": 64}},
    "detector": {"image_size": 64}, "semisup": {"steps": 1, "labelled_per_step": 2, "unlabelled_per_step": 2},
    "table": {"at_once": 1},
    "semisup_study": {"methods": ("supervised", "mean_teacher"), "fractions": (0.2,), "folds": 2}})


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return Job(CONFIG, tmp_path_factory.mktemp("semisup"), None, "mgral", 1, 0)


def test_every_trial_is_a_run_of_its_own_and_is_made_once(job):
    compared = compare_methods(job)
    again = compare_methods(job)
    assert again.results == compared.results
    assert again.text == compared.text
    tracker = open_tracker(job)
    runs = mlflow.MlflowClient(tracker.uri).search_runs(
        [tracker.experiment], "tags.`mgral.kind` = 'trial'")
    assert sorted((run.data.params["method"], run.data.params["fold"]) for run in runs) == [
        ("mean_teacher", "1"), ("mean_teacher", "2"), ("supervised", "1"), ("supervised", "2")]
    measured = {(trial.method, str(trial.fold)): result.map for trial, result in compared.results.items()}
    assert {(run.data.params["method"], run.data.params["fold"]): run.data.metrics["map"]
            for run in runs} == pytest.approx(measured)
    assert sorted(path.name for path in compared.folder.iterdir()) == [
        "results.json", "semisup.png", "splits", "table.md"]


def test_the_list_names_every_method_and_says_why_one_is_refused(job):
    lines = list_methods(job).splitlines()
    assert lines[0].startswith("supervised")
    assert any(line.startswith("mean_teacher") for line in lines)
