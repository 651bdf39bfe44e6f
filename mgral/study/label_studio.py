"""Which project of which Label Studio a batch was sent to, what goes there, and what came of it so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mgral.annotation.label_studio_server import Batch
from mgral.annotation.preannotations.writing import NO_CLASS
from mgral.config import folder_name
from mgral.data.dataset import Dataset, ImageId
from mgral.files import canonical_json, sha256
from mgral.study.batches import batch_files
from mgral.study.workspace import Workspace

WAITING, BEGUN, SKIPPED, FINISHED = 1, 2, 3, 4
"""States of an image's task, the further the higher; 0 is none."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Of a batch's images: how many are finished, skipped and not finished, begun and not submitted, or without a
    task; and the number of tasks that are of other images."""

    images: int
    finished: int
    skipped: int
    begun: int
    gone: int
    strange: int

    def in_words(self) -> str:
        more = [f"{count} {what}" for count, what in (
            (self.skipped, "skipped"), (self.begun, "begun and not submitted"),
            (self.gone, "without a task: push again to send them"), (self.strange, "tasks of other images")) if count]
        return f"{self.finished} of {self.images} finished" + (f" ({', '.join(more)})" if more else "")


def pulled(workspace: Workspace, strategy: str, cycle: int) -> Path:
    """Where an export lies until it is imported: it can be fetched again."""
    return workspace.seed_folder / "pulled" / f"{workspace.batch(strategy, cycle).name}.json"


def batch_to_send(workspace: Workspace, dataset: Dataset, strategy: str, cycle: int) -> Batch:
    """A batch with the boxes that it went out with.

    Raises:
        StateError, DataError: no such batch, images that the data set has no more, or a damaged file.
    """
    files = batch_files(workspace, strategy, cycle)
    detections = files.proposed(dataset)
    if not dataset.classes:
        dataset = replace(dataset, classes=(NO_CLASS,), category_ids=(1,))
    info = {"study": workspace.study, "strategy": folder_name(strategy) if cycle else "first", "cycle": cycle}
    return Batch(dataset, files.choice().ids, detections, info)


def mark_of(workspace: Workspace, strategy: str, cycle: int, ids: Sequence[ImageId]) -> str:
    """What the batch's project is found by when a push was killed before it could say which it was."""
    key = [workspace.study, workspace.seed, folder_name(strategy) if cycle else "", cycle, list(ids)]
    return f"mgral batch {sha256(canonical_json(key))[:16]}"


def standing(tasks: Iterable[Mapping[str, Any]], ids: Sequence[ImageId]) -> Standing:
    """How far people are, by Label Studio's export. An annotation that was skipped (`was_cancelled`) finishes none."""
    states: dict[str, int] = dict.fromkeys(ids, 0)
    strange = 0
    for task in tasks:
        data = task.get("data")
        path = data.get("path") if isinstance(data, dict) else None
        if isinstance(path, str) and path in states:
            states[path] = max(states[path], _state(task))
        else:
            strange += 1
    counts = Counter(states.values())
    return Standing(len(ids), counts[FINISHED], counts[SKIPPED], counts[BEGUN], counts[0], strange)


def _state(task: Mapping[str, Any]) -> int:
    annotations = [entry for entry in task.get("annotations") or () if isinstance(entry, dict)]
    if annotations:
        return SKIPPED if all(entry.get("was_cancelled") for entry in annotations) else FINISHED
    return BEGUN if task.get("drafts") else WAITING
