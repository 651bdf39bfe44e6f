"""Labels that people gave, as one types it: previewed, imported, taken back, corrected; never lost."""

import json
import re
from pathlib import Path

import pytest

from tests.flows.test_people import batch, handed_out, ids, shorten
from tests.people import People


@pytest.fixture
def people(tmp_path, mgral) -> People:
    """A study whose first batch waits."""
    people = People(tmp_path, photos=40, labelled=20)
    mgral("init", "data")
    shorten(strategies=["balanced_entropy"], budget=4)
    assert "WAITING" in mgral("run")[0]
    return people


def changed(path: Path, change) -> Path:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def labels(cycle: int = 1) -> dict:
    return json.loads((handed_out(cycle) / "labels.json").read_text())


def boxes_in(path: Path, name: str) -> list[list[float]]:
    content = json.loads(path.read_text())
    number = next(image["id"] for image in content["images"] if image["file_name"] == name)
    return sorted(entry["bbox"] for entry in content["annotations"] if entry["image_id"] == number)


def test_preview_import_undo_and_again(people, tmp_path, mgral):
    back = people.annotate(handed_out(1) / "preannotations.json", tmp_path / "back.json")
    said, status = mgral("import", "--preview", str(back))
    assert status == 0
    assert re.match(r"\[balanced_entropy 1/2\] 4 of 4 images labelled \(COCO JSON\): \d+ boxes", said)
    assert re.search(r"\n  against the boxes that went out: (\d+ (kept|moved|relabelled|deleted|added)(, |\n)){5}",
                     said)
    assert said.endswith("nothing was kept; without --preview it is\n")
    assert not (handed_out(1) / "labels.json").exists()
    assert "cycle 1: WAITING for annotations of 4 images" in mgral("status")[0]

    said, status = mgral("import", str(back))
    assert (status, "kept as import 1 in batches/s/seed-0/balanced_entropy-1; `mgral import --cycle 1 --undo`" in said,
            said.endswith("next: mgral run\n")) == (0, True, True)
    assert "cycle 1: its 4 images are labelled; `mgral run` goes on" in mgral("status")[0]
    said, status = mgral("import", "--undo")
    assert (status, "import 1 taken back: nobody has labelled the batch" in said) == (0, True)
    assert "WAITING for annotations of 4 images" in mgral("run")[0]
    assert "kept as import 2" in mgral("import", str(back))[0]
    said, _ = mgral("run")
    assert "--cycle 2 FILE" in said
    said, _ = mgral("status")
    assert re.search(r"cycle 1: done, 12 labelled images: mAP 0\.\d{3}; chose 4 \(balanced_entropy\)\n"
                     r"    labels: import 2, 20\d\d-.* UTC, 4 images, \d+ boxes; of the boxes that went out ", said)
    assert said.endswith("next: mgral import --cycle 2 FILE\n")


def test_a_part_now_and_the_rest_later(people, tmp_path, mgral):
    def half(content):
        left = {image["id"] for image in content["images"][2:]}
        content["images"] = content["images"][:2]
        content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] not in left]

    whole = people.annotate(handed_out(1) / "preannotations.json", tmp_path / "back.json")
    part = tmp_path / "part.json"
    part.write_text(whole.read_text())
    changed(part, half)
    said, status = mgral("import", str(part))
    assert (status, "--partial" in said) == (2, True)
    assert not (handed_out(1) / "labels.json").exists()
    said, status = mgral("import", "--partial", "--accept-empty", str(part))
    assert (status, "2 images are still waited for\n  next: mgral import --cycle 1 FILE\n" in said) == (0, True)
    assert "WAITING for annotations of 2 of 4 images" in mgral("run")[0]
    assert "cycle 1: WAITING for annotations of 2 of 4 images" in mgral("status")[0]
    said, status = mgral("import", str(whole))
    assert status == 0
    assert re.search(r"against what import 1 said: \d+ kept, 0 moved, 0 relabelled, 0 deleted, 0 added\n", said)
    assert "--cycle 2 FILE" in mgral("run")[0]


def test_the_batch_as_it_went_out_is_asked_about(people, mgral):
    out = handed_out(1) / "preannotations.json"
    if not json.loads(out.read_text())["annotations"]:  # so short a training may find nothing
        changed(out, lambda content: content["annotations"].append(
            {"id": 1, "image_id": 1, "category_id": content["categories"][0]["id"], "bbox": [1, 1, 9, 9], "score": 0.9,
             "area": 81, "iscrowd": 0, "segmentation": []}))
    said, status = mgral("import", "--accept-empty", str(out))
    assert (status, "as the detector drew them; if they are right as they are, say so: --accept-unchanged" in said) == (
        2, True)
    assert mgral("import", "--accept-empty", "--accept-unchanged", str(out))[1] == 0


def test_labels_corrected_after_later_cycles_were_built_on_them(people, tmp_path, mgral):
    back = tmp_path / "back.json"
    for cycle in (1, 2):
        people.annotate(handed_out(cycle) / "preannotations.json", back)
        assert mgral("import", str(back))[1] == 0
        assert mgral("run")[1] == 0
    before = {cycle: json.loads((batch(cycle) / "result.json").read_text()) for cycle in (1, 2)}
    batches = {cycle: ids(cycle) for cycle in (1, 2)}

    def moved(content):
        content["annotations"] = [{**entry, "bbox": [0, 0, *entry["bbox"][2:]]} for entry in content["annotations"]]

    changed(people.annotate(handed_out(1) / "preannotations.json", back), moved)
    said, status = mgral("import", "--cycle", "1", str(back))
    assert (status, "against what import 1 said:" in said) == (0, True)
    said, _ = mgral("status")
    lines = [line.strip() for line in said.splitlines()]
    at = next(row for row, line in enumerate(lines) if line.startswith("cycle 2: done"))
    assert lines[at + 1] == ("built on labels that were corrected since: `mgral run` trains its detector anew, the "
                             "batch stays")
    assert lines[-1] == "next: mgral run"
    assert outdated_in_mlflow() == [2]
    said, status = mgral("run")
    assert status == 0
    after = {cycle: json.loads((batch(cycle) / "result.json").read_text()) for cycle in (1, 2)}
    assert batches == {cycle: ids(cycle) for cycle in (1, 2)}, "people worked on these batches"
    assert after[1]["map"] == before[1]["map"]
    assert after[2]["trained_on"] == after[1]["snapshot"] != before[1]["snapshot"]
    for name in batches[1]:
        assert boxes_in(batch(1) / "annotations.json", name) == boxes_in(handed_out(1) / "labels.json", name)
        assert all(box[:2] == [0, 0] for box in boxes_in(batch(1) / "annotations.json", name))
    assert "corrected since" not in mgral("status")[0]
    assert "next: nothing: the study is finished" in mgral("status")[0]
    assert_tracked_as_it_is(after)
    assert mgral("import", "--undo", "--cycle", "1")[1] == 0, "the import before counts again"
    assert mgral("run")[1] == 0
    assert json.loads((batch(2) / "result.json").read_text()) == before[2]


def outdated_in_mlflow() -> list[int]:
    """Cycles a run of which says that its detector learned from labels corrected since."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{Path('mlruns/mlflow.db').resolve()}")
    (experiment,) = (one for one in client.search_experiments() if one.name == "s")
    runs = client.search_runs([experiment.experiment_id], "tags.`mgral.kind` = 'cycle'")
    return sorted(int(run.data.params["cycle"]) for run in runs if "mgral.outdated" in run.data.tags)


def assert_tracked_as_it_is(results: dict[int, dict]) -> None:
    """MLflow has a run for each cycle with the labels of today; those of before say that they are outdated."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{Path('mlruns/mlflow.db').resolve()}")
    (experiment,) = (one for one in client.search_experiments() if one.name == "s")
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    (study,) = (run for run in runs if run.data.tags["mgral.kind"] == "study")
    curve = {point.step: point.value for point in sorted(client.get_metric_history(study.info.run_id, "map"),
                                                         key=lambda point: point.timestamp)}
    cycles = [run for run in runs if run.data.tags["mgral.kind"] == "cycle"]
    assert outdated_in_mlflow() == [2]
    for cycle, result in results.items():
        (run,) = (run for run in cycles if run.data.params["cycle"] == str(cycle)
                  and "mgral.outdated" not in run.data.tags)
        assert (run.data.metrics["map"], run.data.tags["mgral.snapshot"], run.data.tags["mgral.labelled"]) == (
            result["map"], result["trained_on"], result["snapshot"])
        assert curve[result["labelled"]] == result["map"]
        assert run.data.metrics["labels/added"] == labels(cycle)["info"]["changes"]["added"]
        kept = client.download_artifacts(run.info.run_id, "result.json")
        assert json.loads(Path(kept).read_text()) == result
    first = next(run for run in cycles if run.data.params["cycle"] == "1")
    assert first.data.metrics["gain/map"] == pytest.approx(results[2]["map"] - results[1]["map"])


@pytest.mark.parametrize(("words", "fault"), [
    ([], "mgral import: expected a FILE (with --preview or without), or --undo, got neither"),
    (["--undo", "back.json"], "got both"), (["--undo", "--preview"], "got --undo --preview"),
    (["--cycle", "3", "back.json"], "--cycle: expected 0 to 2"),
    (["--cycle", "2", "back.json"], "expected the batch of cycle 2, got no file; run cycle 2 of balanced_entropy"),
    (["--undo"], "--cycle: expected one, as no cycle of balanced_entropy has labels of people"),
    (["--undo", "--cycle", "1"], "labels.json: expected labels that were imported, got none; nothing to take back"),
    (["nowhere.json"], "nowhere.json")])
def test_one_line_for_what_is_wrong(people, mgral, words, fault):
    said, status = mgral("import", *words)
    assert (status, fault in said, len(said.splitlines())) == (2, True, 1)


def test_a_budget_in_boxes(tmp_path, mgral):
    people = People(tmp_path, photos=40, labelled=20)
    mgral("init", "data")
    shorten(strategies=["balanced_entropy"], budget=8, budget_boxes=1)
    said, status = mgral("run")
    assert (status, "WAITING for annotations of 1 image (" in said) == (0, True)
    shorten(strategies=["balanced_entropy"], budget=8, budget_boxes=10_000, name="rich")
    assert "WAITING for annotations of 8 images" in mgral("run")[0]
    del people
