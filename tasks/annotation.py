"""From chosen ids to a new version of the labelled set: export, oracle, snapshot."""

from __future__ import annotations

import time
from pathlib import Path

from mgral.annotation.coco import export_batch, import_annotations
from mgral.data.dataset import ImageId
from mgral.errors import StateError
from mgral.inspection import Inspection
from mgral.oracle import SimulatedOracle
from mgral.report.gallery import draw_gallery
from mgral.study.opened import Job, open_study
from mgral.study.snapshot import Snapshot, take_snapshot, version
from tasks.engine import step


@step("export batch")
def export_chosen(job: Job, chosen: tuple[ImageId, ...], view: Path) -> Path:
    """Writes the batch for annotators, with the model's boxes as a start, and a picture of it."""
    study, folder = open_study(job), job.workspace.cycle(job.strategy, job.cycle)
    seen = Inspection.load(view).of(chosen)
    detections = dict(zip(chosen, seen.detections, strict=True))
    path = folder / "preannotations.json"
    export_batch(path, study.dataset, chosen, detections,
                 info={"study": job.config.study.name, "strategy": job.strategy, "cycle": job.cycle})
    draw_gallery(folder / "chosen.jpg", study.dataset, chosen, detections)
    return path


@step("annotate batch")
def annotate_batch(job: Job, chosen: tuple[ImageId, ...]) -> tuple[str, float]:
    """Has the oracle annotate the batch; returns the new snapshot's MD5 and the seconds it took."""
    begun = time.monotonic()
    study = open_study(job)
    boxes = SimulatedOracle(study.dataset).annotate(chosen)
    snapshot = take_snapshot(study.workspace, job.strategy, job.cycle, study.dataset, study.source, boxes)
    return snapshot, time.monotonic() - begun


def import_corrected(job: Job, file: Path) -> str:
    """Replaces the annotations of a cycle's batch by those of `file`; returns the new snapshot's MD5.

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
    return take_snapshot(space, job.strategy, job.cycle, study.dataset, study.source, boxes)
