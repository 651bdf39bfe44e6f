"""Made-up inspections: clusters in embedding space, each with a class of its own and copies of its images."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from mgral.lookup.described import Described
from mgral.pool.inspection import Detections, Inspection


def inspection(size: int = 120, classes: int = 4, dimensions: int = 16, seed: int = 0) -> Inspection:
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=size)
    embedding = rng.normal(size=(classes, dimensions))[labels] * 2 + rng.normal(size=(size, dimensions))
    copies = rng.choice(size, size // 4, replace=False)
    embedding[copies] = embedding[copies[::-1]] + rng.normal(scale=1e-3, size=(len(copies), dimensions))
    scores = rng.beta(1, 6, size=(size, 5, classes)).astype(np.float32)
    scores[np.arange(size), 0, labels] = rng.uniform(0.3, 1.0, size)
    return Inspection(tuple(f"{row:05d}" for row in range(size)), embedding.astype(np.float32), scores,
                      tuple(detections(rng, int(label), classes) for label in labels))


def detections(rng: np.random.Generator, label: int, classes: int) -> Detections:
    labels = np.append(np.full(rng.integers(1, 4), label), rng.integers(classes))
    scores = np.sort(rng.uniform(0.01, 1.0, len(labels)))[::-1]
    return Detections(np.zeros((len(labels), 4), np.float32), scores.astype(np.float32), labels.astype(np.int64))


def sets(ids: tuple[str, ...], labelled: int = 20) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Pool and labelled images."""
    return ids[labelled:], ids[:labelled]


def described(rows: np.ndarray) -> Described:
    """Batches of which only the rows matter: all of one and the same image."""
    rows = np.asarray(rows, dtype=float)
    return Described(rows, sparse.csr_array(np.ones((len(rows), 1))))
