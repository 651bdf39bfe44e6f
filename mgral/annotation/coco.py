"""A chosen batch as a COCO file with the model's boxes in it, and the corrected file back.

CVAT takes such boxes only with an empty `segmentation`, knows further values only as `attributes`, and matches images
by `file_name`; tools renumber images and categories at will, so what comes back is matched by file name and by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mgral.annotation.proposals import MODEL, proposals
from mgral.data.dataset import Boxes, Dataset, ImageId
from mgral.data.formats.checking import Rules, dataset_of
from mgral.data.formats.coco import document, parts_of, read_file
from mgral.data.formats.coco_entries import name_of
from mgral.data.formats.folder import Folder
from mgral.data.formats.json_files import parsed
from mgral.data.formats.reading import Reading
from mgral.data.formats.text import text_of
from mgral.data.headers import Header
from mgral.errors import DataError
from mgral.files import read_json, write_json
from mgral.findings import Findings
from mgral.pool.inspection import Detections


def export_batch(path: Path, dataset: Dataset, ids: Sequence[ImageId], detections: Mapping[ImageId, Detections],
                 min_score: float = 0.3, info: Mapping[str, Any] | None = None) -> None:
    """Writes the images with the model's boxes of at least `min_score` as pre-annotations.

    Images are numbered from 1 and carry their id here as `mgral_id`; categories keep their ids; `info` must be JSON.

    Raises:
        ValueError: an image that the data set does not have, or one twice.
    """
    unknown = [image_id for image_id in ids if image_id not in dataset.images]
    if unknown or len(set(ids)) < len(ids):
        raise ValueError(f"expected distinct images of the data set, got {', '.join(unknown) or 'one twice'}")
    boxes = [(image_id, box.corners, box.label, {"score": box.score,
                                                 "attributes": {"score": box.score, "source": MODEL}})
             for image_id in ids if image_id in detections
             for box in proposals(dataset.images[image_id], detections[image_id], min_score)]
    content: dict[str, Any] = document(dataset, ids, boxes)
    for entry, image_id in zip(content["images"], ids, strict=True):
        entry["mgral_id"] = image_id
    write_json(path, {"info": dict(info or {}), **content})


def read_preannotations(path: Path, dataset: Dataset) -> dict[ImageId, Detections]:
    """The boxes that a batch went out with, by image in the file's order, best first, as `export_batch` wrote them.

    Raises:
        DataError: the file is damaged, or of another data set.
    """
    try:
        content = read_json(path)
        names = {entry["id"]: entry["name"] for entry in content["categories"]}
        rows: dict[int, list[tuple[list[float], float, int]]] = {entry["id"]: [] for entry in content["images"]}
        for entry in content["annotations"]:
            x, y, width, height = entry["bbox"]
            label = dataset.classes.index(names[entry["category_id"]])
            rows[entry["image_id"]].append(([x, y, x + width, y + height], entry["score"], label))
        return {entry["mgral_id"]: _detections(rows[entry["id"]]) for entry in content["images"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: expected the batch as it went out, got {error}; restore the file") from error


def _detections(rows: Sequence[tuple[list[float], float, int]]) -> Detections:
    return Detections(np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
                      np.array([row[1] for row in rows], np.float32), np.array([row[2] for row in rows], np.int64))


def names_of_classes(path: Path) -> list[str]:
    """The names of a file's categories, in the order of their ids; empty for a file that is not COCO."""
    try:
        categories = read_json(path)["categories"]
        return [entry["name"] for entry in sorted(categories, key=lambda entry: entry["id"])]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def import_annotations(path: Path, dataset: Dataset, ids: Sequence[ImageId]) -> dict[ImageId, Boxes]:
    """The same as `read_annotations`, without the notes."""
    return read_annotations(path, dataset, ids)[0]


def read_annotations(path: Path, dataset: Dataset,
                     ids: Sequence[ImageId]) -> tuple[dict[ImageId, Boxes], tuple[str, ...]]:
    """Reads a corrected file back: the boxes of exactly these images, or nothing; and a line for what was assumed.

    An image is matched by its file name, or the last part of it where that is enough, whatever prefix or slashes a tool
    has given it; an `mgral_id`, if it is still there, must agree. An image of the file without boxes was looked at and
    is empty.

    Raises:
        DataError: images that are missing, unknown or there twice, categories that are unknown, boxes that are
            malformed, outside their image or without area, and a malformed file; all of it.
    """
    findings = Findings()
    reading = Reading(Folder.of(dataset.root, ids), findings,
                      advice="correct it in the annotation tool and export again")
    parts = parts_of(path, parsed(path, text_of(path, "a COCO file", findings), findings), findings)
    if parts["annotations"] is None:
        findings.problem(f"{path}: expected a list of objects under 'annotations', got none; export "
                         "them too")
    read_file(reading, path, parts, [""])
    _check_names(path, parts["images"], reading)
    reading.classes = dict(zip(dataset.classes, dataset.category_ids, strict=True))
    headers = {image_id: Header(dataset.images[image_id].width, dataset.images[image_id].height, 1, None, "")
               for image_id in ids}
    boxes = dataset_of(reading, headers, Rules(without_boxes="empty")).boxes
    for image_id in ids if parts["images"] else ():
        if reading.row(image_id) is None:
            findings.problem(f"{path}: expected an entry for {image_id!r}, got none; export the whole batch",
                             "missing image")
    if findings.problems:
        raise DataError(*findings.problems)
    boxes = {image_id: boxes[image_id] for image_id in ids}
    empty = sum(not len(of_image) for of_image in boxes.values())
    if empty:
        findings.note(f"{path}: {empty} of {len(ids)} images have no box and are taken as empty")
    return boxes, findings.notes


def _check_names(path: Path, entries: Sequence[Mapping[str, Any]], reading: Reading) -> None:
    """Refuses images of other batches, and names that were changed into those of another image."""
    for name, where in reading.missing:
        reading.findings.problem(f"{where}: expected an image of the batch, got {name!r}; remove it, or give the file "
                                 "of the right batch", "unknown image")
    claimed = {f"{path}: image {name_of(entry, 0)}": entry["mgral_id"] for entry in entries if "mgral_id" in entry}
    for image in reading.images:
        if claimed.get(image.where, image.file_name) != image.file_name:
            reading.findings.problem(f"{image.where}: expected mgral_id {image.file_name!r}, got "
                                     f"{claimed[image.where]!r}; undo the change of name", "mgral_id")


def _size(dataset: Dataset, image_id: ImageId) -> tuple[int, int]:
    return dataset.images[image_id].width, dataset.images[image_id].height
