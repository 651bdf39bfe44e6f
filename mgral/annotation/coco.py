"""A chosen batch as a COCO file with the model's boxes in it, and the corrected file back.

CVAT takes such boxes only with an empty `segmentation`, knows further values only as `attributes`, and matches images
by `file_name`; tools renumber images and categories at will, so what comes back is matched by file name and by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mgral.annotation.archives import as_given, opened
from mgral.annotation.collecting import collect
from mgral.annotation.proposals import MODEL, proposals
from mgral.annotation.returned import boxes_of, settle_classes
from mgral.data.dataset import Boxes, Dataset, ImageId
from mgral.data.formats.coco import document
from mgral.data.formats.reading import uncollected
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
    write_json(path, {"info": dict(info or {}), "licenses": [], **content})


def export_for_cvat(path: Path, dataset: Dataset, ids: Sequence[ImageId],
                    detections: Mapping[ImageId, Detections], info: Mapping[str, Any]) -> None:
    """Writes the same as CVAT's "COCO 1.0" wants it: categories are numbered from 1, whatever their ids are, and
    attributes say nothing of turned boxes or tracks, which would shift the boxes."""
    own = replace(dataset, category_ids=tuple(range(1, len(dataset.classes) + 1)))
    boxes = [(image_id, box.corners, box.label, {"attributes": {"occluded": False, "score": box.score}})
             for image_id in ids for box in proposals(own.images[image_id], detections[image_id])]
    text = " ".join(f"{key} {value}" for key, value in info.items())
    content = document(own, ids, boxes)
    for entry in content["images"]:
        entry |= {"license": 0, "flickr_url": "", "coco_url": "", "date_captured": 0}
    write_json(path, {"info": {"description": text, "version": "", "url": "", "contributor": "", "date_created": "",
                               "year": ""}, "licenses": [{"name": "", "id": 0, "url": ""}], **content})


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


def import_annotations(path: Path, dataset: Dataset, ids: Sequence[ImageId]) -> dict[ImageId, Boxes]:
    """The same as `read_annotations`, without the notes."""
    return read_annotations(path, dataset, ids)[0]


def read_annotations(path: Path, dataset: Dataset,
                     ids: Sequence[ImageId]) -> tuple[dict[ImageId, Boxes], tuple[str, ...]]:
    """Reads a COCO file that holds the boxes of exactly these images; and a line for what was assumed.

    Raises:
        DataError: images that are missing besides all that `read_returned` refuses, and images of other batches.
    """
    with opened(path) as place, uncollected():
        boxes, notes = _read_exactly(place, dataset, ids)
        return boxes, tuple(as_given(note, place, path) for note in notes)


def _read_exactly(path: Path, dataset: Dataset,
                  ids: Sequence[ImageId]) -> tuple[dict[ImageId, Boxes], tuple[str, ...]]:
    findings = Findings()
    own = replace(dataset, images={image_id: dataset.images[image_id] for image_id in ids})
    collected = collect(path, own, ids, findings)
    settle_classes(collected.reading, dataset)
    boxes = boxes_of(collected.reading, dataset, ids)
    for name, where in collected.others.items():
        findings.problem(f"{where}: expected an image of the batch, got {name!r}; remove it, or give the file of the "
                         "right batch", "unknown image")
    for image_id in ids:
        if collected.reading.row(image_id) is None:
            findings.problem(f"{path}: expected an entry for {image_id!r}, got none; export the whole batch",
                             "missing image")
    if findings.problems:
        raise DataError(*findings.problems)
    empty = sum(not len(of_image) for of_image in boxes.values())
    if empty:
        findings.note(f"{path}: {empty} of {len(ids)} images have no box and are taken as empty")
    return boxes, findings.notes
