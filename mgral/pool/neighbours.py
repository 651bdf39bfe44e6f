"""Clusters and neighbours among embeddings; the only module that imports faiss."""

from __future__ import annotations

import faiss
import numpy as np

PRODUCTS = 2**23
"""Products of points and others that are in memory at a time."""
WORTH_A_GPU = 10**10
"""Size of a search (points × others × dimensions) below which a CPU is done before a GPU has its memory."""


def clusters(points: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The k-means cluster (N,) of each point (N, d); `count` clusters, or N if that is less."""
    return nearest(points, means(points, count, seed))[1]


def means(points: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The means (count, d) of k-means clusters of points (N, d), or N of them if that is less.

    Always found on the CPU, so that the same seed gives the same clusters on every machine.
    """
    points = np.ascontiguousarray(points, dtype=np.float32)
    count = min(count, len(points))
    kmeans = faiss.Kmeans(points.shape[1], count, niter=20, seed=seed % 2**31, min_points_per_centroid=1,
                          max_points_per_centroid=max(256, len(points) // count))
    kmeans.train(points)
    return kmeans.centroids


def nearest(points: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each point (N, d) the Euclidean distance (N,) to the nearest of others (n, d), and its row (N,)."""
    return Neighbours(others, len(points))(points)


class Neighbours:
    """The nearest of others (n, d), for points that come block by block, about `queries` in all; exact.

    On a CPU by one matrix product a block, four times as fast as faiss's own search there (256 dimensions, 5,000
    others, one core); on all GPUs where faiss was built for them, some are there and the work is worth it. Both find
    the same rows up to ties.
    """

    def __init__(self, others: np.ndarray, queries: int) -> None:
        self.others = np.ascontiguousarray(others, dtype=np.float32)
        self._centre = self.others.mean(axis=0)  # around it, products lose the fewest digits
        self._centred = self.others - self._centre
        self._halves = (self._centred**2).sum(axis=1) / 2
        self._index = _on_gpus(self._centred) if queries * others.size >= WORTH_A_GPU else None

    def __call__(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each point (m, d) the Euclidean distance (m,) to its nearest, and that one's row (m,) int64."""
        points = np.ascontiguousarray(points, dtype=np.float32)
        rows = self._rows(points - self._centre)
        # By differences: products lose the digits by which near-duplicates are told.
        difference = points - self.others[rows]
        return np.sqrt(np.einsum("nd,nd->n", difference, difference)), rows

    def _rows(self, points: np.ndarray) -> np.ndarray:
        if self._index is not None:
            return self._index.search(points, 1)[1][:, 0]
        step = max(1, PRODUCTS // len(self.others))
        # |x - y|² = |x|² - 2 (x·y - |y|²/2)
        return np.concatenate([(points[start:start + step] @ self._centred.T - self._halves).argmax(axis=1)
                               for start in range(0, max(1, len(points)), step)])


def _on_gpus(points: np.ndarray) -> faiss.Index | None:
    """An exact index of points (n, d) on all GPUs, or None where faiss knows of none."""
    if not faiss.get_num_gpus():
        return None
    index = faiss.IndexFlatL2(points.shape[1])
    index.add(points)
    return faiss.index_cpu_to_all_gpus(index)
