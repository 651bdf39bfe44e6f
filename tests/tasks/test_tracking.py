"""MLflow's runs: found again, closed, named, and where they are kept."""

import multiprocessing
import shutil
import sqlite3
import time
from contextlib import closing

import mlflow
import pytest

from mgral.errors import StateError
from tasks.engine import step
from tasks.tracking import RENAMED, Tracker, metric_name

REFUSED = ("traffic light (red)", "traffic light [red]", "<script>alert(1)</script>", "two\nlines", "../x", "/x",
           "x//y", "x/", ".", "", "ap50%", "x" * 600, "x" * 599 + "y", "a:b", "x/./y", "\x00")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("mlruns")
    Tracker(made, "study")  # its tables take seconds to make: once for the module
    return made


@pytest.fixture
def tracker(folder):
    return Tracker(folder, "study")


def stored(tracker, run):
    return mlflow.MlflowClient(tracker.uri).get_run(run.run_id)


def test_a_run_is_found_again_by_its_key_and_goes_on(folder, tracker):
    parent = tracker.run("key-1", "study · mgral", params={"seed": 0}, tags={"mgral.kind": "study"})
    again = Tracker(folder, "study").run("key-1", "study · mgral", params={"seed": 1, "more": 2})
    assert again.run_id == parent.run_id
    assert not again.finished
    assert stored(tracker, again).data.params == {"seed": "0", "more": "2"}


def test_children_carry_their_parent_parameters_metrics_and_data_set(folder, tracker):
    run = tracker.run("key-2", "cycle 1", parent="abc", params={"seed": 3, "cycle": 1})
    run.curve([(60, {"map": 0.25, "ap50": None}), (100, {"map": 0.5})])
    run.dataset(folder / "snapshot.json", "0" * 32, "labelled")
    run.finish()
    seen = stored(tracker, run)
    assert seen.data.params == {"seed": "3", "cycle": "1"}
    assert seen.data.metrics == {"map": 0.5}
    assert seen.data.tags["mlflow.parentRunId"] == "abc"
    assert seen.inputs.dataset_inputs[0].dataset.digest == "0" * 32
    assert seen.info.status == "FINISHED"


def test_nothing_is_added_to_a_finished_run(tracker, tmp_path):
    tracker.run("key-3", "done").finish()
    run = tracker.run("key-3", "done", params={"seed": 1})
    (tmp_path / "a.txt").write_text("a")
    run.metrics({"map": 1.0})
    run.artifact(tmp_path / "a.txt")
    seen = stored(tracker, run)
    assert (seen.data.metrics, seen.data.params) == ({}, {})
    assert mlflow.MlflowClient(tracker.uri).list_artifacts(run.run_id) == []


def test_a_failed_run_goes_on_and_ends(tracker):
    tracker.run("key-4", "failed").finish(failed=True)
    again = tracker.run("key-4", "failed")
    assert not again.finished
    assert stored(tracker, again).info.status == "RUNNING"
    again.finish()
    assert stored(tracker, again).info.status == "FINISHED"


def test_points_that_a_killed_process_wrote_are_not_written_again(folder, tracker):
    points = [(1, {"map": 0.1, "search/mean": 1.0}), (2, {"map": 0.2})]
    tracker.run("key-5", "killed").curve(points)
    again = Tracker(folder, "study").run("key-5", "killed")
    again.curve([*points, (3, {"map": 0.3})])
    history = mlflow.MlflowClient(tracker.uri).get_metric_history(again.run_id, "map")
    assert [(point.step, point.value) for point in history] == [(1, 0.1), (2, 0.2), (3, 0.3)]


def test_a_run_written_after_its_work_lasts_as_long_as_the_work(tracker):
    run = tracker.run("key-6", "experiment", seconds=100.0)
    run.finish()
    info = stored(tracker, run).info
    assert 100_000 <= info.end_time - info.start_time < 110_000


def test_a_process_killed_right_after_it_began_a_run_finds_it_again(tracker, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_batch", killed)
        with pytest.raises(KeyboardInterrupt):
            tracker.run("key-7", "killed", params={"seed": 0})
    run = tracker.run("key-7", "killed", params={"seed": 0})
    seen = mlflow.MlflowClient(tracker.uri).search_runs([tracker.experiment], "tags.`mgral.key` = 'key-7'")
    assert [one.info.run_id for one in seen] == [run.run_id]
    assert stored(tracker, run).data.params == {"seed": "0"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_step_that_fails_closes_the_runs_that_are_open(tracker, error):
    @step("broken")
    def broken():
        raise error

    study, cycle, done = (tracker.run(f"{error.__name__}-{name}", name) for name in ("study", "cycle", "done"))
    done.finish()
    with pytest.raises(error):
        broken()
    assert [stored(tracker, run).info.status for run in (study, cycle, done)] == ["FAILED", "FAILED", "FINISHED"]


def test_class_names_that_mlflow_refuses_are_changed_and_kept_in_a_tag(tracker):
    values = {f"ap/{name}": number / 100 for number, name in enumerate(REFUSED)} | {"ap/ünïcode": 0.5, "../x": 0.25}
    run = tracker.run("key-8", "names")
    run.metrics(values)
    seen = stored(tracker, run).data
    true = {name: seen.tags.get(RENAMED + name, name) for name in seen.metrics}
    assert {true[name]: value for name, value in seen.metrics.items()} == values
    assert "ap/ünïcode" in seen.metrics
    assert all(len(name) <= 250 and name.isprintable() for name in seen.metrics)


@pytest.mark.parametrize("name", ["map", "ap/cat", "search/rivals/swap", "ap/hot dog", "ap/v1.2", "table/loo_r2"])
def test_other_names_stay_as_they_are(name):
    assert metric_name(name) == name


def test_a_moved_folder_takes_its_artifacts_with_it(folder, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    run = Tracker(folder, "moved").run("key-9", "with a file")
    run.artifact(tmp_path / "a.txt")
    assert (folder / "artifacts" / run.run_id / "artifacts" / "a.txt").exists()
    before = sorted(folder.rglob("*.txt"))
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    tracker = Tracker(moved, "moved")
    old, new = tracker.run("key-9", "with a file"), tracker.run("key-10", "new")
    new.artifact(tmp_path / "a.txt")
    assert stored(tracker, old).info.artifact_uri == (moved / "artifacts" / run.run_id / "artifacts").as_uri()
    assert (moved / "artifacts" / new.run_id / "artifacts" / "a.txt").exists()
    assert sorted(folder.rglob("*.txt")) == before


def test_an_experiment_deleted_in_mlflow_ends_in_one_line(folder):
    tracker = Tracker(folder, "deleted")
    mlflow.MlflowClient(tracker.uri).delete_experiment(tracker.experiment)
    with pytest.raises(StateError, match="restore --experiment-id") as caught:
        Tracker(folder, "deleted")
    assert len(caught.value.problems) == 1


def test_the_environment_says_where_mlflow_is_else_the_argument(folder, tmp_path, monkeypatch):
    address = f"sqlite:///{folder / 'mlflow.db'}"
    assert Tracker(tmp_path / "a", "study", address).uri == address
    assert not (tmp_path / "a" / "mlflow.db").exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert Tracker(tmp_path / "b", "study", "http://127.0.0.1:1").uri == address


def opened(folder, start):
    time.sleep(max(0.0, start - time.time()))
    return Tracker(folder, "study").experiment


def test_two_processes_may_open_a_new_folder_at_once(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.starmap(opened, [(tmp_path / "mlruns", time.time() + 8)] * 2)
    assert len(set(found)) == 1


def test_a_table_is_one_that_mlflow_reads_and_is_not_added_to(folder):
    tracker = Tracker(folder, "study")
    run = tracker.run("key-table", "with a table")
    for reward in (0.5, 0.25):
        run.table("records.json", [{"images": "a, b", "reward": reward}, {"images": "c", "reward": 1.0}])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "TRACKING_URI": tracker.uri,
                            "EXPERIMENT_ID": tracker.experiment}.items():
            patch.setenv(f"MLFLOW_{name}", value)
        found = mlflow.load_table("records.json", run_ids=[run.run_id])
    assert found.to_dict("list") == {"images": ["a, b", "c"], "reward": [0.25, 1.0]}


@pytest.mark.parametrize(("damage", "said"), [
    (lambda path: _schema_of(path, "9999"), "got 9999; where a newer MLflow wrote it, install that one; an older one's "
                                            "is brought up to date by `mlflow db upgrade sqlite:///"),
    (lambda path: path.write_bytes(path.read_bytes()[:5000]), "expected MLflow's database, got "),
    (lambda path: path.write_bytes(b"no database " * 500), "expected MLflow's database, got "),
])
def test_a_database_of_another_mlflow_or_a_damaged_one_ends_in_one_line(folder, tmp_path, damage, said):
    shutil.copytree(folder, tmp_path / "mlruns")
    damage(tmp_path / "mlruns" / "mlflow.db")
    with pytest.raises(StateError) as caught:
        Tracker(tmp_path / "mlruns", "study")
    (line,) = caught.value.problems
    assert "mlflow.db: expected " in line
    assert said in line
    assert "\n" not in line


def _schema_of(path, revision):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def test_a_finished_run_is_corrected_where_something_differs(tracker, tmp_path):
    run = tracker.run("key-20", "finished")
    run.metrics({"map": 0.5}, step=40)
    run.finish()
    run.correct({"map": 0.5, "ap50": None}, step=40)
    run.correct({"map": 0.25}, step=40)
    run.correct({"map": 0.25, "ap/traffic light (red)": 0.1}, step=40)
    history = mlflow.MlflowClient(tracker.uri).get_metric_history(run.run_id, "map")
    assert sorted(point.value for point in history) == [0.25, 0.5], "what is the same is not written again"
    assert stored(tracker, run).data.metrics["map"] == 0.25
    (tmp_path / "a.txt").write_text("a")
    run.artifact(tmp_path / "a.txt", anew=True)
    run.tag("mgral.import", "2", anew=True)
    assert [file.path for file in mlflow.MlflowClient(tracker.uri).list_artifacts(run.run_id)] == ["a.txt"]
    assert (run.has("mgral.import", "2"), run.has("mgral.import", "1"), run.has("mgral.other", "1")) == (
        True, False, False)
    assert stored(tracker, run).info.status == "FINISHED"


def test_a_run_is_found_as_it_is_or_not_at_all(tracker):
    assert tracker.find("key-21") is None
    open_run = tracker.run("key-21", "goes on")
    found = tracker.find("key-21")
    found.metrics({"map": 1.0})
    assert (found.run_id, stored(tracker, found).info.status, stored(tracker, found).data.metrics) == (
        open_run.run_id, "RUNNING", {})
    open_run.finish()


def test_runs_below_another_are_marked_and_the_mark_taken_away(tracker):
    parent = tracker.run("key-22", "study")
    children = {name: tracker.run(f"key-22-{name}", name, parent.run_id, tags={"mgral.snapshot": name})
                for name in ("old", "new")}
    for outdated in ("old", "new", "none"):
        tracker.mark(parent.run_id, "mgral.outdated", lambda tags, outdated=outdated: "yes" if tags[
            "mgral.snapshot"] == outdated else None)
        assert {name for name, run in children.items() if run.has("mgral.outdated", "yes")} == {outdated} - {"none"}
    for run in (*children.values(), parent):
        run.finish()
