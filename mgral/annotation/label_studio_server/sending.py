"""A batch into a project, each image once, however often it is sent and wherever it was cut off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mgral.annotation.label_studio_server.pictures import Pictures
from mgral.annotation.label_studio_server.project import Project, Task
from mgral.annotation.preannotations.label_studio import tasks_of
from mgral.data.dataset import Dataset, ImageId
from mgral.data.formats.reading import shown
from mgral.errors import StateError
from mgral.pool.inspection import Detections
from mgral.progress import current

TOGETHER = 20
"""Images of which a killed run may have uploaded the pictures without their tasks."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Images to label, with the detector's boxes; `info` says in short texts where it is from."""

    dataset: Dataset
    ids: tuple[ImageId, ...]
    detections: Mapping[ImageId, Detections]
    info: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a batch: how many tasks were there, how many are new, how many are finished or skipped."""

    before: int
    new: int
    finished: int
    skipped: int


def send(project: Project, batch: Batch, pictures: Pictures) -> Sent:
    """Adds a task for each image that has none; tasks that are there stay as they are.

    Tasks are known by the `path` in their data. A server may still be at work on what a killed run has asked for: of
    two tasks of an image that no one has begun, one is removed.

    Raises:
        StateError: a project of other images, or a server that has not taken all.
    """
    there = _known(project, batch)
    missing = [image_id for image_id in batch.ids if image_id not in there]
    if missing:
        pictures.prepare(project, batch.dataset, missing)
    report = current.get().report("images sent to Label Studio")
    for start in range(0, len(missing), TOGETHER):
        ids = missing[start:start + TOGETHER]
        addresses = pictures.addresses(project, batch.dataset, ids)
        for _ in project.add(tasks_of(batch.dataset, batch.ids, batch.detections, batch.info, addresses)):
            pass
        report(start + len(ids), len(missing))
    after = _once(project, _known(project, batch))
    lacking = [image_id for image_id in batch.ids if image_id not in after]
    if lacking:
        raise StateError(f"{project.page}: expected {len(batch.ids)} tasks, got {len(after)}; push again: only what is "
                         f"missing is sent ({shown(lacking[0])}, …)")
    return Sent(len(there), len(missing), sum(task.finished for task in after.values()),
                sum(task.skipped and not task.finished for task in after.values()))


def _known(project: Project, batch: Batch) -> dict[ImageId, list[Task]]:
    """The project's tasks by image of the batch."""
    tasks, wanted = project.tasks(), set(batch.ids)
    known: dict[ImageId, list[Task]] = {}
    for task in tasks:
        if task.path in wanted:
            known.setdefault(task.path, []).append(task)
    if tasks and not known:
        raise StateError(f"{project.page}: expected the tasks of this batch, got {len(tasks)} of other images, such as "
                         f"{shown(tasks[0].path)}; give the address of the server that the batch was sent to")
    return known


def _once(project: Project, known: Mapping[ImageId, list[Task]]) -> dict[ImageId, Task]:
    """One task an image, the begun one or the first; the others are removed if nobody has begun them."""
    kept = {}
    for image_id, tasks in known.items():
        begun = [task for task in tasks if len(tasks) > 1 and project.is_begun(task)]
        kept[image_id] = (begun or tasks)[0]
        for task in tasks:
            if task not in begun and task is not kept[image_id]:
                project.remove(task)
        if len(begun) > 1:
            current.get().note(f"{project.page}: {shown(image_id)} has {len(begun)} tasks that were begun; delete all "
                               "but one of them in Label Studio")
    return kept
