"""Clusters and neighbours among embeddings; the only module that imports faiss."""

from __future__ import annotations

import faiss
import numpy as np


def clusters(points: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The k-means cluster (N,) of each point (N, d); `count` clusters, or N if that is less."""
    points = np.ascontiguousarray(points, dtype=np.float32)
    count = min(count, len(points))
    means = faiss.Kmeans(points.shape[1], count, niter=20, seed=seed % 2**31, min_points_per_centroid=1,
                         max_points_per_centroid=max(256, len(points) // count))
    means.train(points)
    return nearest(points, means.centroids)[1]


def nearest(points: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each point (N, d) the Euclidean distance (N,) to the nearest of others (n, d), and its row (N,)."""
    squared, rows = faiss.knn(np.ascontiguousarray(points, dtype=np.float32),
                              np.ascontiguousarray(others, dtype=np.float32), 1)
    return np.sqrt(np.maximum(squared[:, 0], 0.0)), rows[:, 0]
