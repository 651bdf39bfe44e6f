"""Which images of a large pool are looked at more closely: from millions to thousands, in one pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from mgral.arrays import copied, forget
from mgral.pool.near_duplicates import near_distance
from mgral.pool.neighbours import Neighbours, means

CELLS = 256
"""Clusters of the pool."""
SAMPLE = 64
"""Images a cluster that the clusters are found from; assigning the others is one product with the means."""
RANDOM = 0.2
"""Share of the shortlist that is drawn at random from what is left, so that no image is ruled out."""
CANDIDATES = 4
"""Images of a cluster looked at for each of its places; if too many are near-duplicates, chance fills the places."""
BLOCK = 16_384
"""Images whose embeddings are in memory at a time."""


def shortlist(embedding: np.ndarray, labelled: Sequence[int] | np.ndarray, size: int, seed: int,
              signal: np.ndarray | None = None, pool: np.ndarray | None = None) -> np.ndarray:
    """Rows (size,), ascending, of the images worth a closer look among N, given by embeddings (N, d).

    The unlabelled images are put into k clusters by k-means on a sample. Four fifths of the places are shared among the
    clusters in proportion to √(images) × mean novelty, novelty being the distance to the nearest labelled image. In
    proportion to the images alone, what a camera sees all day would take the places; with the same share for all,
    oddities would; the root lies between, and novelty takes places from what is labelled already. Within a cluster the
    images rank by novelty and, if given, `signal` (N,), say how unsure the detector is: their ranks are added, since
    their units do not compare. From the top down, an image is passed over if it is a near-duplicate: closer than `NEAR`
    × the root-mean-square distance between two images to a labelled image or to one taken from its cluster. What is
    then left of the places is drawn at random.

    `labelled` are rows of `embedding`; without any all images are as novel. `pool` are the rows that may be taken; when
    absent all that are not labelled. The embedding may be a memory map: it is
    read once, block by block, and some of its rows before and after. Time O(N (k + labelled) d), memory O(N) numbers,
    one block and the sample. The same seed gives the same rows, whatever the blocks; on a GPU too, but for ties.

    Raises:
        ValueError: a size that is not in 1..images that may be taken, or a signal that does not match.
    """
    known = np.unique(np.asarray(labelled, dtype=np.int64))
    free = np.setdiff1d(np.arange(len(embedding)) if pool is None else pool, known)
    if not 1 <= size <= len(free):
        raise ValueError(f"expected a shortlist of 1 to {len(free)} images, got {size}")
    if signal is not None and signal.shape != (len(embedding),):
        raise ValueError(f"expected a signal of shape ({len(embedding)},), got {signal.shape}")
    rng = np.random.default_rng(seed)
    sample = copied(embedding, np.sort(rng.choice(free, min(SAMPLE * CELLS, len(free)), replace=False)))
    # Fewer clusters where there are few images: at least one place each, and images to choose from.
    centres = means(sample, max(1, min(CELLS, size // 4, len(sample) // 16)), seed)
    near = near_distance(sample)
    cell, novelty = _placed(embedding, free, centres, known, near)
    taken = _by_cluster(embedding, free, cell, novelty, None if signal is None else signal[free],
                        size - round(RANDOM * size), near)
    left = np.setdiff1d(np.arange(len(free)), taken, assume_unique=True)
    return free[np.sort(np.append(taken, rng.choice(left, size - len(taken), replace=False)))]


def apportioned(weights: np.ndarray, limits: np.ndarray, total: int) -> np.ndarray:
    """`total` places in proportion to weights (k,), none above its limit (k,): whole numbers that sum to the total,
    which the limits must allow.

    What a limit cuts off goes to the others in proportion; fractions go to the largest remainders.
    """
    weights = np.maximum(weights, 1e-9 * weights.max()) if weights.max() > 0 else np.ones(len(weights))
    shares, full = np.zeros(len(weights)), np.zeros(len(weights), dtype=bool)
    while not full.all():
        shares = np.where(full, limits, weights * ((total - limits[full].sum()) / weights[~full].sum()))
        over = ~full & (shares > limits)
        if not over.any():
            break
        full |= over
    places = np.minimum(np.floor(shares + 1e-9), limits).astype(np.int64)
    remainders = np.where(places < limits, shares - places, -1.0)
    places[np.argsort(-remainders, kind="stable")[:total - places.sum()]] += 1
    return places


def _placed(embedding: np.ndarray, free: np.ndarray, centres: np.ndarray, known: np.ndarray,
            near: float) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of each free image, and its distance to the nearest labelled one; `near` where there is none."""
    cell, novelty = np.empty(len(free), dtype=np.int32), np.full(len(free), near)
    nearest_centre = Neighbours(centres, len(free))
    nearest_known = Neighbours(copied(embedding, known), len(free)) if len(known) else None
    for start in range(0, len(free), BLOCK):
        part = slice(start, start + BLOCK)
        points = embedding[free[part]]
        cell[part] = nearest_centre(points)[1]
        if nearest_known is not None:
            novelty[part] = nearest_known(points)[0]
        forget(embedding)
    return cell, novelty


def _by_cluster(embedding: np.ndarray, free: np.ndarray, cell: np.ndarray, novelty: np.ndarray,
                signal: np.ndarray | None, total: int, near: float) -> np.ndarray:
    """Positions among the free images of at most `total` that the clusters send, near-duplicates passed over."""
    members = np.split(np.argsort(cell, kind="stable"), np.cumsum(np.bincount(cell))[:-1])
    sizes = np.array([len(cluster) for cluster in members])
    weights = np.array([len(cluster) ** 0.5 * novelty[cluster].mean(dtype=float) if len(cluster) else 0.0
                        for cluster in members])
    taken = [_best(embedding, free, cluster, novelty, signal, places, near)
             for cluster, places in zip(members, apportioned(weights, sizes, total), strict=True) if places]
    return np.concatenate([np.zeros(0, dtype=np.int64), *taken])


def _best(embedding: np.ndarray, free: np.ndarray, members: np.ndarray, novelty: np.ndarray,
          signal: np.ndarray | None, places: int, near: float) -> np.ndarray:
    """At most `places` of a cluster's members, best first, none a near-duplicate of a labelled or a taken image."""
    rank = rankdata(novelty[members]) + (0 if signal is None else rankdata(signal[members]))
    order = members[np.argsort(-rank, kind="stable")[:CANDIDATES * places]]
    points, barred, taken = copied(embedding, free[order]), novelty[order] < near, []
    for row in range(len(order)):
        if not barred[row]:
            taken.append(row)
            if len(taken) == places:
                break
            difference = points[row + 1:] - points[row]
            barred[row + 1:] |= np.einsum("nd,nd->n", difference, difference) < near**2
    return order[taken]
