"""What people labelled: every import of a study, kept for good, apart from everything that is computed.

Only `mgral import` and its undo write here. A batch's folder (`Workspace.batch`) holds `imports/1.json`, `2.json`, …,
each the labels of the batch as they were from that import on, and `labels.json`, a copy of the one in force: COCO files
all, with a word under `info` on where they are from. `labels.json` is what DVC's stages depend on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from mgral.annotation.changes import Changes
from mgral.annotation.coco import import_annotations
from mgral.data.dataset import Boxes, Dataset, ImageId
from mgral.data.formats.coco import write_coco
from mgral.errors import DataError, StateError
from mgral.files import read_json, write_json
from mgral.study.workspace import Workspace

LABELS, IMPORTS = "labels.json", "imports"

@dataclass(frozen=True, slots=True)
class Import:
    """One import. `file` and `format` say what was read, `when` when (UTC, ISO 8601); `images` and `boxes` count what
    it took, `changes` against the boxes that people began with. `seconds` is how long they worked on `timed` images of
    these, None where the file does not say. `before` is the number of the import that was in force until then.
    """

    number: int
    when: str
    file: str
    format: str
    images: int
    boxes: int
    changes: Changes
    seconds: float | None = None
    timed: int = 0
    timed_boxes: int = 0
    before: int | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Import:
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        return cls(**known | {"changes": Changes(**values["changes"])})

    def pace(self) -> str | None:
        """Images and boxes an hour, in words; None where nobody says how long people worked."""
        if not self.seconds:
            return None
        images, boxes = self.an_hour().values()
        return (f"{self.seconds / 60:.1f} minutes on {self.timed} images: {images:.0f} images and {boxes:.0f} boxes an "
                "hour")

    def an_hour(self) -> dict[str, float]:
        """Images and boxes an hour, by the names under which they are tracked; nothing where nobody says."""
        if not self.seconds:
            return {}
        hours = self.seconds / 3600
        return {"labels/images_an_hour": self.timed / hours, "labels/boxes_an_hour": self.timed_boxes / hours}


def in_force(folder: Path) -> Import | None:
    """The import whose labels count for a batch, by its folder; None where there is none.

    Raises:
        DataError: the file was damaged.
    """
    path = folder / LABELS
    return _import(path) if path.exists() else None


def keep(folder: Path, dataset: Dataset, boxes: Mapping[ImageId, Boxes], read: Import) -> Import:
    """Adds an import to those of a batch and puts it in force: its boxes in place of older ones of the same images.

    Returns:
        `read` with its number, and that of the import before.
    """
    before = in_force(folder)
    kept = _boxes(folder / LABELS, dataset) if before else {}
    numbers = [int(path.stem) for path in (folder / IMPORTS).glob("*.json") if path.stem.isdecimal()]
    done = replace(read, number=max(numbers, default=0) + 1, before=before and before.number)
    labels = replace(dataset, boxes=kept | dict(boxes))
    ids = sorted(labels.boxes)
    for path in (folder / IMPORTS / f"{done.number}.json", folder / LABELS):  # the last one makes it count
        write_coco(path, labels, ids, asdict(done))
    return done


def undo(folder: Path) -> tuple[Import, Import | None]:
    """Puts the import before the last one in force; gives the one that was undone, and that which counts now.

    The labels that were taken back stay in `imports/`.

    Raises:
        StateError: there is no import.
        DataError: a file was damaged.
    """
    done = in_force(folder)
    if done is None:
        raise StateError(f"{folder / LABELS}: expected labels that were imported, got none; nothing to take back")
    if done.before is None:
        (folder / LABELS).unlink()
        return done, None
    path = folder / IMPORTS / f"{done.before}.json"
    older = _import(path)
    write_json(folder / LABELS, _content(path))
    return done, older


def with_labels(workspace: Workspace, dataset: Dataset) -> Dataset:
    """The data set with all boxes that came back from people, the latest of each image; classes that only they have
    named come after its own.

    Raises:
        DataError: a file was damaged.
    """
    files = labelled_files(workspace)
    for path in files:
        dataset = with_classes(dataset, [entry["name"] for entry in _content(path)["categories"]])
    found: dict[ImageId, Boxes] = {}
    for path in files:
        found |= _boxes(path, dataset)
    return replace(dataset, boxes={**dataset.boxes, **found}) if found else dataset


def labelled_files(workspace: Workspace) -> list[Path]:
    """The labels in force of all batches of a seed, the oldest import first."""
    files = sorted((_import(path).when, path) for path in workspace.batches.glob(f"*/{LABELS}"))
    older = [workspace.corrections] if workspace.corrections.exists() else []
    return [*older, *(path for _, path in files)]


def names_in(path: Path) -> frozenset[ImageId]:
    """The images of a file of labels."""
    return frozenset(entry["file_name"] for entry in _content(path)["images"])


def with_classes(dataset: Dataset, names: list[str]) -> Dataset:
    """The data set with these classes besides, numbered on."""
    new = [name for name in names if name not in dataset.classes]
    first = max(dataset.category_ids, default=0) + 1
    return replace(dataset, classes=(*dataset.classes, *new),
                   category_ids=(*dataset.category_ids, *range(first, first + len(new))))


def _boxes(path: Path, dataset: Dataset) -> dict[ImageId, Boxes]:
    return import_annotations(path, dataset, [name for name in sorted(names_in(path)) if name in dataset.images])


def _import(path: Path) -> Import:
    try:
        return Import.of(_content(path)["info"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, f"other content ({error})") from error


def _content(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
        if all(isinstance(content[name], list) for name in ("images", "categories")):
            return content
        got = "other content"
    except (OSError, ValueError, KeyError, TypeError) as error:
        got = str(error)
    raise _damaged(path, got)


def _damaged(path: Path, got: str) -> DataError:
    return DataError(f"{path}: expected labels as `mgral import` wrote them, got {got}; restore the file from git, or "
                     f"copy the newest of {path.parent / IMPORTS} over it")
