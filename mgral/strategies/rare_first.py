"""An upper reference that knows the true boxes: it evens out the classes, rarest first, and avoids near-copies.

It maximises Σ_c log(1 + n_c) greedily, n_c being the objects of class c among labelled and chosen images: the first
object of a class is worth most, and each further one less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mgral.data.dataset import Boxes, ImageId
from mgral.inspection import Inspection
from mgral.strategies.view import PoolView

NEAR = 0.25
"""Images closer than this share of the root-mean-square distance between two images are taken for copies."""


def select(view: PoolView, budget: int, rng: np.random.Generator) -> tuple[ImageId, ...]:
    """Picks `budget` images; equals are settled by chance.

    Raises:
        ValueError: a view without the true boxes of the pool.
    """
    if view.truth is None or not all(image_id in view.truth for image_id in view.pool):
        raise ValueError("expected the true boxes of the whole pool, got a view without them")
    pool = sorted(view.pool)
    pool = [pool[row] for row in rng.permutation(len(pool))]
    classes = 1 + max((int(boxes.labels.max()) for boxes in view.truth.values() if len(boxes)), default=0)
    objects = _objects(view.truth, pool, classes)
    known = _objects(view.truth, [one for one in view.labelled if one in view.truth], classes).sum(axis=0)
    copies = _Copies(view.inspection, pool, view.labelled)
    chosen: list[int] = []
    for _ in range(budget):
        gain = np.log1p(objects / (1 + known)).sum(axis=1) - copies.penalty
        gain[chosen] = -np.inf
        chosen.append(int(gain.argmax()))
        known = known + objects[chosen[-1]]
        copies.take(chosen[-1])
    return tuple(pool[row] for row in chosen)


class _Copies:
    """Which images of the pool look like one that is labelled or chosen, as far as embeddings tell."""

    def __init__(self, inspection: Inspection | None, pool: Sequence[ImageId], labelled: Sequence[ImageId]) -> None:
        self.penalty = np.zeros(len(pool))
        self._embedding = np.zeros((len(pool), 0), dtype=np.float32)
        if inspection is not None:
            self._embedding = inspection.embedding[inspection.rows(pool)]
            # The mean squared distance of two points is twice that of one from the mean.
            self._near = NEAR**2 * 2 * self._embedding.var(axis=0).sum()
            seen = [image_id for image_id in labelled if image_id in inspection.row]
            for one in inspection.embedding[inspection.rows(seen)]:
                self._mark(one)

    def take(self, row: int) -> None:
        if self._embedding.shape[1]:
            self._mark(self._embedding[row])

    def _mark(self, embedding: np.ndarray) -> None:
        near = ((self._embedding - embedding) ** 2).sum(axis=1) < self._near
        # More than any gain, yet finite: copies are still taken when nothing else is left.
        self.penalty[near] = 1e6


def _objects(truth: Mapping[ImageId, Boxes], ids: Sequence[ImageId], classes: int) -> np.ndarray:
    """(N, C) objects of each class in each image."""
    counts = [np.bincount(truth[one].labels[~truth[one].ignore], minlength=classes) for one in ids]
    return np.stack(counts) if counts else np.zeros((0, classes), dtype=np.int64)
