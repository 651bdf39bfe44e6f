"""From chosen ids to a new version of the labelled set: export, oracle, snapshot."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mgral.annotation.coco import export_batch, import_annotations
from mgral.annotation.oracle import CorrectedOracle, SimulatedOracle
from mgral.data.dataset import Boxes, ImageId
from mgral.errors import StateError
from mgral.pool.inspection import Inspection
from mgral.report.gallery import draw_gallery
from mgral.study.corrections import keep_corrections, kept_corrections
from mgral.study.results import Choice
from mgral.study.snapshot import Snapshot, take_snapshot, version
from tasks.detector import Inspected
from tasks.engine import step
from tasks.opened import Job, Study, open_study


@dataclass(frozen=True, slots=True)
class Annotated:
    """The MD5 of the new snapshot, the seconds that the oracle took, and how many images a person has corrected."""

    snapshot: str
    seconds: float
    corrected: int


@step("export batch")
def export_chosen(job: Job, choice: Choice, inspected: Inspected) -> Path:
    """Writes the batch for annotators, with the model's boxes as a start, and a picture of it."""
    study, folder = open_study(job), job.workspace.cycle(job.strategy, job.cycle)
    seen = Inspection.load(inspected.path).of(choice.ids)
    detections = dict(zip(choice.ids, seen.detections, strict=True))
    path = folder / "preannotations.json"
    export_batch(path, study.dataset, choice.ids, detections,
                 info={"study": job.config.study.name, "strategy": job.strategy, "cycle": job.cycle})
    draw_gallery(folder / "chosen.jpg", study.dataset, choice.ids, detections, reasons=choice.reasons)
    return path


@step("annotate batch")
def annotate_batch(job: Job, chosen: Sequence[ImageId]) -> Annotated:
    """Has the oracle annotate the batch and takes a snapshot; what a person corrected stays as it was corrected."""
    begun, study = time.monotonic(), open_study(job)
    corrected = kept_corrections(study.workspace, study.dataset)
    boxes = CorrectedOracle(corrected, SimulatedOracle(study.dataset)).annotate(chosen)
    snapshot = _snapshot(job, study, boxes)
    return Annotated(snapshot, time.monotonic() - begun, len(corrected.keys() & set(chosen)))


def import_corrected(job: Job, file: Path) -> str:
    """Replaces the annotations of a cycle's batch by those of `file`, for good; returns the new snapshot's MD5.

    Raises:
        StateError: the cycle has not been done, or a later one was built on its annotations already.
        DataError: the file does not hold exactly this batch, or has faulty boxes; nothing is changed then.
    """
    study, space = open_study(job), job.workspace
    version(space, job.strategy, job.cycle)
    later = space.snapshot(job.strategy, job.cycle + 1)
    if later.exists():
        raise StateError(f"{later}: expected no cycle after {job.cycle} to be built on its annotations, got this one; "
                         f"delete {later.parent} and all cycles after it, then import again")
    added = Snapshot.read(space.snapshot(job.strategy, job.cycle)).added
    boxes = import_annotations(file, study.dataset, added)
    keep_corrections(space, study.dataset, boxes)  # first: from here on no later run can lose them
    return _snapshot(job, study, boxes)


def _snapshot(job: Job, study: Study, boxes: Mapping[ImageId, Boxes]) -> str:
    return take_snapshot(study.workspace, job.strategy, job.cycle, study.dataset, study.source, dict(boxes))
