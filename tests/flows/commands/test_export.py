"""`mgral export`: what people were asked to label, for another tool, from the files of the batch alone."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from flows import cli
from mgral.annotation.coco import export_batch, read_annotations, read_preannotations
from mgral.annotation.preannotations import FORMATS
from mgral.config import DataConfig
from mgral.data.formats import read_dataset
from mgral.pool.inspection import Detections
from mgral.study.results import Choice, ChoiceRecord
from mgral.study.workspace import Workspace
from tests.people import People

SPACE = Workspace(Path("."), "s", 0)


@pytest.fixture
def people(tmp_path, monkeypatch) -> People:
    """A study of twelve photos, four of them labelled; nothing was run yet."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({
        "data": {"root": "data"}, "study": {"name": "s", "strategies": ["random", "coreset"], "cycles": 3,
                                            "seeds": [0, 7], "budget": 3}}))
    return People(tmp_path, photos=12, labelled=4)


def dataset():
    return read_dataset(DataConfig(root="data"), Path("data"), Path("heads")).dataset


def chosen(people: People, cycle: int, *rows: int, space: Workspace = SPACE, strategy: str = "random") -> list[str]:
    """Writes a batch of these photos as a cycle does, the last one best, and gives its ids."""
    images, folder = dataset(), space.cycle(strategy, cycle)
    ids = sorted(f"photos/{people.names[row]}" for row in rows)
    scores = tuple(float(row) for row in range(len(ids)))
    ChoiceRecord(Choice(tuple(ids), "by hand", scores, ("why",) * len(ids)), None, None, {}).write(
        folder / "choice.json")
    boxes = {image_id: Detections(np.array([[2, 3, 12, 14], [5, 5, 20, 30]], np.float32),
                                  np.array([0.9, 0.6], np.float32), np.array([0, 1])) for image_id in ids}
    export_batch(folder / "preannotations.json", images, ids, boxes)
    return ids


def hand_out(cycle: int, strategy: str = "random") -> None:
    """Keeps the batch where people's work is kept, and removes what can be computed again."""
    folder = SPACE.batch(strategy, cycle)
    folder.mkdir(parents=True)
    shutil.copy(SPACE.choice(strategy, cycle), SPACE.handed_out(strategy, cycle))
    shutil.copy(SPACE.cycle(strategy, cycle) / "preannotations.json", folder)
    shutil.rmtree("runs")


@pytest.fixture
def export(monkeypatch, capsys):
    """Types the command and gives what was printed; the faults where it ends with 2."""
    def typed(*words: str, status: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["mgral", "export", *words])
        capsys.readouterr()
        if not status:
            cli.main()
            return capsys.readouterr().out
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        assert (ended.value.code, said.out) == (status, "")
        faults = [line for line in said.err.splitlines() if line.startswith("mgral: ")]
        assert "Traceback" not in said.err
        return "\n".join(faults)
    return typed


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_reads_back_on_a_clone_that_has_no_runs(people, export, kind):
    ids = chosen(people, 1, 5, 6, 7)
    hand_out(1)
    said = export("--to", kind)
    assert said.startswith(f"cycle 1 of random seed 0: 3 images, 6 boxes, as {kind}\n")
    assert said.endswith("  next: mgral import --cycle 1 FILE\n")
    assert "  in the tool: " in said
    folder = Path(f"runs/s/seed-0/export/random-1-{kind}")
    record = json.loads((folder / "batch.json").read_text())
    assert record["images"] == ids[::-1], "best first"
    if kind == "label-studio":
        tasks = json.loads((folder / "tasks.json").read_text())
        assert [task["data"]["path"] for task in tasks] == ids[::-1]
        assert {len(task["predictions"][0]["result"]) for task in tasks} == {2}
    elif kind == "coco":
        boxes, _ = read_annotations(folder / "preannotations.json", dataset(), ids)
        np.testing.assert_allclose([box.xyxy for box in boxes.values()], [[[2, 3, 12, 14], [5, 5, 20, 30]]] * 3)
        seen = read_preannotations(folder / "preannotations.json", dataset())
        np.testing.assert_allclose([found.scores for found in seen.values()], [[0.9, 0.6]] * 3)
    elif kind in ("voc", "yolo"):
        back = read_dataset(DataConfig(root=str(folder / kind)), folder / kind, Path("heads")).dataset
        assert sorted(map(len, back.boxes.values())) == [2, 2, 2]
    elif kind == "cvat":
        text = (folder / "annotations.xml").read_text()
        assert (text.count("<image "), text.count("<box ")) == (3, 6)
        assert all(f'name="{image_id}"' in text for image_id in ids)


def test_the_newest_batch_is_meant_unless_another_is_named(people, export):
    chosen(people, 1, 5, 6, 7)
    second = chosen(people, 2, 8, 9)
    chosen(people, 1, 10, 11, space=Workspace(Path("."), "s", 7), strategy="coreset")
    assert "cycle 2 of random seed 0: 2 images" in export("--to", "coco")
    assert "cycle 1 of random seed 0: 3 images" in export("--to", "coco", "--cycle", "1", "--out", "own")
    assert json.loads(Path("runs/s/seed-0/export/random-2-coco/batch.json").read_text())["images"] == second[::-1]
    said = export("--to", "cvat", "--strategy", "coreset", "--seed", "7")
    assert "cycle 1 of coreset seed 7: 2 images" in said
    assert "next: mgral import --strategy coreset --seed 7 --cycle 1 FILE" in said
    assert Path("runs/s/seed-7/export/coreset-1-cvat/annotations.xml").exists()


def test_the_first_batch(people, export):
    ids = [f"photos/{name}" for name in people.names[:3]]
    (people.folder / "labels.json").unlink()
    ChoiceRecord(Choice(tuple(ids), "diversity"), None, None, {}).write(SPACE.handed_out("", 0))
    export_batch(SPACE.batch("", 0) / "preannotations.json", dataset(), ids, {})
    said = export("--to", "label-studio")
    assert said.startswith("the first batch: 3 images, 0 boxes, as label-studio\n")
    assert said.endswith("  next: mgral import --cycle 0 FILE\n")
    folder = Path("runs/s/seed-0/export/first-label-studio")
    assert [task["data"]["path"] for task in json.loads((folder / "tasks.json").read_text())] == ids
    assert 'value="object"' in (folder / "label_config.xml").read_text()


def test_nothing_is_written_over(people, export):
    chosen(people, 1, 5, 6, 7)
    export("--to", "cvat", "--out", "own")
    Path("own/annotations.xml").write_text("corrected")
    assert "own: this batch was there; nothing added" in export("--to", "cvat", "--out", "own")
    said = export("--to", "yolo", "--out", "own")
    assert "own: this batch was there; added:\n  own/yolo: images and text files\n  in the tool: open own/yolo" in said
    chosen(people, 2, 8, 9)
    assert export("--to", "cvat", "--out", "own", status=2) == (
        "mgral: own: expected no batch there or this very one, got another (3 images of s, random, cycle 1); name "
        "another folder by --out or move it away")
    assert Path("own/annotations.xml").read_text() == "corrected"
    Path("own/batch.json").write_text("[]")
    assert "got a batch.json that cannot be read" in export("--to", "cvat", "--out", "own", status=2)
    Path("thesis").mkdir()
    Path("thesis/thesis.tex").write_text("mine")
    assert "got one of other files; name another by --out" in export("--to", "cvat", "--out", "thesis", status=2)
    assert not list(Path("own").glob(".*"))


def test_where_there_is_no_batch_yet(people, export):
    assert export("--to", "cvat", status=2) == (
        "mgral: --cycle: expected one, as no cycle of random has a batch; `mgral status` says where the study stands")
    assert export("--to", "cvat", "--cycle", "2", status=2) == (
        "mgral: runs/s/seed-0/random/2/choice.json: expected the batch of cycle 2, got no file; run cycle 2 of random "
        "first: `mgral run`")
    assert "--cycle: expected 0 to 3" in export("--to", "cvat", "--cycle", "4", status=2)
    assert export("--to", "excel", status=2) == (
        f"mgral: --to: expected one of {', '.join(FORMATS)}, got excel")
    Path("params.yaml").unlink()
    assert len(export("--to", "cvat", status=2).splitlines()) == 1
    assert not Path("runs/s/seed-0/export").exists()


def test_files_of_the_batch_that_are_lost_or_damaged(people, export):
    ids = chosen(people, 1, 5, 6, 7)
    boxes = SPACE.cycle("random", 1) / "preannotations.json"
    before = boxes.read_text()
    boxes.unlink()
    assert f"{boxes}: expected the boxes that the batch went out with, got no " \
        "file; restore it, or `mgral run`" in export("--to", "cvat", status=2)
    boxes.write_text(before[:100])
    assert f"{boxes}: expected the batch as it went out" in export("--to", "cvat", status=2)
    export_batch(boxes, dataset(), ids[:2], {})
    assert "preannotations.json: expected the images of " in export("--to", "cvat", status=2)
    boxes.write_text(before)
    (people.folder / ids[0]).unlink()
    assert f"expected the image {ids[0]!r} of {SPACE.choice('random', 1)}, got none" in export("--to", "cvat", status=2)
    record = json.loads(SPACE.choice("random", 1).read_text())
    for content in ('{"choice": 3}', "[[1]]", "", json.dumps(record | {"choice": record["choice"] | {"scores": [1]}})):
        SPACE.choice("random", 1).write_text(content)
        assert f"{SPACE.choice('random', 1)}: expected a batch as it was chosen, got " in export(
            "--to", "cvat", status=2)
    assert not Path("runs/s/seed-0/export").exists()
