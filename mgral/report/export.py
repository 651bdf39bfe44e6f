"""A batch of a study in the format of an annotation tool, in a folder of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mgral.annotation.preannotations import write_preannotations
from mgral.data.dataset import Dataset, ImageId
from mgral.errors import StateError
from mgral.files import read_json, write_json
from mgral.pool.inspection import Detections
from mgral.report.folders import Written, complete_folder
from mgral.report.handout import in_words, next_step
from mgral.study.results import Choice

RECORD = "batch.json"


def write_export(folder: Path, kind: str, dataset: Dataset, choice: Choice, detections: Mapping[ImageId, Detections],
                 info: Mapping[str, Any]) -> Written:
    """Writes the batch in the format `kind` and, as batch.json, which batch it is: `info` and the images, best first.

    A folder that holds this very batch keeps every file that it has; what is missing, such as another format, is added.

    Raises:
        StateError: the folder holds another batch, or other files.
        DataError: a format that would give two images one name.
    """
    record = {**info, "images": [dataset.images[image_id].file_name for image_id in choice.ids]}

    def write(fresh: Path) -> tuple[Path, ...]:
        write_json(fresh / RECORD, record)
        return write_preannotations(kind, fresh, dataset, choice.ids, detections, info)

    return complete_folder(folder, RECORD, lambda path: _check_same(path, record), write)


def export_in_words(written: Written, kind: str, dataset: Dataset) -> list[str]:
    """What was written, and what to do with it in the tool."""
    lines = [f"{written.folder}: this batch was there; {'added:' if written.files else 'nothing added'}"
             ] if written.before else []
    lines += [f"  {in_words(path)}" for path in written.files if path.name != RECORD]
    step = next_step(kind, written.for_annotators, dataset.root, f"the images in {written.folder / RECORD}")
    return [*lines, f"  in the tool: {step}"]


def _check_same(path: Path, record: Mapping[str, Any]) -> None:
    try:
        known = read_json(path)
        what = f"another ({len(known['images'])} images of {known['study']}, {known['strategy']}, cycle "\
               f"{known['cycle']})"
    except (OSError, ValueError, TypeError, KeyError):
        known, what = None, f"a {path.name} that cannot be read"
    if known != record:
        raise StateError(f"{path.parent}: expected no batch there or this very one, got {what}; name another folder "
                         "by --out or move it away")
