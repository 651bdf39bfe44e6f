"""The cycle's detector: trained on what is labelled, measured on the test split, shown the pool."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mgral.detection import World
from mgral.files import canonical_json, read_json, write_json
from mgral.fingerprint import fingerprint
from mgral.pool.inspection import write_inspection
from mgral.progress import current
from mgral.study.snapshot import labelled, version
from mgral.training.detectors import inspected, tested
from tasks.engine import step
from tasks.job import Job
from tasks.opened import Study, open_study


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


@dataclass(frozen=True, slots=True)
class Inspected:
    """The folder of what a detector saw in each labelled, reward and pool image, and the seconds it took."""

    path: Path
    seconds: float


@step("train detector")
def train_detector(job: Job, after: int) -> Trained:
    """Trains on the labelled set after `after` cycles; a detector that is there already is used again."""
    study = open_study(job)
    current.get().subject = job.title_after(after)
    snapshot = version(study.workspace, job.strategy, after)
    name, progress = _fingerprint(job, study, snapshot), current.get()
    receipt = study.detectors.path(name).with_suffix(".json")
    if receipt.exists() and study.detectors.path(name).exists():
        progress.skip("train", job.config.training.steps)
        progress.skip("test", len(study.splits.test))
        return Trained(**read_json(receipt))
    boxes = labelled(study.workspace, job.strategy, after, study.dataset)
    begun = time.monotonic()
    study.detectors.train(name, boxes, study.splits.labelled + study.pool)
    spent = {"train": time.monotonic() - begun}
    begun = time.monotonic()
    reached = tested(study.detectors.open(name), study.store, study.truth(study.splits.test), study.dataset.classes)
    spent["test"] = time.monotonic() - begun
    trained = Trained(name, snapshot, len(boxes), reached.map, reached.ap50,
                      dict(zip(study.dataset.classes, reached.per_class, strict=True)), spent)
    write_json(receipt, asdict(trained))
    return trained


@step("inspect pool")
def inspect_pool(job: Job, trained: Trained) -> Inspected:
    """What the detector sees in each image but those of the test split, shown to it once."""
    study = open_study(job)
    ids = tuple(sorted(study.splits.labelled + study.pool + study.splits.reward))
    path = study.workspace.cached("inspections", fingerprint("inspection", trained.fingerprint, ids), "")
    receipt = path.with_suffix(".json")
    if receipt.exists() and path.is_dir():
        current.get().skip("inspect", len(ids))
        return Inspected(path, read_json(receipt)["seconds"])
    begun = time.monotonic()
    write_inspection(path, inspected(study.detectors.open(trained.fingerprint), study.store, ids, "inspecting the pool",
                                     "inspect"))
    spent = time.monotonic() - begun
    write_json(receipt, {"seconds": spent})
    return Inspected(path, spent)


def train_shared(job: Job, after: int, world: World, device: str) -> Path:
    """Trains the same detector in several processes; `train_detector` then finds it and measures it.

    Returns:
        The checkpoint.
    """
    if world.first:
        open_study(job)  # draws and decodes what the others only read
    world.wait()
    study, snapshot = open_study(job), version(job.workspace, job.strategy, after)
    boxes = labelled(study.workspace, job.strategy, after, study.dataset)
    path = study.detectors.train(_fingerprint(job, study, snapshot), boxes, study.splits.labelled + study.pool,
                                 world=world, device=device)
    world.wait()
    return path


def _fingerprint(job: Job, study: Study, snapshot: str) -> str:
    config = job.config
    semisup = "" if config.study.training == "supervised" else canonical_json(
        [config.study.training, config.semisup.used()])
    return fingerprint("detector", snapshot, study.splits_hash, config.detector, config.training, job.seed, semisup)
