"""The batches that people are asked to label: handed out once, the same whatever is computed again."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from mgral.annotation.coco import read_preannotations
from mgral.data.dataset import Dataset, ImageId
from mgral.errors import DataError, StateError
from mgral.files import writing
from mgral.findings import Findings
from mgral.pool.inspection import Detections
from mgral.study.results import Choice, ChoiceRecord
from mgral.study.workspace import Workspace

PREANNOTATIONS = "preannotations.json"
ABOUT = "about-mgral.txt"
"""By which the folder is known: readers of data sets pass it over."""
IN_WORDS = """\
What mgral asked people to label, and what they labelled: a folder for each batch. Keep it in git, or wherever your
work is safe. Nothing of it is computed again, and only mgral writes here.

batch.json            which images, and why
preannotations.json   the boxes that people begin with (COCO)
labels.json           the labels in force (COCO), by `mgral import`
imports/              every import; `mgral import --undo` goes back to the one before
"""


@dataclass(frozen=True, slots=True)
class BatchFiles:
    """Where a batch lies: the record of its choice, and the boxes that go out with it."""

    record: Path
    preannotations: Path

    def choice(self) -> Choice:
        """Raises DataError if the record was damaged."""
        try:
            choice = ChoiceRecord.read(self.record).choice
            lengths = {len(choice.scores), len(choice.reasons)}
            if all(isinstance(image_id, str) for image_id in choice.ids) and lengths <= {0, len(choice.ids)}:
                return choice
            got = "other content"
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            got = repr(error)
        raise DataError(f"{self.record}: expected a batch as it was chosen, got {got}; restore the file")

    def proposed(self, dataset: Dataset) -> dict[ImageId, Detections]:
        """The boxes that go out, by image.

        Raises:
            DataError: images of the batch that the data set has no more, or a damaged file.
            StateError: no boxes of this batch are kept.
        """
        choice = self.choice()
        self._check_images(choice, dataset)
        if not self.preannotations.exists():
            raise StateError(f"{self.preannotations}: expected the boxes that the batch went out with, got no file; "
                             "restore it, or `mgral run` to have it written again")
        detections = read_preannotations(self.preannotations, dataset)
        if detections.keys() != set(choice.ids):
            raise StateError(f"{self.preannotations}: expected the images of {self.record}, got others; restore the "
                             "file of this batch")
        return detections

    def _check_images(self, choice: Choice, dataset: Dataset) -> None:
        findings = Findings()
        for image_id in choice.ids:
            if image_id not in dataset.images:
                findings.problem(f"{dataset.root}: expected the image {image_id!r} of {self.record}, got none; restore "
                                 "it, or name the folder by --data", "missing image")
        if findings.problems:
            raise DataError(*findings.problems)


def batch_files(workspace: Workspace, strategy: str, cycle: int) -> BatchFiles:
    """The files of a cycle's batch: as it was handed out, else as it was chosen. Cycle 0 is the first batch.

    Raises:
        StateError: none was chosen.
    """
    handed_out, folder = workspace.handed_out(strategy, cycle), workspace.batch(strategy, cycle)
    if handed_out.exists():
        return BatchFiles(handed_out, folder / PREANNOTATIONS)
    chosen = workspace.choice(strategy, cycle)
    if cycle and chosen.exists():
        return BatchFiles(chosen, chosen.with_name(PREANNOTATIONS))
    if not cycle:
        raise StateError(f"{handed_out}: expected a first batch that was chosen, got no file; the data set has labels, "
                         "or nothing was run yet: `mgral run`")
    raise StateError(f"{chosen}: expected the batch of cycle {cycle}, got no file; run cycle {cycle} of {strategy} "
                     "first: `mgral run`")


def hand_out(workspace: Workspace, strategy: str, cycle: int) -> BatchFiles:
    """Puts a batch that was chosen where people find it; one that they have stays.

    Raises:
        StateError: none was chosen.
    """
    files, folder = batch_files(workspace, strategy, cycle), workspace.batch(strategy, cycle)
    record = workspace.handed_out(strategy, cycle)
    if files.record != record:
        mark(workspace)
        if files.preannotations.exists():
            _copy(files.preannotations, folder / PREANNOTATIONS)
        _copy(files.record, record)  # last: where it stands, all of it stands
    return batch_files(workspace, strategy, cycle)


def check_not_begun(workspace: Workspace) -> None:
    """Raises StateError if the study stands on its first batch, whose labels are then settled."""
    if workspace.splits.exists():
        raise StateError(f"{workspace.splits}: expected a study that has not begun, got one that stands on the first "
                         f"batch; delete {workspace.seed_folder} to begin anew: what people labelled stays")


def mark(workspace: Workspace) -> None:
    """Says in a file what the folder of batches is."""
    path = workspace.root / "batches" / ABOUT
    if not path.exists():
        with writing(path) as temporary:
            temporary.write_text(IN_WORDS, encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    with writing(target) as temporary:
        shutil.copyfile(source, temporary)
