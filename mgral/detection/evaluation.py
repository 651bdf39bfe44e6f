"""COCO's average precision from boxes in memory: pycocotools' numbers, by arrays instead of a loop over every image."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import toeplitz
from scipy.special import expit

from mgral.data.dataset import Boxes, ImageId
from mgral.errors import DataError
from mgral.pool.inspection import Detections

MOST_DETECTIONS = 100
"""Detections counted of one class in one image (COCO)."""
OVERLAPS = np.linspace(0.5, 0.95, 10)
"""IoU from which a detection is right (COCO)."""
RECALLS = np.linspace(0.0, 1.0, 101)
"""Where precision is read (COCO)."""
LEAST_OVERLAP = 0.1
"""IoU from which the soft average precision takes a detection for a sight of an object."""
TEMPERATURE = 0.05
"""Scores that differ by this much are well apart to the soft average precision."""
SCORES = 1000
"""Steps that the soft average precision tells scores apart by."""


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
    _check(predictions, truth)
    precision = _precision([predictions[image_id] for image_id in truth], list(truth.values()), len(classes))
    return Evaluation(_mean(precision), _mean(precision[:, 0]), tuple(_mean(of_class) for of_class in precision))


def soft_ap(predictions: Mapping[ImageId, Detections], truth: Mapping[ImageId, Boxes]) -> float:
    """A smooth relative of average precision, the mean over classes with truth; a fraction, 1 for perfect detections.

    No threshold of IoU and no hard rank. A detection is right to the degree q of its IoU with the box it matches (as
    in COCO the surest chooses first), and precision at a detection i counts every other j as ranked above it to the
    degree σ_ij = sigmoid((s_j - s_i) / T):

        soft AP = Σ_i q_i · (Σ_j σ_ij q_j) / (Σ_j σ_ij) / number of objects, with σ_ii = 1.

    So it moves with every score and every box, where AP jumps. Scores are told apart by thousandths. A detection that
    matches a region to ignore does not count.

    Source: ours, after Smooth-AP (Brown et al. 2020, equation 4), which has no overlaps.

    Raises:
        ValueError, DataError: as `evaluate`.
    """
    _check(predictions, truth)
    classes = 1 + max(int(image.labels.max(initial=0)) for image in (*truth.values(), *predictions.values()))
    expected, predicted = list(truth.values()), [predictions[image_id] for image_id in truth]
    truth_places, truth_boxes, truth_labels, ignore = _by_place(expected, classes, [image.ignore for image in expected])
    numbers = np.bincount(truth_labels[~ignore], minlength=classes)
    places, boxes, labels, negated = _by_place(predicted, classes, [-image.scores for image in predicted])
    detection, row = _pairs(places, truth_places)
    overlap = _overlap(boxes[detection], truth_boxes[row], ignore[row])
    order = np.lexsort((-row, -overlap, ignore[row], detection))
    order = order[overlap[order] >= LEAST_OVERLAP]
    best = np.zeros((len(boxes), 2))
    matched, match = _matched(detection[order], row[order], ignore)
    best[matched] = np.column_stack([_overlap(boxes[matched], truth_boxes[match], ignore[match]), ignore[match]])
    counted = best[:, 1] == 0
    above = _rank_kernel()
    values = []
    for label in np.flatnonzero(numbers):
        of_class = counted & (labels == label)
        quality, bins = best[of_class, 0], np.minimum((-negated[of_class] * SCORES).astype(int), SCORES - 1)
        hits = above @ np.bincount(bins, quality, SCORES)
        ranks = above @ np.bincount(bins, minlength=SCORES)
        # The kernel counts a detection as half above itself; it is wholly there.
        precision = (hits[bins] + quality / 2) / (ranks[bins] + 0.5)
        values.append((quality * precision).sum() / numbers[label])
    return float(np.mean(values))


@functools.cache
def _rank_kernel() -> np.ndarray:
    """(i, j): how far a score of bin j ranks above one of bin i."""
    apart = np.arange(SCORES) / SCORES / TEMPERATURE
    return toeplitz(expit(-apart), expit(apart))


def _check(predictions: Mapping[ImageId, Detections], truth: Mapping[ImageId, Boxes]) -> None:
    missing = [image_id for image_id in truth if image_id not in predictions]
    if missing:
        raise ValueError(f"expected predictions for every image, got none for {', '.join(missing[:5])}")
    if not any((~boxes.ignore).any() for boxes in truth.values()):
        raise DataError(f"evaluation: expected at least one annotated box, got none in {len(truth)} images")


def _precision(predicted: Sequence[Detections], expected: Sequence[Boxes], classes: int) -> np.ndarray:
    """Precision (C, 10, 101) at each of `OVERLAPS` and `RECALLS`, NaN for a class without truth."""
    # Boxes meet in places: a place is one class in one image.
    truth_places, truth_boxes, truth_labels, ignore = _by_place(expected, classes, [image.ignore for image in expected])
    numbers = np.bincount(truth_labels[~ignore], minlength=classes)
    places, boxes, labels, negated = _by_place(predicted, classes, [-image.scores for image in predicted])
    rank = np.arange(len(places)) - np.searchsorted(places, places)
    places, boxes, labels, negated = (column[rank < MOST_DETECTIONS] for column in (places, boxes, labels, negated))

    detection, row = _pairs(places, truth_places)
    overlap = _overlap(boxes[detection], truth_boxes[row], ignore[row])
    detection, row, overlap = (column[overlap >= OVERLAPS[0]] for column in (detection, row, overlap))
    # What a detection would rather match: objects before regions to ignore, then the closest, the last of equals.
    order = np.lexsort((-row, -overlap, ignore[row], detection))
    detection, row, overlap = detection[order], row[order], overlap[order]
    right = np.zeros((len(OVERLAPS), len(places)), dtype=bool)
    wrong = np.ones_like(right)
    for level, least in enumerate(OVERLAPS):
        close = overlap >= least
        matched, match = _matched(detection[close], row[close], ignore)
        right[level, matched], wrong[level, matched] = ~ignore[match], False

    order = np.lexsort((negated, labels))
    parts = np.split(order, np.searchsorted(labels[order], np.arange(1, classes)))
    return np.stack([_curve(right[:, part], wrong[:, part], number)
                     for part, number in zip(parts, numbers, strict=True)])


def _by_place(images: Sequence[Detections] | Sequence[Boxes], classes: int,
              key: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All boxes, by place and then by `key`: their places, xyxy as float64, labels and keys."""
    labels, key = np.concatenate([image.labels for image in images]), np.concatenate(key)
    place = np.repeat(np.arange(len(images)), [len(image) for image in images]) * classes + labels
    order = np.lexsort((key, place))
    xyxy = np.concatenate([image.xyxy for image in images]).astype(np.float64)
    return place[order], xyxy[order], labels[order], key[order]


def _pairs(places: np.ndarray, truth_places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two sorted arrays that hold the same number, every pair."""
    first, last = (np.searchsorted(truth_places, places, side) for side in ("left", "right"))
    rows = np.repeat(np.arange(len(places)), last - first)
    return rows, np.arange(len(rows)) + np.repeat(last - np.cumsum(last - first), last - first)


def _overlap(boxes: np.ndarray, truth: np.ndarray, region: np.ndarray) -> np.ndarray:
    """IoU row by row; for a region the share of the detection that lies in it."""
    sides = np.minimum(boxes[:, 2:], truth[:, 2:]) - np.maximum(boxes[:, :2], truth[:, :2])
    shared = sides.clip(min=0).prod(axis=1)
    area, truth_area = ((xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1) for xyxy in (boxes, truth))
    return np.divide(shared, np.where(region, area, area + truth_area - shared), out=shared, where=shared > 0)


def _matched(detection: np.ndarray, truth: np.ndarray, region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Detections and what they match: the surest of a place chooses first, and only regions can be chosen again.

    `detection` and `truth` pair rows that may match, surest detection first, for each its best match first.
    """
    while True:
        # All choose at once; whoever lost its choice to a surer detection chooses again among what is left.
        best = np.flatnonzero(np.diff(detection, prepend=-1))
        holder = np.full(len(region), np.iinfo(np.int64).max)
        holder[truth[best][::-1]] = detection[best][::-1]  # of several the surest, written last, stays
        free = (detection <= holder[truth]) | region[truth]
        if free.all():
            return detection[best], truth[best]
        detection, truth = detection[free], truth[free]


def _curve(right: np.ndarray, wrong: np.ndarray, number: int) -> np.ndarray:
    """Precision (10, 101) of one class's detections (10, n), surest first; `number` of its objects."""
    if not number:
        return np.full((len(OVERLAPS), len(RECALLS)), np.nan)
    hits, misses = right.cumsum(axis=1), wrong.cumsum(axis=1)
    precision = hits / (hits + misses + np.spacing(1))
    # The best precision at this recall or any higher one; none beyond the last recall reached.
    best = np.pad(np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1], ((0, 0), (0, 1)))
    return np.stack([row[np.searchsorted(reached, RECALLS)] for row, reached in zip(best, hits / number, strict=True)])


def _mean(precision: np.ndarray) -> float | None:
    known = precision[~np.isnan(precision)]
    return float(known.mean()) if known.size else None
