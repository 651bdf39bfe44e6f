"""One call for all formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mgral.annotation.coco import export_batch, export_for_cvat
from mgral.annotation.matching import folded
from mgral.annotation.preannotations.cvat import write_cvat
from mgral.annotation.preannotations.label_studio import write_label_studio
from mgral.annotation.proposals import MIN_SCORE, NO_CLASS, proposals
from mgral.data.dataset import Boxes, Dataset, ImageId
from mgral.data.formats.text import legal
from mgral.data.formats.voc import write_voc
from mgral.data.formats.yolo import write_yolo
from mgral.errors import DataError
from mgral.files import writing, writing_folder
from mgral.pool.inspection import Detections

NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
FORMATS = ("label-studio", "cvat", "cvat-coco", "coco", "voc", "yolo")


def write_preannotations(kind: str, folder: Path, dataset: Dataset, ids: Sequence[ImageId],
                         detections: Mapping[ImageId, Detections], info: Mapping[str, Any]) -> tuple[Path, ...]:
    """Writes the batch in one of `FORMATS` and gives the files or folders written; `info` says where it is from.

    Raises:
        DataError: a folder format that would give two images one name, or whose folder is there: people may have
            labelled in it; classes or, in XML, images that could not be told apart.
    """
    if not dataset.classes:
        dataset = replace(dataset, classes=(NO_CLASS,), category_ids=(1,))
    _check_classes(dataset.classes)
    detections = {image_id: detections.get(image_id, NOTHING) for image_id in ids}
    if kind == "label-studio":
        return write_label_studio(folder, dataset, ids, detections, info)
    if kind == "cvat":
        _check_names(folder, ids)
        return write_cvat(folder / "annotations.xml", dataset, ids, detections, info),
    if kind == "coco":
        export_batch(folder / "preannotations.json", dataset, ids, detections, MIN_SCORE, info)
        return folder / "preannotations.json",
    if kind == "cvat-coco":
        export_for_cvat(folder / kind / "annotations" / "instances_default.json", dataset, ids, detections, info)
        return folder / kind,
    return _as_data_set({"voc": write_voc, "yolo": write_yolo}[kind], folder / kind, dataset, ids, detections),


def _check_classes(names: Sequence[str]) -> None:
    """Blanks and controls are lost on the way: what differs by them only could not be told apart when it comes back."""
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(folded(name), name)
        if other != name or not folded(name) or "\0" in name:
            got = f"{name!r} and {other!r}, which look the same" if other != name else repr(name)
            raise DataError(f"classes: expected names that annotation tools can show and tell apart, got {got}; rename "
                            "the class")


def _check_names(folder: Path, ids: Sequence[ImageId]) -> None:
    if len(set(map(legal, ids))) < len(ids):
        raise DataError(f"{folder}: expected images whose names differ in XML, which has no control characters, got "
                        "one name twice; write the batch as coco, or rename the images")


def _as_data_set(write: Callable[[Path, Dataset, Mapping[str, Sequence[ImageId]]], None], folder: Path,
                 dataset: Dataset, ids: Sequence[ImageId], detections: Mapping[ImageId, Detections]) -> Path:
    if folder.exists():
        raise DataError(f"{folder}: expected nothing there, got what people may have labelled in; move it away")
    boxes = {}
    for image_id in ids:
        proposed = proposals(dataset.images[image_id], detections[image_id])
        boxes[image_id] = Boxes.of([box.corners for box in proposed], [box.label for box in proposed])
    try:
        with writing_folder(folder) as temporary:
            write(temporary, replace(dataset, boxes=boxes), {"batch": ids})
            if write is write_voc:
                _write_label_map(temporary / "labelmap.txt", dataset.classes)
    except ValueError as error:
        raise DataError(f"{folder}: {error}; write the batch as coco, cvat or label-studio, or rename the images"
                        ) from error
    except OSError as error:
        raise DataError(f"{folder}: expected images that can be copied there, got {error.strerror or error}; make "
                        "room, or write the batch as coco, cvat or label-studio") from error
    return folder


def _write_label_map(path: Path, names: Sequence[str]) -> None:
    """The classes as CVAT and Datumaro want them beside VOC's files; a name that their format has no way to write is
    left out."""
    lines = "".join(f"{name}:::\n" for name in map(folded, names) if ":" not in name and not name.startswith("#"))
    with writing(path) as temporary:
        temporary.write_text(f"# label:color_rgb:parts:actions\n{lines}", encoding="utf-8")
