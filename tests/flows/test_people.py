"""Folders as people have them, from `mgral init` to the first choice and on: what is said, what is kept."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.people import People

QUICK = {"detector": {"image_size": 32}, "training": {"steps": 4, "batch_size": 4},
         "study": {"name": "s", "strategies": ["balanced_entropy"], "budget": 5, "cycles": 2}}


def shorten(path: Path = Path("params.yaml"), **study) -> dict:
    """Makes what `mgral init` wrote short enough for a test."""
    settings = yaml.safe_load(path.read_text())
    settings |= {"detector": QUICK["detector"], "training": QUICK["training"], "study": QUICK["study"] | study}
    path.write_text(yaml.safe_dump(settings))
    return settings


def batch(cycle: int) -> Path:
    return Path("runs/s/seed-0/balanced_entropy") / str(cycle)


def handed_out(cycle: int) -> Path:
    return Path("batches/s/seed-0") / f"balanced_entropy-{cycle}"


def ids(cycle: int) -> list[str]:
    return json.loads((batch(cycle) / "choice.json").read_text())["choice"]["ids"]


def test_a_folder_with_some_labels(tmp_path, mgral):
    people = People(tmp_path, photos=60, labelled=20)
    said, status = mgral("init", "data")
    assert status == 0
    assert "60 images (32 × 32 pixels)" in said
    assert "20 labelled (" in said
    assert len(said.splitlines()) <= 14
    assert said.endswith("next: mgral check\n")
    assert mgral("init", "data") == ("mgral: params.yaml: expected no file yet, got one; init overwrites nothing: give "
                                     "--params another name, or `mgral check` to look at the data set that it "
                                     "describes\n", 2)
    shorten()
    said, status = mgral("check")
    assert "data: 12 labelled, 40 in the pool, 4 to measure rewards on, 4 to test on" in said
    said, status = mgral("run")
    assert status == 0
    assert re.fullmatch(
        r"WAITING for annotations of 5 images \(balanced_entropy, cycle 1\)\.\n"
        r"  so far: 12 labelled images, mAP 0\.\d{3}\n"
        f"  look: {batch(1)}/batch.html\n"
        f"  for annotators: {handed_out(1)}/preannotations.json \\(COCO, with the detector's boxes\\); for other "
        "tools: mgral export --cycle 1 --to FORMAT, or mgral push --cycle 1 --label-studio URL\n"
        "  next: mgral import --cycle 1 FILE\n", said)
    chosen = ids(1)
    assert len(set(chosen)) == 5
    assert not set(chosen) & {f"photos/{name}" for name in people.names[:20]}
    assert mgral("run") == (said, 0), "it goes on waiting for the same batch"
    assert ids(1) == chosen
    back = people.annotate(batch(1) / "preannotations.json", tmp_path / "back.json")
    said, status = mgral("import", str(back))  # the cycle that waits
    assert (status, said.endswith("next: mgral run\n")) == (0, True)
    mgral("run")
    snapshot = (batch(1) / "snapshot.json").read_bytes()
    shutil.rmtree(batch(2))
    shutil.rmtree(handed_out(2))
    people.label(people.names[:23])  # and three photos were labelled elsewhere
    shutil.copy("data/photos/" + people.names[0], "data/photos/zebra.jpg")
    said, status = mgral("run")
    assert "--cycle 2 FILE" in said
    assert (batch(1) / "snapshot.json").read_bytes() == snapshot, "a snapshot that was taken stays"
    elsewhere = {f"photos/{name}" for name in people.names[20:23]} - set(chosen)
    assert not elsewhere & set(ids(2)), "what is labelled already is not chosen"
    people.annotate(batch(2) / "preannotations.json", back)
    mgral("import", "--cycle", "2", str(back))
    said, status = mgral("run")
    assert (status, "balanced_entropy ends at mAP" in said) == (0, True)
    added = json.loads((batch(2) / "snapshot.json").read_text())["added"]
    assert set(added) == {*ids(2)} | elsewhere
    first = [json.loads((batch(cycle) / "result.json").read_text())["labelled"] for cycle in (1, 2)]
    assert first == [12, 17]


def test_no_image_is_asked_for_twice_and_a_batch_waits_whatever_the_strategy(tmp_path, mgral):
    people, names = People(tmp_path, photos=36, labelled=18), ["balanced_entropy", "coreset", "random"]
    mgral("init", "data")
    shorten(strategies=names, budget=3)
    known = {f"photos/{name}" for name in people.names[:18]}
    asked = {name: [] for name in names}
    for cycle in (1, 2):
        folders = {name: Path("runs/s/seed-0") / name / str(cycle) for name in names}
        assert mgral("run")[1] == 0
        chosen = {name: (folder / "choice.json").read_bytes() for name, folder in folders.items()}
        if cycle == 1:
            assert mgral("run")[1] == 0
            assert {name: (folder / "choice.json").read_bytes() for name, folder in folders.items()} == chosen
        for name, folder in folders.items():
            asked[name] += json.loads(chosen[name])["choice"]["ids"]
            listed = json.loads((folder / "preannotations.json").read_text())["images"]
            assert {image["file_name"] for image in listed} == set(asked[name][-3:])
            back = people.annotate(folder / "preannotations.json", tmp_path / "back.json")
            said, status = mgral("import", "--strategy", name, "--cycle", str(cycle), "--accept-empty", str(back))
            assert status == 0, said
    for name in names:
        assert len(asked[name]) == len(set(asked[name])) == 6
        assert not known & set(asked[name])


def test_other_settings_do_not_replace_a_batch_that_people_work_on(tmp_path, mgral):
    People(tmp_path, photos=40, labelled=20)
    mgral("init", "data")
    shorten()
    mgral("run")
    before = (batch(1) / "choice.json").read_bytes()
    shorten(budget=4)
    said, status = mgral("run")
    assert status == 2
    assert said.splitlines()[-1] == (
        f"mgral: {batch(1)}/choice.json: expected a batch chosen with today's settings, got one chosen with "
        f"study.budget 5, now 4; set it back, give the study another study.name, or delete {batch(1)} and later cycles "
        "to choose anew")
    assert (batch(1) / "choice.json").read_bytes() == before


def test_a_batch_that_was_handed_out_outlives_what_a_stage_removes(tmp_path, mgral):
    """DVC removes the outputs of a stage before it runs it again."""
    people = People(tmp_path, photos=40, labelled=20)
    mgral("init", "data")
    shorten(cycles=1)
    mgral("run")
    chosen = ids(1)
    back = people.annotate(batch(1) / "preannotations.json", tmp_path / "back.json")
    shutil.rmtree(batch(1))
    assert mgral("import", "--cycle", "1", str(back))[1] == 0
    said, status = mgral("run")
    assert (status, ids(1)) == (0, chosen)
    assert json.loads((batch(1) / "snapshot.json").read_text())["added"] == chosen
    shutil.rmtree(batch(1))
    shorten(cycles=1, budget=4)
    said, status = mgral("run")
    assert (status, "chosen with study.budget 5, now 4" in said) == (2, True)


def test_what_is_waited_for_names_its_strategy_and_seed(tmp_path, mgral):
    People(tmp_path, photos=40, labelled=20)
    mgral("init", "data")
    shorten(strategies=["random", "coreset"], seeds=[3, 4], cycles=1)
    said, _ = mgral("run")
    assert [line.strip() for line in said.splitlines() if "next:" in line] == [
        f"next: mgral import{more} --cycle 1 FILE"
        for more in ("", " --strategy coreset", " --seed 4", " --strategy coreset --seed 4")]


@pytest.mark.parametrize(("files", "fault"), [
    ((), "expected images, got none below it"), (("a.json",), "expected images, got none below it")])
def test_nothing_to_begin_with(tmp_path, mgral, files, fault):
    (tmp_path / "data").mkdir()
    for name in files:
        (tmp_path / "data" / name).write_text("[]")
    said, status = mgral("init", "data")
    assert (status, fault in said, (tmp_path / "params.yaml").exists()) == (2, True, False)


def test_what_init_writes_passes_the_check(tmp_path, mgral):
    """All labelled; most listed without a box; two of three in splits that are measured on."""
    people = People(tmp_path, photos=60, labelled=60)
    mgral("init", "data")
    assert mgral("check")[1] == 0
    labels = json.loads((people.folder / "labels.json").read_text())
    kept = {image["id"] for image in labels["images"][:20]}
    labels["annotations"] = [box for box in labels["annotations"] if box["image_id"] in kept]
    (people.folder / "labels.json").write_text(json.dumps(labels))
    said, _ = mgral("init", "data", "--params", "b.yaml")
    assert mgral("check", "--params", "b.yaml")[1] == 0
    assert "without_boxes: unlabelled" in Path("b.yaml").read_text()
    people.label(people.names)
    whole = json.loads((people.folder / "labels.json").read_text())
    for split, part in (("train", slice(0, 20)), ("val", slice(20, 40)), ("test", slice(40, 60))):
        images = whole["images"][part]
        among = {image["id"] for image in images}
        (people.folder / f"{split}.json").write_text(json.dumps({
            **whole, "images": images,
            "annotations": [box for box in whole["annotations"] if box["image_id"] in among]}))
    (people.folder / "labels.json").unlink()
    said, _ = mgral("init", "data", "--params", "c.yaml")
    said, status = mgral("check", "--params", "c.yaml")
    assert (status, "20 to test on" in said) == (0, True)


def test_a_folder_without_any_label(tmp_path, mgral):
    people = People(tmp_path, photos=40, labelled=0)
    said, _ = mgral("init", "data")
    assert "0 labelled" in said
    shorten(budget=10)
    said, _ = mgral("check")
    assert "none of them labelled: the first batch of 10 is chosen for diversity" in said
    said, status = mgral("run")
    first = Path("batches/s/seed-0/first")
    assert (status, f"{first}/preannotations.json" in said, "--cycle 0 FILE" in said) == (0, True, True)
    assert Path("runs/s/seed-0/first/chosen.jpg").stat().st_size > 0
    assert "no model has looked at them yet" in Path("runs/s/seed-0/first/batch.html").read_text()
    back = people.annotate(first / "preannotations.json", tmp_path / "back.json")
    said, status = mgral("import", "--cycle", "0", str(back))
    assert (status, "first batch] 10 of 10 images labelled" in said) == (0, True)
    said, status = mgral("run")
    assert (status, "--cycle 1 FILE" in said) == (0, True)
    assert not set(ids(1)) & set(json.loads((first / "batch.json").read_text())["choice"]["ids"])


def test_a_data_set_in_data(tmp_path, mgral):
    people = People(tmp_path, photos=8, labelled=5)
    assert mgral("check", "--data", "data", "--json", "set.json")[1] == 0
    content = json.loads(Path("set.json").read_text())
    assert content["classes"] == [entry["name"] for entry in people.truth["categories"]]
    assert content["problems"] == []
    labelled = {name for name, image in content["images"].items() if image["boxes"] is not None}
    assert labelled == {f"photos/{name}" for name in people.names[:5]}
    truth = next(box for box in people.truth["annotations"])
    name = next(image["file_name"] for image in people.truth["images"] if image["id"] == truth["image_id"])
    x, y, width, height = truth["bbox"]
    label = content["classes"][truth["category_id"] - 1]
    assert [x, y, x + width, y + height, label] == pytest.approx(content["images"][f"photos/{name}"]["boxes"][0])


def test_a_faulty_data_set_in_data(tmp_path, mgral):
    people = People(tmp_path, photos=8, labelled=5)
    labels = json.loads((people.folder / "labels.json").read_text())
    labels["annotations"][0]["bbox"] = [0, 0, -4, 3]
    (people.folder / "labels.json").write_text(json.dumps(labels))
    said, status = mgral("check", "--data", "data", "--json", "set.json")
    assert status == 2
    content = json.loads(Path("set.json").read_text())
    (problem,) = content["problems"]
    assert problem in said
    assert len(content["images"]) == 8
