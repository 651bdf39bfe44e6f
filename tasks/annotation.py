"""From chosen ids to a new version of the labelled set: export, people or the data set's own labels, snapshot."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mgral.annotation.coco import export_batch, read_annotations
from mgral.data.dataset import Boxes, ImageId
from mgral.errors import DataError, StateError
from mgral.pool.inspection import Inspection
from mgral.progress import current
from mgral.report.handout import show_batch
from mgral.study.alone import DATA, alone
from mgral.study.corrections import keep_corrections, kept_corrections
from mgral.study.first import import_first
from mgral.study.preparation import describe
from mgral.study.results import Awaiting, Choice, ChoiceRecord
from mgral.study.snapshot import Snapshot, labelled, take_snapshot
from tasks.detector import Inspected
from tasks.engine import step
from tasks.opened import Job, Study, forget_studies, open_study

FAR_ABOVE = 0.4
"""By how much more of a batch may be empty, as a share, before it is asked whether anybody has looked."""


@dataclass(frozen=True, slots=True)
class Annotated:
    """The MD5 of the new snapshot, the seconds that it took, how many images of the batch a person has labelled, and
    how many others joined because their labels had come meanwhile."""

    snapshot: str
    seconds: float
    corrected: int
    joined: int = 0


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
        handed_out = space.handed_out(job.strategy, job.cycle)
        if not handed_out.exists():
            ChoiceRecord.read(space.choice(job.strategy, job.cycle)).write(handed_out)
        return Awaiting(f"{job.label}, cycle {job.cycle}", job.cycle, len(chosen), len(missing),
                        space.cycle(job.strategy, job.cycle) / "preannotations.json", job.options)
    path = space.snapshot(job.strategy, job.cycle)
    before = labelled(space, job.strategy, job.cycle - 1, study.dataset)
    joined = Snapshot.read(path).added if path.exists() else study.labelled_now()
    added = {*chosen, *joined} - set(before)
    if len(added) > len(chosen) and not path.exists():
        current.get().note(f"{len(added) - len(chosen)} images join whose labels came from elsewhere meanwhile.")
    snapshot = _snapshot(job, study, {image_id: known[image_id] for image_id in sorted(added)})
    corrected = kept_corrections(space, study.dataset).keys() & set(chosen)
    return Annotated(snapshot, time.monotonic() - begun, len(corrected), len(added) - len(chosen))


def import_corrected(job: Job, file: Path, accept_empty: bool = False) -> str:
    """Takes the labels of a cycle's batch from `file`, for good; returns what became of it, in words.

    Cycle 0 is the first batch of a study in which nothing was labelled. COCO cannot tell an empty image from one that
    nobody has opened: where far more are empty than among the labelled ones, `accept_empty` has to say that they are.

    Raises:
        StateError: the cycle has chosen no batch, or a later one was built on its annotations already.
        DataError: the file does not hold exactly this batch, or has faulty boxes; nothing is changed then.
    """
    with alone(job.workspace, job.strategy), alone(job.workspace, DATA):
        return _import(job, file, accept_empty)


def _import(job: Job, file: Path, accept_empty: bool) -> str:
    space = job.workspace
    if not job.cycle:
        import_first(space, describe(job.config, space, job.data), file)
        forget_studies()
        return "labels of the first batch taken"
    study, path = open_study(job), space.choice(job.strategy, job.cycle)
    if not path.exists():
        path = space.handed_out(job.strategy, job.cycle)
    if not path.exists():
        raise StateError(f"{path}: expected the batch of cycle {job.cycle}, got no file; run cycle {job.cycle} of "
                         f"{job.strategy} first")
    later = space.choice(job.strategy, job.cycle + 1)
    if later.exists():
        raise StateError(f"{later}: expected no cycle after {job.cycle} to be built on its annotations, got this one; "
                         f"delete {later.parent} and all cycles after it, then import again")
    boxes, notes = read_annotations(file, study.dataset, ChoiceRecord.read(path).choice.ids)
    for note in notes:
        current.get().note(note)
    if not accept_empty:
        _check_empty(file, boxes, labelled(space, job.strategy, job.cycle - 1, study.dataset))
    keep_corrections(space, study.dataset, boxes)  # from here on no later run can lose them
    forget_studies()
    annotated = annotate_batch(job, tuple(boxes))
    return f"snapshot {annotated.snapshot}"


def _check_empty(file: Path, boxes: Mapping[ImageId, Boxes], known: Mapping[ImageId, Boxes]) -> None:
    empty, usual = (sum(not len(of_image) for of_image in images.values()) / len(images) for images in (boxes, known))
    if empty > usual + FAR_ABOVE:
        raise DataError(f"{file}: expected about {usual:.0%} of the images to be empty, as among those labelled before,"
                        f" got {empty:.0%}; if all were looked at and are empty, say so: --accept-empty; else export "
                        "again when they are labelled")


def _snapshot(job: Job, study: Study, boxes: Mapping[ImageId, Boxes]) -> str:
    return take_snapshot(study.workspace, job.strategy, job.cycle, study.dataset, study.source, dict(boxes))
