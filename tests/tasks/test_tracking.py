import mlflow
import pytest

from tasks.tracking import Tracker


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("mlruns")
    Tracker(made, "study")  # its tables take seconds to make: once for the module
    return made


def test_a_run_is_found_again_by_its_key_and_goes_on(folder):
    tracker = Tracker(folder, "study")
    parent = tracker.run("key-1", "study · mgral", params={"seed": 0}, tags={"mgral.kind": "study"})
    again = Tracker(folder, "study").run("key-1", "study · mgral", params={"seed": 1})
    assert again.run_id == parent.run_id
    assert not again.finished


def test_children_carry_their_parent_parameters_metrics_and_data_set(folder):
    tracker = Tracker(folder, "study")
    run = tracker.run("key-2", "cycle 1", parent="abc", params={"seed": 3, "cycle": 1})
    run.curve([(60, {"map": 0.25, "ap50": None}), (100, {"map": 0.5})])
    run.dataset(folder / "snapshot.json", "0" * 32, "labelled")
    run.finish()
    seen = mlflow.MlflowClient(f"sqlite:///{tracker.database}").get_run(run.run_id)
    assert seen.data.params == {"seed": "3", "cycle": "1"}
    assert seen.data.metrics == {"map": 0.5}
    assert seen.data.tags["mlflow.parentRunId"] == "abc"
    assert seen.inputs.dataset_inputs[0].dataset.digest == "0" * 32
    assert seen.info.status == "FINISHED"


def test_nothing_is_added_to_a_finished_run(folder, tmp_path):
    tracker = Tracker(folder, "study")
    tracker.run("key-3", "done").finish()
    run = tracker.run("key-3", "done")
    (tmp_path / "a.txt").write_text("a")
    run.metrics({"map": 1.0})
    run.artifact(tmp_path / "a.txt")
    client = mlflow.MlflowClient(f"sqlite:///{tracker.database}")
    assert client.get_run(run.run_id).data.metrics == {}
    assert client.list_artifacts(run.run_id) == []


def test_a_failed_run_goes_on(folder):
    tracker = Tracker(folder, "study")
    tracker.run("key-4", "failed").finish(failed=True)
    assert not tracker.run("key-4", "failed").finished


def test_artifacts_lie_in_the_folder(folder, tmp_path):
    run = Tracker(folder, "study").run("key-5", "with a file")
    (tmp_path / "a.txt").write_text("a")
    run.artifact(tmp_path / "a.txt")
    assert [path.read_text() for path in folder.rglob("a.txt")] == ["a"]
