"""Labels that came back from people: looked at, kept for good, and made known to all that was built on older ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from mgral.annotation.acceptance import Accept, check_returned
from mgral.annotation.changes import Changes, as_boxes, changes_of
from mgral.annotation.returned import Returned, read_returned
from mgral.data.dataset import Dataset
from mgral.data.formats.detecting import NAMES
from mgral.errors import DataError
from mgral.files import read_json
from mgral.progress import current
from mgral.study.alone import DATA, alone
from mgral.study.batches import batch_files, check_not_begun, hand_out
from mgral.study.labels import LABELS, Import, in_force, keep, names_in, undo, with_classes
from mgral.study.preparation import describe
from mgral.study.results import CycleResult
from mgral.study.snapshot import Snapshot, take_snapshot
from tasks.job import Job

CLOSING = ("snapshot.json", "annotations.json", "result.json", "metrics.json")
"""What a cycle writes once its batch is labelled."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import took, or under `preview` would take: `lines` for people; `left` images of the batch are still not
    labelled."""

    read: Import
    left: int
    lines: tuple[str, ...]


def import_labels(job: Job, file: Path, accept: Accept, preview: bool = False) -> Imported:
    """Takes the labels of a cycle's batch from what an annotation tool gave back, for good; cycle 0 is the first batch.

    Under `preview` nothing is kept.

    Raises:
        StateError: no such batch was chosen.
        DataError: what came back is not what a batch must be; nothing is changed then.
    """
    if preview:  # waits for nobody
        return _import(job, file, accept, preview)
    with alone(job.workspace, job.strategy), alone(job.workspace, DATA):
        return _import(job, file, accept, preview)


def undo_import(job: Job) -> tuple[Import, Import | None]:
    """Takes the last import of a cycle's batch back; gives it, and the import that counts now. It stays in `imports/`.

    Raises:
        StateError: there is none, or the study has begun on it.
    """
    space = job.workspace
    with alone(space, job.strategy), alone(space, DATA):
        if not job.cycle:
            check_not_begun(space)
        undone, now = undo(space.batch(job.strategy, job.cycle))
        _renew(job, _described(job))
        return undone, now


def _import(job: Job, file: Path, accept: Accept, preview: bool) -> Imported:
    space = job.workspace
    batch = batch_files(space, job.strategy, job.cycle)
    if not job.cycle:
        check_not_begun(space)
    dataset, ids = _described(job), batch.choice().ids
    returned = read_returned(file, dataset, ids, new_classes=not job.cycle)
    if not job.cycle:
        dataset = with_classes(dataset, list(returned.classes))
    for note in returned.notes:
        current.get().note(note)
    folder = space.batch(job.strategy, job.cycle)
    changes = changes_of(as_boxes(batch.proposed(dataset)), returned.boxes, returned.boxes)
    check_returned(file, returned, changes, _usually_empty(dataset), accept)
    read, before = _as_import(file, returned, changes), in_force(folder)
    lines = [_taken(returned, len(ids)), f"against the boxes that went out: {changes.in_words()}"]
    if before is not None:
        known = {image_id: dataset.boxes[image_id] for image_id in names_in(folder / LABELS) & returned.boxes.keys()}
        since = changes_of(known, returned.boxes, known)
        lines.append(f"against what import {before.number} said: {since.in_words()}")
    lines += [f"people worked {pace}" for pace in (read.pace(),) if pace]
    if not preview:
        hand_out(space, job.strategy, job.cycle)
        read = keep(folder, dataset, returned.boxes, read)
        _renew(job, _described(job))
    left = sum(image_id not in returned.boxes and image_id not in dataset.boxes for image_id in ids)
    return Imported(read, left, tuple(lines))


def _described(job: Job) -> Dataset:
    described = describe(job.config, job.workspace, job.data, detector=False)
    if described.loaded.problems:
        raise DataError(*described.loaded.problems)
    return described.dataset


def _usually_empty(dataset: Dataset) -> float:
    """The share of labelled images without a box; 0 where nothing is labelled."""
    return sum(not len(boxes) for boxes in dataset.boxes.values()) / max(len(dataset.boxes), 1)


def _as_import(file: Path, returned: Returned, changes: Changes) -> Import:
    when = datetime.now(UTC).isoformat(timespec="seconds")
    boxes = sum(map(len, returned.boxes.values()))
    return Import(0, when, file.name, returned.format, len(returned.boxes), boxes, changes, returned.seconds,
                  returned.timed, returned.timed_boxes)


def _taken(returned: Returned, images: int) -> str:
    boxes = sum(map(len, returned.boxes.values()))
    empty = sum(not len(found) for found in returned.boxes.values())
    without = f", {empty} image{'s' if empty > 1 else ''} without a box" if empty else ""
    return f"{len(returned.boxes)} of {images} images labelled ({NAMES[returned.format]}): {boxes} boxes{without}"


def _renew(job: Job, dataset: Dataset) -> None:
    """Takes the snapshots again that hold older labels, in their order. A cycle whose batch is not labelled any more
    is open again: what it wrote at its end is taken away, for it can be made again."""
    space = job.workspace
    if not space.splits.exists():
        return
    source = read_json(space.source)["dataset"]
    for cycle in range(1, job.config.study.cycles + 1):
        path, result = space.snapshot(job.strategy, cycle), space.cycle(job.strategy, cycle) / "result.json"
        if not path.exists():
            return
        added = Snapshot.read(path).added
        if any(image_id not in dataset.boxes for image_id in added):
            for name in CLOSING:
                path.with_name(name).unlink(missing_ok=True)
            return
        version = take_snapshot(space, job.strategy, cycle, dataset, source,
                                {image_id: dataset.boxes[image_id] for image_id in added})
        if result.exists():
            replace(CycleResult.read(result), snapshot=version).write(result)
