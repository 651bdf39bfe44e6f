"""`mgral select` as a person types it: from the files that they have to the files that they need."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows import cli
from mgral.config import DetectorConfig
from mgral.detection import build_detector, save_checkpoint
from tests.detection.test_foreign import RETINA, Trained
from tests.report.test_page import read

SIZE = 64
CLASSES = ("leaf", "beetle")
LABELLED = 4


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Sixteen pictures of blurred noise in two folders; the last is a copy of the first, saved anew."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(15):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        path = root / f"cam{number % 2}" / f"{number:02d}.jpg"
        path.parent.mkdir(exist_ok=True)
        coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(path, quality=95)
    with Image.open(root / "cam0" / "00.jpg") as first:
        first.save(root / "cam1" / "copy.jpg", quality=60)
    return root


def names(photos) -> list[str]:
    return sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.jpg"))


def found(photos) -> dict[str, list[tuple]]:
    """By image: label, x, y, width, height in pixels, and score; more of them and less sure from image to image."""
    return {name: [(row % 2, 4.0 + 2 * row, 6.0, 12.0, 10.0, round(0.95 - 0.03 * number, 3))
                   for row in range(number % 5)] for number, name in enumerate(names(photos))}


def write_coco(folder, photos) -> list[str]:
    numbers = {name: number for number, name in enumerate(names(photos), start=1)}
    entries = [{"image_id": numbers[name], "category_id": label + 1, "bbox": box, "score": score}
               for name, boxes in found(photos).items() for label, *box, score in boxes]
    (folder / "results.json").write_text(json.dumps(entries))
    (folder / "instances.json").write_text(json.dumps(document(photos, names(photos))))
    return ["--predictions", str(folder / "results.json"), "--annotations", str(folder / "instances.json")]


def write_yolo(folder, photos) -> list[str]:
    for name, boxes in found(photos).items():
        path = (folder / "predict" / "labels" / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{label} {(x + w / 2) / SIZE} {(y + h / 2) / SIZE} {w / SIZE} {h / SIZE} {score}\n"
                                for label, x, y, w, h, score in boxes))
    (folder / "predict" / "classes.txt").write_text("\n".join(CLASSES))
    return ["--predictions", str(folder / "predict" / "labels")]


def write_label_studio(folder, photos) -> list[str]:
    tasks = [{"data": {"image": f"/data/local-files/?d={name}"}, "predictions": [{"result": [
        {"id": str(row), "type": "rectanglelabels", "score": score, "original_width": SIZE, "original_height": SIZE,
         "value": {"x": x / SIZE * 100, "y": y / SIZE * 100, "width": w / SIZE * 100, "height": h / SIZE * 100,
                   "rotation": 0, "rectanglelabels": [CLASSES[label]]}}
        for row, (label, x, y, w, h, score) in enumerate(boxes)]}]} for name, boxes in found(photos).items()]
    (folder / "tasks.json").write_text(json.dumps(tasks))
    return ["--predictions", str(folder / "tasks.json")]


def document(photos, listed, boxes=()) -> dict:
    numbers = {name: number for number, name in enumerate(listed, start=1)}
    return {"images": [{"id": number, "file_name": name, "width": SIZE, "height": SIZE}
                       for name, number in numbers.items()],
            "annotations": [{"id": row, "image_id": numbers[name], "category_id": category, "bbox": [1, 1, 20, 20],
                             "area": 400, "iscrowd": 0} for row, (name, category) in enumerate(boxes, start=1)],
            "categories": [{"id": row, "name": name} for row, name in enumerate(CLASSES, start=1)]}


@pytest.fixture
def labelled(tmp_path, photos) -> Path:
    """The first four images, the first of which has a copy among the others; six leaves and no beetle."""
    listed = names(photos)[:LABELLED]
    path = tmp_path / "labelled.json"
    path.write_text(json.dumps(document(photos, listed, [(name, 1) for name in listed[:3] for _ in range(2)])))
    return path


@pytest.fixture
def select(tmp_path, photos, monkeypatch, capsys):
    """Types the command and gives what was printed; faults instead where it ends with 2."""
    def type_in(*arguments: str, out: str = "batch", budget: int = 5, status: int = 0) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["mgral", "select", str(photos), "--budget", str(budget), "--out",
                                          str(tmp_path / out), *map(str, arguments)])
        if not status:
            cli.main()
            return capsys.readouterr().out
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == status
        said = capsys.readouterr()
        assert said.out == ""
        return said.err
    return type_in


def rows(folder: Path) -> list[list[str]]:
    with (folder / "images.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_the_same_batch_from_each_form_of_predictions(tmp_path, photos, labelled, select):
    tables = {}
    for write, to in ((write_coco, "label-studio"), (write_yolo, "cvat"), (write_label_studio, "yolo")):
        said = select(*write(tmp_path, photos), "--labelled", labelled, "--to", to, out=to)
        assert len(said.splitlines()) <= 15
        assert f"{photos}: 16 images, 4 of them labelled (1 of them without a box, taken as empty); 12 to" in said
        assert "30 detections" in said
        tables[to] = rows(tmp_path / to)
    header, *chosen = tables["cvat"]
    assert header == ["rank", "path", "score", "reason"]
    assert [row[0] for row in chosen] == ["1", "2", "3", "4", "5"]
    assert {row[1] for row in chosen} <= set(names(photos)[LABELLED:])
    assert "seldom labelled: beetle" in chosen[0][3]
    for table in tables.values():
        assert [row[1] for row in table] == [row[1] for row in tables["cvat"]]
        assert [row[3] for row in table] == [row[3] for row in tables["cvat"]]
    assert "cam1/copy.jpg" not in {row[1] for row in chosen}, "it looks like a labelled image"
    content = json.loads((tmp_path / "cvat" / "images.json").read_text())
    assert [[str(entry["rank"]), entry["path"], entry["reason"]] for entry in content["images"]] == [
        [rank, path, reason] for rank, path, _, reason in chosen]
    assert (content["strategy"], content["seed"], content["near_copies_passed_over"]) == ("balanced_entropy", 0, 1)
    with Image.open(tmp_path / "cvat" / "contact.jpg") as sheet:
        assert sheet.width > 5 * 160
    page = read(tmp_path / "cvat" / "index.html")
    assert [text.split(".\xa0")[1] for text in page.texts["h2"] if "\xa0" in text] == [row[1] for row in chosen]
    assert chosen[0][3] in page.texts["figcaption"][0]
    assert len(page.of("svg")) > 0, "what the predictions found"
    assert len(json.loads((tmp_path / "label-studio" / "tasks.json").read_text())) == 5
    assert (tmp_path / "cvat" / "annotations.xml").exists()
    assert len(list((tmp_path / "yolo" / "yolo").rglob("labels/**/*.txt"))) == 5


def test_a_checkpoint_of_a_detector(tmp_path, photos, labelled, select):
    save_checkpoint(tmp_path / "d.pth", build_detector(DetectorConfig(image_size=64), CLASSES, seed=0))
    said = select("--checkpoint", tmp_path / "d.pth", "--labelled", labelled, "--to", "coco")
    assert f"{tmp_path / 'd.pth'}: a detector of 2 classes at 64 px, 0 detections in 16 images" in said
    assert "note: no detection in any image has a score of 0.05 or more, so predictions decide nothing" in said
    assert "classes (2): leaf, beetle" in said
    assert len(rows(tmp_path / "batch")) == 6
    assert len(json.loads((tmp_path / "batch" / "preannotations.json").read_text())["images"]) == 5


@pytest.mark.parametrize("given", [(), ("--config",)])
def test_any_mmdet_checkpoint(tmp_path, photos, select, given):
    """Its config is read from it, or from the file; its classes are its own."""
    trained = Trained(tmp_path, RETINA)
    more = ("--config", trained.config) if given else ()
    said = select("--checkpoint", trained.path, *more)
    assert f"{trained.path}: a detector of 3 classes at 96 px" in said
    assert f"classes (3): {', '.join(trained.detector.classes)}" in said
    assert len(rows(tmp_path / "batch")) == 6


def test_a_checkpoint_that_does_not_name_its_classes(tmp_path, photos, select):
    trained = Trained(tmp_path, RETINA)
    trained.write(dataset_meta={})
    said = select("--checkpoint", trained.path, "--classes", "oak, elm,ash")
    assert "classes (3): oak, elm, ash" in said


def test_a_folder_of_which_nothing_is_known(tmp_path, photos, select):
    said = select("--to", "voc", budget=14)
    assert "none known to be labelled" in said
    assert "by coreset" in said
    assert not {"cam0/00.jpg", "cam1/copy.jpg"} <= {row[1] for row in rows(tmp_path / "batch")}
    assert all(np.isfinite(float(row[2])) for row in rows(tmp_path / "batch")[1:])
    assert "no model has looked at them yet" in (tmp_path / "batch" / "index.html").read_text()
    assert len(list((tmp_path / "batch" / "voc").rglob("*.xml"))) == 14


def test_labels_alone_say_what_is_known_already(tmp_path, labelled, select):
    said = select("--labelled", labelled, budget=11, out="b")
    assert "4 of them labelled" in said
    assert "classes (2): leaf, beetle" in said
    assert "cam1/copy.jpg" not in {row[1] for row in rows(tmp_path / "b")}, "the labelled image that it copies is near"


@pytest.mark.parametrize("known", [True, False])
def test_pictures_that_are_cut_short_are_all_named(tmp_path, photos, monkeypatch, capsys, known):
    folder = tmp_path / "cut"
    folder.mkdir()
    for number in range(70):
        whole = (photos / "cam0" / "00.jpg").read_bytes()
        (folder / f"{number}.jpg").write_bytes(whole[:len(whole) // 2] if number in (3, 69) else whole)
    save_checkpoint(tmp_path / "d.pth", build_detector(DetectorConfig(image_size=32), CLASSES, seed=0))
    more = ["--checkpoint", str(tmp_path / "d.pth")] if known else []
    monkeypatch.setattr(sys, "argv", ["mgral", "select", str(folder), "--out", str(tmp_path / "b"), "--budget", "2",
                                      *more])
    with pytest.raises(SystemExit):
        cli.main()
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mgral: ")]
    assert [line.split(": ")[1] for line in said] == [str(folder / "3.jpg"), str(folder / "69.jpg")]
    assert not (tmp_path / "b").exists()


def test_another_batch_is_never_written_over_and_the_same_one_is_completed(tmp_path, select):
    select("--seed", 3)
    before = (tmp_path / "batch" / "images.csv").read_bytes()
    (tmp_path / "batch" / "corrected.json").write_text("mine")
    (tmp_path / "batch" / "contact.jpg").unlink()
    said = select("--seed", 3, "--to", "coco")
    assert f"{tmp_path / 'batch'}: this batch was there; added:" in said
    assert (tmp_path / "batch" / "preannotations.json").exists()
    assert (tmp_path / "batch" / "contact.jpg").exists()
    assert "nothing added" in select("--seed", 3, "--to", "coco")
    for arguments in (("--seed", 4), ("--seed", 3, "--strategy", "random")):
        assert "expected no batch there or this very one, got another (5 images by coreset, seed 3); name another " \
            "folder by --out" in select(*arguments, status=2)
    assert (tmp_path / "batch" / "images.csv").read_bytes() == before
    assert (tmp_path / "batch" / "corrected.json").read_text() == "mine"
    assert not list((tmp_path / "batch").glob(".*"))


def test_a_folder_of_other_files_is_refused_before_anything_is_read(tmp_path, select):
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch" / "thesis.tex").write_text("mine")
    assert "expected no folder, an empty one or that of this very batch, got one of other files" in select(status=2)
    (tmp_path / "file").write_text("mine")
    assert "expected a folder or nothing, got a file" in select(out="file", status=2)


def test_the_batchs_own_pictures_are_not_chosen_next_time(tmp_path, photos, select):
    inside = photos / "batch"
    try:
        select("--to", "yolo", out=str(inside), budget=9)
        assert "16 images" in select("--to", "coco", out=str(inside), budget=9)
    finally:
        import shutil

        shutil.rmtree(inside)


def test_a_strategy_in_a_file(tmp_path, select):
    own = tmp_path / "own.py"
    own.write_text('def select(view, budget, rng):\n    """The last ones."""\n    return sorted(view.pool)[-budget:]\n')
    assert "by own (The last ones.)" in select("--strategy", own)
    chosen = rows(tmp_path / "batch")[1:]
    assert [row[1] for row in chosen] == sorted(row[1] for row in chosen)
    assert {tuple(row[2:]) for row in chosen} == {("0.0", "The last ones.")}
    own.write_text("def select(view, budget, rng):\n    return 1 / 0\n")
    said = select("--strategy", own, out="other", status=2)
    assert "own.py: expected a strategy that chooses, got ZeroDivisionError: division by zero; correct its code" in said


@pytest.mark.parametrize(("arguments", "said"), [
    (("--strategy", "balanced_entropy"), "expected predictions, got none; give --predictions or --checkpoint"),
    (("--strategy", "mgral"), "expected experiments, got none; it trains detectors: use `mgral run`"),
    (("--strategy", "rare_first"), "expected the true boxes of the pool, got none"),
    (("--strategy", "best"), "expected a strategy of random"),
    (("--budget", 17), "--budget: expected at most the 16 images"), (("--budget", 0), "--budget: expected at least 1"),
    (("--seed", -1), "--seed: expected a whole number from 0"),
    (("--config", "c.py"), "--config: expected --checkpoint beside it"),
    (("--annotations", "a.json"), "--annotations: expected --predictions beside it"),
    (("--unboxed", "pool"), "--unboxed: expected --labelled beside it"),
    (("--checkpoint", "c.pth", "--predictions", "p.json"), "expected a checkpoint or predictions, got both"),
    (("--predictions", "gone.json"), "--predictions gone.json: expected a file, got nothing there")])
def test_options_that_cannot_be_meant(select, arguments, said):
    told = select(*arguments, status=2)
    assert said in told
    assert "Traceback" not in told


def test_what_only_a_pipeline_has_is_said_in_one_line_and_at_once(select):
    assert len(select("--strategy", "mgral", status=2).splitlines()) == 1


def test_embeddings_of_ones_own_decide_what_is_alike(tmp_path, photos, select):
    listed = names(photos)
    embedding = np.eye(16, dtype=np.float32)
    embedding[1] = embedding[0]  # as alike as the copies now are not
    np.save(tmp_path / "e.npy", embedding)
    select("--embeddings", tmp_path / "e.npy", budget=15)
    chosen = {row[1] for row in rows(tmp_path / "batch")[1:]}
    assert len({listed[0], listed[1]} & chosen) == 1


def test_file_names_and_reasons_are_no_formulas(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "odd"
    folder.mkdir()
    for number, name in enumerate(("=1+1.jpg", "@x.jpg", "-a<b>&.jpg", '+"q",\n.jpg', "plain.jpg")):
        Image.new("RGB", (40, 30), (number * 50, 0, 0)).save(folder / name)
    for to in ("label-studio", "cvat", "cvat-coco", "coco", "voc", "yolo"):
        monkeypatch.setattr(sys, "argv", ["mgral", "select", str(folder), "--budget", "5", "--to", to, "--out",
                                          str(tmp_path / to)])
        cli.main()
    cells = [cell for row in rows(tmp_path / "voc") for cell in row]
    assert not [cell for cell in cells if cell[0] in "=+-@"]
    assert {"'=1+1.jpg", "'@x.jpg", "'-a<b>&.jpg", "'+\"q\",\n.jpg", "plain.jpg"} <= set(cells)
    assert {entry["path"] for entry in json.loads((tmp_path / "voc" / "images.json").read_text())["images"]} == {
        "=1+1.jpg", "@x.jpg", "-a<b>&.jpg", '+"q",\n.jpg', "plain.jpg"}
