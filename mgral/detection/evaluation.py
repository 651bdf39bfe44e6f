"""Average precision by pycocotools, from boxes in memory."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mgral.data.dataset import Boxes, ImageId
from mgral.errors import DataError
from mgral.inspection import Detections

MOST_DETECTIONS = 100
"""Detections counted in an image (COCO)."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`map` averages over IoU .5 to .95 and classes, `ap50` takes IoU .5; `per_class` holds each class's own average
    over IoU, None for a class without truth. Fractions."""

    map: float
    ap50: float
    per_class: tuple[float | None, ...]


def evaluate(predictions: Mapping[ImageId, Detections], truth: Mapping[ImageId, Boxes],
             classes: Sequence[str]) -> Evaluation:
    """COCO's bounding-box metrics of `predictions` on exactly the images of `truth`.

    Boxes to ignore count as crowd regions: a detection inside one is neither right nor wrong.

    Raises:
        ValueError: an image of `truth` has no entry in `predictions`.
        DataError: there is no box to find, so that no class has a precision.
    """
    missing = [image_id for image_id in truth if image_id not in predictions]
    if missing:
        raise ValueError(f"expected predictions for every image, got none for {', '.join(missing[:5])}")
    if not any((~boxes.ignore).any() for boxes in truth.values()):
        raise DataError(f"evaluation: expected at least one annotated box, got none in {len(truth)} images")
    found = [_found(row, predictions[image_id]) for row, image_id in enumerate(truth, start=1)]
    wanted = [_wanted(row, boxes) for row, boxes in enumerate(truth.values(), start=1)]
    # iou, recall, class, area, most detections
    precision = _precision(_coco(wanted, len(truth), len(classes)), _coco(found, len(truth), len(classes)))
    per_class = tuple(_mean(precision[:, :, row]) for row in range(len(classes)))
    return Evaluation(_mean(precision), _mean(precision[0]), per_class)


def _wanted(image: int, boxes: Boxes) -> list[dict]:
    return [_annotation(image, xyxy, label) | {"iscrowd": int(ignore)}
            for xyxy, label, ignore in zip(boxes.xyxy, boxes.labels, boxes.ignore, strict=True)]


def _found(image: int, detections: Detections) -> list[dict]:
    return [_annotation(image, xyxy, label) | {"score": float(score), "iscrowd": 0} for xyxy, label, score
            in zip(detections.xyxy, detections.labels, detections.scores, strict=True)]


def _annotation(image: int, xyxy: np.ndarray, label: int) -> dict:
    left, top, right, bottom = (float(side) for side in xyxy)
    width, height = right - left, bottom - top
    return {"image_id": image, "category_id": int(label) + 1, "bbox": [left, top, width, height],
            "area": width * height}


def _coco(annotations: Sequence[list[dict]], images: int, classes: int):
    from pycocotools.coco import COCO

    coco = COCO()
    numbered = enumerate((one for image in annotations for one in image), start=1)
    coco.dataset = {"images": [{"id": row + 1} for row in range(images)],
                    "annotations": [one | {"id": number} for number, one in numbered],
                    "categories": [{"id": row + 1} for row in range(classes)]}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _precision(wanted, found) -> np.ndarray:
    """COCO's precision table (10, 101, C, 1, 1) over boxes of every size."""
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        run = COCOeval(wanted, found, "bbox")
        run.params.areaRng, run.params.areaRngLbl = run.params.areaRng[:1], run.params.areaRngLbl[:1]
        run.params.maxDets = [MOST_DETECTIONS]
        run.evaluate()
        run.accumulate()
    return run.eval["precision"]


def _mean(precision: np.ndarray) -> float | None:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else None
