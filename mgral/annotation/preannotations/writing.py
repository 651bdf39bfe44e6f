"""One call for all formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mgral.annotation.coco import export_batch
from mgral.annotation.preannotations.cvat import write_cvat
from mgral.annotation.preannotations.label_studio import write_label_studio
from mgral.annotation.proposals import MIN_SCORE, proposals
from mgral.data.dataset import Boxes, Dataset, ImageId
from mgral.data.formats.voc import write_voc
from mgral.data.formats.yolo import write_yolo
from mgral.errors import DataError
from mgral.pool.inspection import Detections

FORMATS = ("label-studio", "cvat", "coco", "voc", "yolo")

NO_CLASS = "object"
"""What there is to label where nobody has named a class."""


def write_preannotations(kind: str, folder: Path, dataset: Dataset, ids: Sequence[ImageId],
                         detections: Mapping[ImageId, Detections], info: Mapping[str, Any]) -> tuple[Path, ...]:
    """Writes the batch in one of `FORMATS` and gives the files or folders written; `info` says where it is from.

    Raises:
        DataError: a folder format that would give two images one name.
    """
    if not dataset.classes:
        dataset = replace(dataset, classes=(NO_CLASS,), category_ids=(1,))
    if kind == "label-studio":
        return write_label_studio(folder, dataset, ids, detections, info)
    if kind == "cvat":
        return write_cvat(folder / "annotations.xml", dataset, ids, detections, info),
    if kind == "coco":
        export_batch(folder / "preannotations.json", dataset, ids, detections, MIN_SCORE, info)
        return folder / "preannotations.json",
    return _as_data_set({"voc": write_voc, "yolo": write_yolo}[kind], folder / kind, dataset, ids, detections),


def _as_data_set(write: Callable[[Path, Dataset, Mapping[str, Sequence[ImageId]]], None], folder: Path,
                 dataset: Dataset, ids: Sequence[ImageId], detections: Mapping[ImageId, Detections]) -> Path:
    boxes = {}
    for image_id in ids:
        proposed = proposals(dataset.images[image_id], detections[image_id])
        boxes[image_id] = Boxes.of([box.corners for box in proposed], [box.label for box in proposed])
    try:
        write(folder, replace(dataset, boxes=boxes), {"batch": ids})
    except ValueError as error:
        raise DataError(f"{folder}: {error}; write the batch as coco, cvat or label-studio, or rename the images"
                        ) from error
    return folder
