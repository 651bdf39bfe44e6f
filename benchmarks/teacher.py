"""What a teacher must know for Soft Teacher to gain: static teachers of more labels, and detectors that know things.

    python benchmarks/teacher.py --params examples/semisup.yaml --out DIR [--data DIR] [--folds 2] [--shares 0.2,0.4,1]
                                 [--json]

Every student has the labels of its fold. Its teacher saw these and some of the others' (`teacher 0.4`: two fifths of
all), or all start from a detector that was trained on other images, scenes of one class (`pretrained`). Figures are
those of the test images; `precision` and `recall` are those of the teacher's boxes in the unlabelled images at the
threshold that makes them pseudo boxes (right class, IoU of at least a half). Each training is a line of
DIR/teacher.jsonl: a run that is interrupted goes on behind the last one. The last line is one JSON object; `ratio` is
Soft Teacher's mAP over the supervised baseline's, both pretrained.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from common import hardware
from reward import markdown
from reward_records import run
from torchvision.ops import box_iou

from mgral.config import Config
from mgral.data.dataset import Boxes, Dataset, ImageId
from mgral.data.formats import load_dataset
from mgral.data.images import ImageStore
from mgral.data.splits import draw_folds, draw_test
from mgral.data.synthetic import write_scenes
from mgral.detection.building import build_detector, load_checkpoint, save_checkpoint
from mgral.detection.detector import Detector
from mgral.detection.evaluation import evaluate
from mgral.detection.inspecting import detect
from mgral.inspection import Detections
from mgral.params import read_config
from mgral.semisup.learning import learn

PRETRAINING = 2000
"""Scenes of another seed, each object of one class."""


@dataclass(frozen=True, eq=False)
class Material:
    """What all trainings have in common."""

    config: Config
    dataset: Dataset
    store: ImageStore
    train: tuple[ImageId, ...]
    test: tuple[ImageId, ...]
    folder: Path

    def truth(self, ids: tuple[ImageId, ...]) -> dict[ImageId, Boxes]:
        return {one: self.dataset.boxes[one] for one in ids}

    def trained(self, name: str, method: str, labelled: tuple[ImageId, ...], teacher: Detector | None = None,
                weights: Path | None = None) -> Detector:
        """The detector that a method makes of these labels; read where it lies in the folder already.

        With a teacher the student of Soft Teacher's `multi_stage` scheme: its teacher never learns.
        """
        path = self.folder / f"{name.replace('/', '-')}.pth"
        if path.exists():
            return load_checkpoint(path)
        settings = self.config.semisup.model_copy(update={"method": method})
        if teacher is not None and method == "soft_teacher":
            rules = settings.soft_teacher.model_copy(update={"scheme": "multi_stage"})
            settings = settings.model_copy(update={"soft_teacher": rules})
        begun = self.config.detector.model_copy(update={"weights": str(weights) if weights else None})
        start = build_detector(begun, self.dataset.classes, self.config.seed)
        unlabelled = tuple(one for one in self.train if one not in set(labelled))
        detector = learn(start, self.store, self.truth(labelled), unlabelled, settings, self.config.seed, teacher,
                         path.with_suffix(".part.pth"))
        save_checkpoint(path, detector)
        return detector

    def figures(self, detector: Detector) -> dict:
        found = evaluate(detect(detector, self.store, self.test), self.truth(self.test), self.dataset.classes)
        return {"map": found.map, "ap50": found.ap50, "per_class": found.per_class}

    def teaching(self, teacher: Detector, labelled: tuple[ImageId, ...]) -> dict:
        """Precision and recall of the pseudo boxes that this teacher would give."""
        others = tuple(one for one in self.train if one not in set(labelled))
        found, threshold = detect(teacher, self.store, others), self.config.semisup.soft_teacher.foreground_threshold
        right, said, there = np.sum([matched(found[one].above(threshold), self.dataset.boxes[one])
                                     for one in others], axis=0)
        return {"precision": right / max(said, 1), "recall": right / there, "teacher": self.figures(teacher)["map"]}


def matched(found: Detections, truth: Boxes) -> tuple[int, int, int]:
    """Boxes of the right class and place, each true box at most once; boxes found; true boxes."""
    iou = box_iou(torch.as_tensor(found.xyxy, dtype=torch.float32), torch.as_tensor(truth.xyxy, dtype=torch.float32))
    iou[torch.as_tensor(found.labels)[:, None] != torch.as_tensor(truth.labels)[None]] = 0
    right = 0
    for row in range(len(found) if len(truth.labels) else 0):  # best first
        best = int(iou[row].argmax())
        if iou[row, best] >= 0.5:
            iou[:, best] = 0
            right += 1
    return right, len(found), len(truth.labels)


def pretrained(config: Config, folder: Path) -> Path:
    """A checkpoint that knows scenes of another seed, and nothing of their classes."""
    path = folder / "pretrained.pth"
    if path.exists():
        return path
    scenes = config.data.synthetic.model_copy(update={
        "pool": PRETRAINING, "reward": 1, "test": 1, "duplicates": 0.0, "image_size": config.detector.image_size})
    write_scenes(scenes, folder / "others", config.seed + 1000)
    for file in (folder / "others" / "annotations").glob("*.json"):
        content = json.loads(file.read_text())
        content["categories"] = [{"id": 1, "name": "object"}]
        content["annotations"] = [one | {"category_id": 1} for one in content["annotations"]]
        file.write_text(json.dumps(content))
    data = config.data.model_copy(update={"format": "synthetic", "pool": "train", "reward": "reward", "test": "test",
                                          "synthetic": scenes})
    dataset = load_dataset(data, folder / "others").dataset
    store = ImageStore.open(dataset, config.detector.image_size, folder / "others-cache")
    train, test = draw_test(dataset, data, config.seed)
    others = Material(config.model_copy(update={"data": data}), dataset, store, train, test, folder)
    others.trained("pretrained", "supervised", train)
    return path


def trainings(material: Material, folds: int,
              shares: tuple[float, ...]) -> Iterator[tuple[str, tuple, Callable[[], dict]]]:
    """Key, nothing, and how to measure it."""
    fractions, seed = material.config.semisup_study.fractions, material.config.seed
    weights = pretrained(material.config, material.folder)
    for fold, labelled in enumerate(draw_folds(material.train, fractions[0], folds, seed)):
        rest = np.random.default_rng(seed + fold).permutation([one for one in material.train
                                                               if one not in set(labelled)])
        for share in (fractions[0], *shares):
            more = tuple(map(str, rest[:max(round(share * len(material.train)) - len(labelled), 0)]))
            known = tuple(sorted((*labelled, *more)))
            name = f"supervised {share:g}/{fold}"
            yield name, (), partial(baseline, material, name, known)
            yield f"teacher {share:g}/{fold}", (), partial(taught, material, f"teacher {share:g}/{fold}", labelled,
                                                           name, known)
        for method in ("supervised", "soft_teacher", "stac"):
            yield f"pretrained {method}/{fold}", (), partial(knowing, material, method, fold, labelled, weights)


def baseline(material: Material, name: str, labelled: tuple[ImageId, ...]) -> dict:
    return material.figures(material.trained(name, "supervised", labelled))


def taught(material: Material, name: str, labelled: tuple[ImageId, ...], tutor: str,
           known: tuple[ImageId, ...]) -> dict:
    """A student of the fold's labels, and what its teacher was like: the baseline of the name, of more labels."""
    teacher = material.trained(tutor, "supervised", known)
    student = material.trained(name, "soft_teacher", labelled, teacher)
    return material.figures(student) | material.teaching(teacher, labelled)


def knowing(material: Material, method: str, fold: int, labelled: tuple[ImageId, ...], weights: Path) -> dict:
    """A method from a pretrained start; and what the baseline from there would be like as a teacher."""
    first = material.trained(f"pretrained supervised/{fold}", "supervised", labelled, weights=weights)
    if method == "supervised":
        return material.figures(first) | material.teaching(first, labelled)
    # Soft Teacher's teacher begins as the student does; STAC's is the baseline.
    teacher = first if method == "stac" else None
    return material.figures(material.trained(f"pretrained {method}/{fold}", method, labelled, teacher, weights))


def summary(path: Path) -> list[dict]:
    """Means over folds, and the mean difference to the baseline of the same start with its standard error."""
    lines = {one["key"]: one for one in map(json.loads, path.read_text().splitlines())}
    rows = []
    for name in dict.fromkeys(key.rsplit("/", 1)[0] for key in lines):
        first = next(one for one in lines if one.startswith("supervised"))
        baseline = "pretrained supervised" if name.startswith("pretrained") else first.rsplit("/", 1)[0]
        folds = [key.rsplit("/", 1)[1] for key in lines if key.rsplit("/", 1)[0] == name]
        mine = [lines[f"{name}/{fold}"] for fold in folds]
        gaps = [(mine[row]["map"] - lines[f"{baseline}/{fold}"]["map"],
                 mine[row]["ap50"] - lines[f"{baseline}/{fold}"]["ap50"]) for row, fold in enumerate(folds)]
        rows.append({"training": name, "folds": len(folds),
                     **{figure: 100 * float(np.mean([one[figure] for one in mine])) for figure in ("map", "ap50")},
                     **{f"gain in {figure}": 100 * float(np.mean([gap[at] for gap in gaps]))
                        for at, figure in enumerate(("map", "ap50"))},
                     "error": 100 * float(np.std([gap[0] for gap in gaps], ddof=1) / len(gaps)**0.5)
                     if len(gaps) > 1 else None,
                     **{figure: float(np.mean([one[figure] for one in mine])) if figure in mine[0] else None
                        for figure in ("teacher", "precision", "recall")}})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, default=Path("examples/semisup.yaml"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--shares", default="0.2,0.4,1", help="of all labels, that teachers saw")
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    config = read_config(options.params)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.data is None:
        write_scenes(config.data.synthetic, options.out / "scenes", config.seed)
    dataset = load_dataset(config.data, options.data or options.out / "scenes").dataset
    store = ImageStore.open(dataset, config.detector.image_size, options.out / "cache")
    train, test = draw_test(dataset, config.data, config.seed)
    material = Material(config, dataset, store, tuple(one for one in train if one in dataset.boxes), test, options.out)
    path = options.out / "teacher.jsonl"
    shares = tuple(map(float, options.shares.split(",")))
    run(trainings(material, options.folds, shares), path, (lambda text: None) if options.json else print)
    rows = summary(path)
    if not options.json:
        print(markdown(rows))
    reached = {row["training"]: row["map"] for row in rows}
    print(json.dumps({"name": "teacher", "ratio": reached["pretrained soft_teacher"] / reached["pretrained supervised"],
                      "goal": 1, "raw": {"rows": rows, **hardware()}}))


if __name__ == "__main__":
    main()
