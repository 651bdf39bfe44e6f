"""What a teacher must know for Soft Teacher to gain: static teachers of more labels, and detectors that know things.

    python benchmarks/teacher.py --params examples/semisup.yaml --out DIR [--data DIR] [--folds 2] [--shares 0.2 0.4 1]
                                 [--json]

Every student has the labels of its fold. Its teacher saw these and some of the others' (`teacher 0.4`: two fifths of
all), or all start from a detector that was trained on other images, scenes of one class (`pretrained`). Figures are
those of the test images; `precision` and `recall` are those of the teacher's boxes in the unlabelled images at the
threshold that makes them pseudo boxes (right class, IoU of at least a half). Detectors are kept in DIR: a run that is
interrupted goes on where it was. The last line is one JSON object; `ratio` is Soft Teacher's mAP over the supervised
baseline's, both pretrained.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from harness import hardware, print_line, study_parser
from reward import markdown
from torchvision.ops import box_iou

from mgral.config import Config
from mgral.data.dataset import Boxes, Dataset, ImageId
from mgral.data.images import ImageStore
from mgral.data.splits import draw_folds, draw_test
from mgral.detection import Detector, detect, evaluate, load_checkpoint
from mgral.files import read_json, write_json
from mgral.params import read_config
from mgral.pool.inspection import Detections
from mgral.study.preparation import load_data, open_images
from mgral.study.workspace import Workspace
from mgral.training.from_scratch import TrainingSet, train_by_method


@dataclass(frozen=True, eq=False)
class Material:
    """What all trainings have in common."""

    config: Config
    dataset: Dataset
    store: ImageStore
    train: tuple[ImageId, ...]
    test: tuple[ImageId, ...]
    folder: Path

    @classmethod
    def of(cls, config: Config, dataset: Dataset, folder: Path) -> Material:
        train, test = draw_test(dataset, config.data, config.study.seeds[0])
        store = open_images(dataset, config.detector.image_size, folder / "cache")
        return cls(config, dataset, store, tuple(image_id for image_id in train if image_id in dataset.boxes), test,
                   folder)

    def truth(self, ids: tuple[ImageId, ...]) -> dict[ImageId, Boxes]:
        return {image_id: self.dataset.boxes[image_id] for image_id in ids}

    def path(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '-')}.pth"

    def trained(self, name: str, method: str, labelled: tuple[ImageId, ...], teacher: str = "",
                weights: Path | None = None) -> Detector:
        """The detector that a method makes of these labels; read where it lies in the folder already.

        With the name of a teacher the student of Soft Teacher's `multi_stage` scheme: its teacher never learns.
        """
        settings = self.config.semisup.model_copy(update={"method": method})
        if teacher and method == "soft_teacher":
            rules = settings.soft_teacher.model_copy(update={"scheme": "multi_stage"})
            settings = settings.model_copy(update={"soft_teacher": rules})
        begun = self.config.detector.model_copy(update={"weights": str(weights) if weights else None})
        unlabelled, seed = self.others(labelled), self.config.study.seeds[0]
        data = TrainingSet(begun, self.dataset.classes, self.store, self.truth(labelled), unlabelled, seed, seed, "cpu")
        for _ in train_by_method(data, settings, self.path(name), self.path(teacher)):
            pass
        return load_checkpoint(self.path(name))

    def others(self, labelled: tuple[ImageId, ...]) -> tuple[ImageId, ...]:
        known = set(labelled)
        return tuple(image_id for image_id in self.train if image_id not in known)

    def figures(self, detector: Detector) -> dict:
        found = evaluate(detect(detector, self.store, self.test), self.truth(self.test), self.dataset.classes)
        return {"map": found.map, "ap50": found.ap50, "per_class": found.per_class}

    def teaching(self, teacher: Detector, labelled: tuple[ImageId, ...]) -> dict:
        """Precision and recall of the pseudo boxes that this teacher would give."""
        others, threshold = self.others(labelled), self.config.semisup.soft_teacher.foreground_threshold
        found = detect(teacher, self.store, others)
        right, said, there = np.sum([matched(found[image_id].above(threshold), self.dataset.boxes[image_id])
                                     for image_id in others], axis=0)
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


def pretrained(config: Config, folder: Path, count: int) -> Path:
    """A checkpoint that knows scenes of another seed, and nothing of their classes."""
    scenes = config.data.synthetic.model_copy(update={
        "pool": count, "reward": 1, "test": 1, "duplicates": 0.0, "image_size": config.detector.image_size})
    data = config.data.model_copy(update={"format": "synthetic", "pool": "train", "reward": "reward", "test": "test",
                                          "synthetic": scenes})
    workspace = Workspace(folder, "others", config.study.seeds[0] + 1000)
    load_data(data, workspace, None)
    for file in (workspace.scenes / "annotations").glob("*.json"):
        content = read_json(file)
        write_json(file, {**content, "categories": [{"id": 1, "name": "object"}], "annotations": [
            {**annotation, "category_id": 1} for annotation in content["annotations"]]})
    dataset = load_data(data, workspace, None).dataset
    others = Material.of(config.model_copy(update={"data": data}), dataset, folder / "others")
    others.trained("pretrained", "supervised", others.train)
    return others.path("pretrained")


def trainings(material: Material, weights: Path, folds: int,
              shares: Sequence[float]) -> Iterator[tuple[str, Callable[[], dict]]]:
    """Names, the fold last, and how to measure it."""
    fractions, seed = material.config.semisup_study.fractions, material.config.study.seeds[0]
    for fold, labelled in enumerate(draw_folds(material.train, fractions[0], folds, seed)):
        rest = np.random.default_rng(seed + fold).permutation(material.others(labelled))
        for share in (fractions[0], *shares):
            more = tuple(map(str, rest[:max(round(share * len(material.train)) - len(labelled), 0)]))
            known = tuple(sorted((*labelled, *more)))
            name = f"supervised {share:g}/{fold}"
            yield name, partial(baseline, material, name, known)
            yield f"teacher {share:g}/{fold}", partial(taught, material, f"teacher {share:g}/{fold}", labelled, name,
                                                       known)
        for method in ("supervised", "soft_teacher", "stac"):
            yield f"pretrained {method}/{fold}", partial(knowing, material, method, fold, labelled, weights)


def baseline(material: Material, name: str, labelled: tuple[ImageId, ...]) -> dict:
    return material.figures(material.trained(name, "supervised", labelled))


def taught(material: Material, name: str, labelled: tuple[ImageId, ...], tutor: str,
           known: tuple[ImageId, ...]) -> dict:
    """A student of the fold's labels, and what its teacher was like: the baseline of the name, of more labels."""
    teacher = material.trained(tutor, "supervised", known)
    student = material.trained(name, "soft_teacher", labelled, tutor)
    return material.figures(student) | material.teaching(teacher, labelled)


def knowing(material: Material, method: str, fold: int, labelled: tuple[ImageId, ...], weights: Path) -> dict:
    """A method from a pretrained start; and what the baseline from there would be like as a teacher."""
    name = f"pretrained supervised/{fold}"
    first = material.trained(name, "supervised", labelled, weights=weights)
    if method == "supervised":
        return material.figures(first) | material.teaching(first, labelled)
    # Soft Teacher's teacher begins as the student does; STAC's is the baseline.
    teacher = name if method == "stac" else ""
    return material.figures(material.trained(f"pretrained {method}/{fold}", method, labelled, teacher, weights))


def summary(lines: dict[str, dict]) -> list[dict]:
    """Means over folds, and the mean difference to the baseline of the same start with its standard error."""
    rows = []
    names = list(dict.fromkeys(key.rsplit("/", 1)[0] for key in lines))
    for name in names:
        baseline = "pretrained supervised" if name.startswith("pretrained") else names[0]
        folds = [key.rsplit("/", 1)[1] for key in lines if key.rsplit("/", 1)[0] == name]
        mine, other = ([lines[f"{which}/{fold}"] for fold in folds] for which in (name, baseline))
        gaps = {figure: [line[figure] - against[figure] for line, against in zip(mine, other, strict=True)]
                for figure in ("map", "ap50")}
        rows.append({"training": name, "folds": len(folds),
                     **{figure: 100 * float(np.mean([line[figure] for line in mine])) for figure in gaps},
                     **{f"gain in {figure}": 100 * float(np.mean(gap)) for figure, gap in gaps.items()},
                     "error": 100 * float(np.std(gaps["map"], ddof=1) / len(folds)**0.5) if len(folds) > 1 else None,
                     **{figure: float(np.mean([line[figure] for line in mine])) if figure in mine[0] else None
                        for figure in ("teacher", "precision", "recall")}})
    return rows


def main() -> None:
    parser = study_parser(__doc__, "examples/semisup.yaml")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.2, 0.4, 1.0], help="of all labels, for teachers")
    parser.add_argument("--pretraining", type=int, default=2000, help="scenes of another seed, objects of one class")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    config = read_config(options.params)
    workspace = Workspace(options.out, "teacher", config.study.seeds[0])
    material = Material.of(config, load_data(config.data, workspace, options.data).dataset, options.out / "trained")
    weights, lines = pretrained(config, material.folder, options.pretraining), {}
    for name, measured in trainings(material, weights, options.folds, options.shares):
        lines[name] = measured()
        if not options.json:
            print(f"{name}: mAP {lines[name]['map']:.3f}")
    rows = summary(lines)
    if not options.json:
        print(markdown(rows))
    reached = {row["training"]: row["map"] for row in rows}
    supervised = reached["pretrained supervised"]
    print_line("teacher", reached["pretrained soft_teacher"] / supervised if supervised else None, 1,
               {"rows": rows, **hardware()})


if __name__ == "__main__":
    main()
