"""The cycle's detector: trained on what is labelled, measured on the test split, shown the pool."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mgral.data.dataset import ImageId
from mgral.detection.building import build_detector, load_checkpoint, save_checkpoint
from mgral.detection.detector import Detector
from mgral.detection.distributed import ALONE, World
from mgral.detection.evaluation import Evaluation, evaluate
from mgral.detection.inspecting import BATCH, inspect, parts
from mgral.detection.training import train
from mgral.files import read_json, write_json
from mgral.inspection import Inspection, write_inspection
from mgral.study.fingerprint import derived_seed, fingerprint
from mgral.study.opened import Job, Study, device_of, open_study
from mgral.study.progress import current
from mgral.study.snapshot import labelled, version
from tasks.engine import step

PART = 128 * BATCH
"""Images inspected before what was seen is written and forgotten."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A detector on disk and what it reaches on the test split (fractions)."""

    fingerprint: str
    snapshot: str
    labelled: int
    map: float
    ap50: float
    per_class: Mapping[str, float | None]
    seconds: Mapping[str, float]


@step("train detector")
def train_detector(job: Job, after: int) -> Trained:
    """Trains on the labelled set after `after` cycles; a detector that is there already is used again."""
    study, config = open_study(job), job.config
    snapshot = version(study.workspace, job.strategy, after)
    name = _name(job, snapshot)
    receipt, progress = study.workspace.cached("detectors", name, ".json"), current.get()
    if receipt.exists():
        progress.skip("train", config.training.steps)
        progress.skip("test", len(study.splits.test))
        return Trained(**read_json(receipt))
    boxes = labelled(study.workspace, job.strategy, after, study.dataset)
    begun = time.monotonic()
    title = f"[{job.strategy} end]" if after == config.study.cycles else job.title
    detector = _trained(job, study, boxes, snapshot, name, title)
    seconds = {"train": time.monotonic() - begun}
    begun = time.monotonic()
    reached = _on_test(study, detector, title)
    seconds["test"] = time.monotonic() - begun
    trained = Trained(name, snapshot, len(boxes), reached.map, reached.ap50,
                      dict(zip(study.dataset.classes, reached.per_class, strict=True)), seconds)
    write_json(receipt, asdict(trained))
    return trained


@step("inspect pool")
def inspect_images(job: Job, trained: Trained) -> tuple[Path, float]:
    """What the detector sees in each labelled and pool image: the folder that holds it, and the seconds it took."""
    return _inspection(job, open_study(job), trained.fingerprint,
                       lambda: load_checkpoint(checkpoint_of(job, trained), device_of(job.config)))


@dataclass(frozen=True, slots=True)
class Part:
    """A detector trained on some of the labelled images."""

    fingerprint: str
    checkpoint: Path
    labelled: tuple[ImageId, ...]


def train_part(job: Job, trained: Trained) -> Part:
    """Trains on a half of what the cycle's detector was trained on, drawn at random."""
    study, config = open_study(job), job.config
    boxes = labelled(study.workspace, job.strategy, job.cycle - 1, study.dataset)
    rng = np.random.default_rng(derived_seed(config.seed, "part", trained.snapshot))
    drawn = tuple(sorted(str(one) for one in rng.permutation(sorted(boxes))[:-(-len(boxes) // 2)]))
    name = fingerprint("part", trained.fingerprint, drawn)
    _trained(job, study, {one: boxes[one] for one in drawn}, trained.snapshot, name, f"{job.title} half of the labels:")
    return Part(name, study.workspace.cached("detectors", name, ".pth"), drawn)


def inspect_part(job: Job, part: Part) -> Path:
    """What that detector sees in each labelled and pool image: the folder that holds it."""
    return _inspection(job, open_study(job), part.fingerprint,
                       lambda: load_checkpoint(part.checkpoint, device_of(job.config)))[0]


def checkpoint_of(job: Job, trained: Trained) -> Path:
    return job.workspace.cached("detectors", trained.fingerprint, ".pth")


def train_shared(job: Job, after: int, world: World, device: str) -> Path:
    """Trains the same detector in several processes; `train_detector` then finds it and measures it.

    Returns:
        The checkpoint.
    """
    if world.first:
        open_study(job)  # draws and decodes what the others only read
    world.wait()
    study, snapshot = open_study(job), version(job.workspace, job.strategy, after)
    boxes, name = labelled(study.workspace, job.strategy, after, study.dataset), _name(job, snapshot)
    if not study.workspace.cached("detectors", name, ".pth").exists():
        _trained(job, study, boxes, snapshot, name, job.title, world, device)
    world.wait()
    return study.workspace.cached("detectors", name, ".pth")


def _name(job: Job, snapshot: str) -> str:
    config = job.config
    return fingerprint("detector", snapshot, open_study(job).splits_hash, config.detector, config.training, config.seed)


def _trained(job: Job, study: Study, boxes: Mapping, snapshot: str, name: str, title: str, world: World = ALONE,
             device: str | None = None) -> Detector:
    config, path = job.config, study.workspace.cached("detectors", name, ".pth")
    device = device or device_of(config)
    if path.exists():
        current.get().skip("train", config.training.steps)
        return load_checkpoint(path, device)
    detector = build_detector(config.detector, study.dataset.classes, config.seed, device)
    interim = path.with_suffix(".part.pth")
    with current.get().phase(f"{title} training the detector", "train", config.training.steps) as advance:
        for _ in train(detector, study.store, boxes, tuple(sorted(boxes)), config.training,
                       derived_seed(config.seed, "detector", snapshot), interim, world):
            advance(1)
    if world.first:
        save_checkpoint(path, detector)
        interim.unlink(missing_ok=True)
    return detector


def _inspection(job: Job, study: Study, detector: str, opened: Callable[[], Detector]) -> tuple[Path, float]:
    """The folder of what the detector of this fingerprint sees in labelled and pool images, and the seconds it took."""
    ids = tuple(sorted(study.splits.labelled + study.splits.pool))
    name = fingerprint("inspection", detector, ids)
    path, receipt = (study.workspace.cached("inspections", name, ending) for ending in ("", ".json"))
    if receipt.exists() and path.is_dir():
        current.get().skip("inspect", len(ids))
        return path, read_json(receipt)["seconds"]
    begun = time.monotonic()
    write_inspection(path, _inspected(study, opened(), ids, f"{job.title} inspecting the pool", "inspect"))
    spent = time.monotonic() - begun
    write_json(receipt, {"seconds": spent})
    return path, spent


def _on_test(study: Study, detector: Detector, title: str) -> Evaluation:
    ids = study.splits.test
    seen = _inspected(study, detector, ids, f"{title} measuring on the test split", "test")
    found = {image_id: one for part in seen for image_id, one in zip(part.ids, part.detections, strict=True)}
    return evaluate(found, study.truth(ids), study.dataset.classes)


def _inspected(study: Study, detector: Detector, ids: tuple[ImageId, ...], title: str,
               kind: str) -> Iterator[Inspection]:
    with current.get().phase(title, kind, len(ids)) as advance:
        for part in parts(ids, PART):
            yield inspect(detector, study.store, part)
            advance(len(part))
