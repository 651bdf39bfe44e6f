"""What the detector's predictions say of single images: the quantities by which batches are described and designed."""

from __future__ import annotations

import numpy as np

from mgral.inspection import Inspection

LEAST_SCORE = 0.05
"""Detections below it are not counted: a detector keeps a long tail of them that says nothing."""


def class_mass(inspection: Inspection) -> np.ndarray:
    """Expected objects of each class in each image (N, C): the scores of its detections, summed."""
    mass = np.zeros((len(inspection.ids), inspection.class_scores.shape[2]))
    for row, detections in enumerate(inspection.detections):
        kept = detections.above(LEAST_SCORE)
        np.add.at(mass[row], kept.labels, kept.scores)
    return mass


def location_entropy(inspection: Inspection) -> np.ndarray:
    """Entropy in nats of "is it this class, or not" (N, K, C), at each of the K surest locations of each image."""
    p = np.clip(inspection.class_scores.astype(float), 1e-12, 1 - 1e-12)
    return -(p * np.log(p) + (1 - p) * np.log1p(-p))


def image_entropy(inspection: Inspection) -> np.ndarray:
    """Entropy (N,) of an image: over its classes the sum, over its K locations the mean."""
    return location_entropy(inspection).sum(axis=2).mean(axis=1)


def principal(embedding: np.ndarray, count: int) -> np.ndarray:
    """The embedding (N, d) on its first principal axes (N, ≤ count), each scaled to deviation 1.

    Axes along which nothing varies are left out, but for the first. Signs are fixed: a principal axis has none.
    """
    centred = embedding.astype(float) - embedding.mean(axis=0, dtype=float)
    variances, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    order = np.argsort(-variances)[:count]
    kept = order[:max(1, int((variances[order] > 1e-9 * variances.max()).sum()))]
    axes = axes[:, kept] * np.sign(axes[np.abs(axes[:, kept]).argmax(axis=0), kept])
    return centred @ axes / np.sqrt(np.maximum(variances[kept], np.finfo(float).tiny))
