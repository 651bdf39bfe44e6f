"""From chosen ids to a new version of the labelled set: export, people or the data set's own labels, snapshot."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mgral.annotation.coco import export_batch
from mgral.data.dataset import Boxes, ImageId
from mgral.pool.inspection import Inspection
from mgral.progress import current
from mgral.report.handout import show_batch
from mgral.study.batches import hand_out
from mgral.study.results import Awaiting, Choice, ChoiceRecord
from mgral.study.snapshot import Snapshot, labelled, take_snapshot
from tasks.detector import Inspected
from tasks.engine import step
from tasks.job import Job
from tasks.opened import Study, open_study


@dataclass(frozen=True, slots=True)
class Annotated:
    """The MD5 of the new snapshot, and the seconds that it took."""

    snapshot: str
    seconds: float


@step("export batch")
def export_chosen(job: Job, choice: Choice, inspected: Inspected) -> Path:
    """Writes the batch for annotators, with the model's boxes as a start, and pictures of it."""
    study, folder = open_study(job), job.workspace.cycle(job.strategy, job.cycle)
    seen = Inspection.load(inspected.path).of(choice.ids)
    detections = dict(zip(choice.ids, seen.detections, strict=True))
    path = folder / "preannotations.json"
    export_batch(path, study.dataset, choice.ids, detections,
                 info={"study": job.config.study.name, "strategy": job.strategy, "cycle": job.cycle})
    known = study.dataset.boxes.keys() >= set(choice.ids)
    show_batch(folder, study.dataset, choice, detections, f"{job.config.study.name}: {job.label}, cycle {job.cycle}",
               None if known else f"{job.options} --cycle {job.cycle}")
    return path


@step("annotate batch")
def annotate_batch(job: Job, chosen: Sequence[ImageId]) -> Annotated | Awaiting:
    """Takes a snapshot of the batch's labels, as people gave them or, in a simulation, as the data set hides them.

    Where nobody knows the labels of an image, the batch waits for people. Images of the pool that were labelled
    elsewhere meanwhile join; a snapshot that was taken before keeps its images.
    """
    begun, study, space = time.monotonic(), open_study(job), job.workspace
    known = study.dataset.boxes
    missing = [image_id for image_id in chosen if image_id not in known]
    if missing:
        batch = hand_out(space, job.strategy, job.cycle)
        return Awaiting(f"{job.label}, cycle {job.cycle}", job.cycle, len(chosen), len(missing), batch.preannotations,
                        space.cycle(job.strategy, job.cycle) / "batch.html", job.options)
    path = space.snapshot(job.strategy, job.cycle)
    before = labelled(space, job.strategy, job.cycle - 1, study.dataset)
    joined = Snapshot.read(path).added if path.exists() else study.labelled_now() - _of_other_cycles(job)
    added = {*chosen, *joined} - set(before)
    if len(added) > len(chosen) and not path.exists():
        current.get().note(f"{len(added) - len(chosen)} images join whose labels came from elsewhere meanwhile.")
    snapshot = _snapshot(job, study, {image_id: known[image_id] for image_id in sorted(added)})
    return Annotated(snapshot, time.monotonic() - begun)


def _of_other_cycles(job: Job) -> frozenset[ImageId]:
    """Images of the strategy's other batches: their labels join with their own cycle, whatever is computed again."""
    paths = [job.workspace.handed_out(job.strategy, cycle) for cycle in range(1, job.config.study.cycles + 1)
             if cycle != job.cycle]
    return frozenset(image_id for path in paths if path.exists() for image_id in ChoiceRecord.read(path).choice.ids)


def _snapshot(job: Job, study: Study, boxes: Mapping[ImageId, Boxes]) -> str:
    return take_snapshot(study.workspace, job.strategy, job.cycle, study.dataset, study.source, dict(boxes))
