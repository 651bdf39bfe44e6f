"""A params file that fits a data set, and what one sees in the set: what `mgral init` writes and says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from mgral.config import Config, DataConfig, DetectorConfig, StudyConfig, TrainingConfig
from mgral.data.dataset import Boxes, Dataset
from mgral.data.formats import Loaded
from mgral.data.formats.detecting import NAMES
from mgral.data.splits import SHARE as SHARE_ASIDE
from mgral.data.splits import measured_splits

STRIDE = 32
"""Image sizes are multiples of it."""
SEEN = 16.0
"""Pixels that the shorter side of nine boxes in ten should have at the detector's image size."""
SMALLEST, LARGEST = 64, 512
"""Longest sides that the preset `tiny` is proposed for."""
ON_GPU = 640
BATCH = 8
EPOCHS = 40
"""Times that a training sees each labelled image, as far as the limits of `STEPS` go."""
STEPS = (300, 3000)
SHARE = 0.1
"""Of the images to choose from, the budget of a cycle, within `BUDGETS`."""
BUDGETS = (10, 100)
SIMULATED = 0.2
"""Of the images of a data set that is labelled already, those that count as labelled at first in a simulation."""
CLASSES = 6
"""Rows of the class table that are shown."""
NAMED = 30
"""Classes that are written into the params file; more are taken from the data set."""


@dataclass(frozen=True)
class Proposal:
    """The settings, and remarks by name of a setting, which become comments."""

    config: Config
    remarks: dict[str, str]


def propose(loaded: Loaded, root: Path, data: DataConfig, gpu: bool) -> Proposal:
    """Settings that fit the data set: what it is, a detector and an image size for it, and a budget."""
    dataset, remarks = loaded.dataset, {}
    values: dict[str, object] = {"root": str(root)}
    if loaded.format != "images":  # labels may come in any format
        values["format"] = loaded.format
    remarks["format"] = NAMES[loaded.format]
    if 0 < len(dataset.classes) <= NAMED:
        values["classes"] = dataset.classes
        remarks["classes"] = "a box of another class is a fault"
    silent = 0
    if loaded.listed and loaded.silent > loaded.listed / 2 and data.without_boxes is None:
        values["without_boxes"], silent = "unlabelled", loaded.silent
        remarks["without_boxes"] = (f"{loaded.silent} of {loaded.listed} listed images have no box; or: empty "
                                    "(somebody looked, nothing is there)")
    values |= _measured(dataset, data, remarks)
    measured = {image_id for name in (values["reward"], values["test"]) if isinstance(name, str)
                for image_id in dataset.splits[name]}
    labelled = sum(image_id not in measured for image_id in dataset.boxes) - silent
    pool = len(dataset.images) - len(measured) - labelled
    if not pool and labelled:
        share = 1 - sum(share for share in (values["reward"], values["test"]) if isinstance(share, float))
        values["labelled"] = max(1, round(SIMULATED * labelled))
        pool, labelled = round(share * labelled) - values["labelled"], values["labelled"]
        remarks["labelled"] = "all are annotated: mgral hides the labels of all but so many and plays the annotator"
    if data.invalid_boxes == "repair":
        remarks["invalid_boxes"] = "boxes over the edge are clipped, boxes without area dropped; error refuses them"
    size = image_size(dataset, gpu)
    detector = DetectorConfig(preset="retinanet_r50", weights="torchvision://resnet50", image_size=size) if gpu else (
        DetectorConfig(preset="tiny", image_size=size))
    remarks["preset"] = "or a model of your own: config: my_config.py and weights: epoch_12.pth"
    remarks["image_size"] = f"longest side in pixels that the detector sees; the images: {_sizes_in_words(dataset)}"
    steps = int(np.clip(EPOCHS * labelled / BATCH, *STEPS) // 50 * 50)
    budget = max(1, min(int(np.clip(_round(SHARE * pool), *BUDGETS)), pool // 4 or 1)) if pool else BUDGETS[0]
    remarks["budget"] = f"images that people label in each cycle; {pool:,} can be chosen"
    return Proposal(Config(
        data=data.model_copy(update=values), detector=detector,
        training=TrainingConfig(steps=steps, batch_size=BATCH, lr=1e-3 if gpu else 3e-3),
        study=StudyConfig(name=_slug(root), strategies=("content",), cycles=3, budget=budget)), remarks)


def _measured(dataset: Dataset, data: DataConfig, remarks: dict[str, str]) -> dict[str, object]:
    """Where rewards are measured and results are reported: splits that the data set names, or shares."""
    names = measured_splits(dataset, data) if dataset.boxes else {}
    purpose = {"reward": "to measure rewards on", "test": "to report results on"}
    for role, what in purpose.items():
        name = names.get(role)
        remarks[role] = (f"the split {what}, {len(dataset.splits[name]):,} images; or a share such as 0.2" if name else
                         f"share of the labelled images {what}; or the name of a split")
    return {role: names.get(role, SHARE_ASIDE) for role in purpose}


def image_size(dataset: Dataset, gpu: bool) -> int:
    """Longest side at which most boxes are large enough to be seen; no larger than most images are."""
    longest = [max(info.width, info.height) for info in dataset.images.values()]
    typical = float(np.median(longest)) if longest else 256.0
    shares = [np.minimum(boxes.xyxy[:, 2] - boxes.xyxy[:, 0], boxes.xyxy[:, 3] - boxes.xyxy[:, 1])
              / max(dataset.images[image_id].width, dataset.images[image_id].height)
              for image_id, boxes in dataset.boxes.items() if len(boxes)]
    small = float(np.quantile(np.concatenate(shares), 0.1)) if shares else SEEN / 256
    wanted = min(typical, SEEN / max(small, 1e-3))
    if gpu:
        return int(min(max(typical, 320), ON_GPU) // STRIDE * STRIDE)
    return int(np.clip(-(-wanted // STRIDE) * STRIDE, SMALLEST, LARGEST))


def as_yaml(proposal: Proposal, classes: Sequence[str]) -> str:
    """The params file, with a comment for each choice that somebody may want to make otherwise."""
    head = ("# Made by `mgral init`; change what you like. All settings and their meaning: docs/settings.md.\n"
            "# mgral check   says what a run would do;   mgral run   does it.\n")
    sections = [(name, getattr(proposal.config, name)) for name in ("data", "detector", "training", "study")]
    text = [_section(name, section.model_dump(mode="json", exclude_unset=True, exclude_none=True), proposal.remarks)
            for name, section in sections]
    if not classes:
        text[0] += "  # classes: [cat, dog]       # what annotators will be asked for; else as the first labels say\n"
    return "\n".join([head + text[0], *text[1:]])


def in_words(loaded: Loaded, copies: int) -> list[str]:
    """What one sees in a data set, about ten lines: images, labels, classes, copies, suspicious boxes."""
    dataset = loaded.dataset
    empty = sum(not len(boxes) for boxes in dataset.boxes.values())
    labelled = len(dataset.boxes)
    splits = ", ".join(f"{name} {len(ids):,}" for name, ids in dataset.splits.items())
    lines = [f"{dataset.root}: {NAMES[loaded.format]}, {len(dataset.images):,} images ({_sizes_in_words(dataset)})",
             f"{labelled:,} labelled ({empty:,} of them empty), {len(dataset.images) - labelled:,} not"
             + (f"; splits: {splits}" if splits else "")]
    lines += _class_table(dataset)
    if copies:
        lines.append(f"{copies:,} images are copies of another; copies are kept on one side of the splits")
    return lines + suspicious(dataset)


def suspicious(dataset: Dataset) -> list[str]:
    """A line on boxes that are seldom meant: of under three pixels, nearly as large as the image, or drawn twice."""
    found: Counter[str] = Counter()
    for image_id, boxes in dataset.boxes.items():
        if len(boxes):
            found.update(_suspicious(boxes, dataset.images[image_id].width, dataset.images[image_id].height))
    return [f"suspicious boxes: {', '.join(f'{count:,} {what}' for what, count in found.items())}"] if found else []


def _suspicious(boxes: Boxes, width: int, height: int) -> dict[str, int]:
    sides = boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]
    twice = len(boxes) - len({(*corners, label) for corners, label in zip(
        map(tuple, boxes.xyxy.round(1).tolist()), boxes.labels.tolist(), strict=True)})
    found = {"under 3 pixels": int((sides.min(axis=1) < 3).sum()),
             "nearly as large as the image": int((sides.prod(axis=1) > 0.95 * width * height).sum()),
             "drawn twice": twice}
    return {what: count for what, count in found.items() if count}


def _class_table(dataset: Dataset) -> list[str]:
    if not dataset.classes:
        return ["no classes yet: name them in data.classes, or with the first labels"]
    boxes, images = np.zeros(len(dataset.classes), int), np.zeros(len(dataset.classes), int)
    for annotated in dataset.boxes.values():
        boxes += np.bincount(annotated.labels, minlength=len(boxes))
        images += np.bincount(np.unique(annotated.labels), minlength=len(boxes))
    order = np.argsort(-boxes, kind="stable")
    shown = order if len(order) <= CLASSES else order[:CLASSES - 1]
    width = max(len(dataset.classes[row][:40]) for row in shown)
    lines = [f"  {dataset.classes[row][:40]:<{width}}  {boxes[row]:>7,} boxes in {images[row]:>6,} images"
             for row in shown]
    rest = order[len(shown):]
    return [*lines, f"  and {len(rest)} more classes with {boxes[rest].sum():,} boxes"] if len(rest) else lines


def _sizes_in_words(dataset: Dataset) -> str:
    sizes = Counter((info.width, info.height) for info in dataset.images.values())
    if not sizes:
        return "no sizes"
    (width, height), count = sizes.most_common(1)[0]
    if len(sizes) == 1:
        return f"{width} × {height} pixels"
    sides = [max(size) for size in sizes]
    mostly = f"mostly {width} × {height}, " if count > len(dataset.images) / 2 else ""
    return f"{mostly}longest sides {min(sides)} to {max(sides)} pixels"


def _section(name: str, values: dict, remarks: dict[str, str]) -> str:
    lines = [f"{name}:"]
    for key, value in values.items():
        text, remark = f"{key}: {_flow(value)}", remarks.get(key)
        lines.append(f"  {text}" + (f"{' ' * max(2, 28 - len(text))}# {remark}" if remark else ""))
    return "\n".join(lines) + "\n"


def _flow(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _slug(root: Path) -> str:
    name = re.sub("[^A-Za-z0-9._-]+", "-", root.resolve().name).strip("-._")
    return name[:40] or "study"


def _round(value: float) -> int:
    step = 50 if value >= 200 else 10 if value >= 20 else 1
    return int(round(value / step) * step)
