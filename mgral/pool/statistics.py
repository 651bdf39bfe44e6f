"""What the detector's predictions say of single images: the quantities by which batches are described and designed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mgral.pool.inspection import BLOCK, Inspection

LEAST_SCORE = 0.05
"""Detections below it are not counted: a detector keeps a long tail of them that says nothing."""
UNSURE = (0.2, 0.8)
"""Scores of detections that a person would call uncertain: their entropy is above 0.5 nats."""
LOCATION_BLOCK = 1024
"""Images whose locations are looked at together: each has K × C scores."""


def class_mass(inspection: Inspection) -> np.ndarray:
    """Expected objects of each class in each image (N, C): the scores of its detections, summed."""
    return _by_class(inspection, lambda scores: scores)


def detection_entropy(inspection: Inspection) -> np.ndarray:
    """Entropy in nats of "is it this class, or not" (N, C): summed over each image's detections of that class.

    Unlike the entropy of locations it counts an object once, and an image in which nothing is found has none.
    """
    return _by_class(inspection, _binary_entropy)


def uncertain_objects(inspection: Inspection) -> np.ndarray:
    """Detections of each class in each image (N, C) whose score lies within `UNSURE`."""
    return _by_class(inspection, lambda scores: (scores >= UNSURE[0]) & (scores <= UNSURE[1]))


def uncertainty(inspection: Inspection) -> np.ndarray:
    """Entropy in nats (N,) of each image's detections, all classes together; memory for one block."""
    return np.concatenate([detection_entropy(block).sum(axis=1) for block in inspection.blocks()])


def location_entropy(inspection: Inspection) -> np.ndarray:
    """Entropy in nats of "is it this class, or not" (N, K, C), at each of the K surest locations of each image."""
    return _binary_entropy(inspection.class_scores)


def image_entropy(inspection: Inspection) -> np.ndarray:
    """Entropy (N,) of an image: over its classes the sum, over its K locations the mean."""
    return location_summary(inspection)[:, 0]


def location_summary(inspection: Inspection) -> np.ndarray:
    """Entropy of the locations, summed up image by image (N, 2 + C); memory for one block.

    Mean and largest over the K locations of the sum over the classes, then the mean over the locations class by class.
    """
    return np.concatenate([_summary(location_entropy(block)) for block in inspection.blocks(LOCATION_BLOCK)])


def principal(embedding: np.ndarray, count: int) -> np.ndarray:
    """The embedding (N, d) on its first principal axes (N, ≤ count), each scaled to deviation 1.

    Axes along which nothing varies are left out, but for the first. Signs are fixed: a principal axis has none. Takes
    memory for a block beside the result; the covariance is summed in float64.
    """
    mean, blocks = embedding.mean(axis=0, dtype=float), range(0, len(embedding), BLOCK)

    def centred(start: int) -> np.ndarray:
        return embedding[start:start + BLOCK].astype(float) - mean

    covariance = sum(part.T @ part for part in map(centred, blocks)) / len(embedding)
    variances, axes = np.linalg.eigh(covariance)
    order = np.argsort(-variances)[:count]
    varying = order[:max(1, int((variances[order] > 1e-9 * variances.max()).sum()))]
    axes = axes[:, varying] * np.sign(axes[np.abs(axes[:, varying]).argmax(axis=0), varying])
    axes /= np.sqrt(np.maximum(variances[varying], np.finfo(float).tiny))
    return np.concatenate([part @ axes for part in map(centred, blocks)])


def _by_class(inspection: Inspection, weigh: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What the scores of an image's detections weigh, summed class by class (N, C)."""
    detections, shape = inspection.detections, (len(inspection.ids), inspection.class_scores.shape[2])
    sure = np.flatnonzero(detections.scores >= LEAST_SCORE)
    cells = detections.images[sure] * shape[1] + detections.labels[sure]
    summed = np.bincount(cells, weigh(detections.scores[sure]), shape[0] * shape[1])
    return summed.astype(float, copy=False).reshape(shape)  # numpy counts in integers where there is nothing


def _summary(entropy: np.ndarray) -> np.ndarray:
    whole = entropy.sum(axis=2)
    return np.column_stack([whole.mean(axis=1), whole.max(axis=1), entropy.mean(axis=1)])


def _binary_entropy(scores: np.ndarray) -> np.ndarray:
    p = np.clip(scores.astype(float), 1e-12, 1 - 1e-12)
    return -(p * np.log(p) + (1 - p) * np.log1p(-p))
