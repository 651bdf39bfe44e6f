"""An upper reference that knows the true boxes: it evens out the classes, rarest first, and avoids near-copies.

It maximises Σ_c log(1 + n_c) greedily, n_c being the objects of class c among labelled and chosen images: the first
object of a class is worth most, and each further one less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mgral.data.dataset import Boxes, ImageId
from mgral.lookup.images import Copies
from mgral.strategies.view import PoolView


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
    copies = Copies(view.inspection, pool, view.labelled)
    chosen: list[int] = []
    for _ in range(budget):
        gain = np.log1p(objects / (1 + known)).sum(axis=1) - copies.penalty
        gain[chosen] = -np.inf
        chosen.append(int(gain.argmax()))
        known = known + objects[chosen[-1]]
        copies.take(chosen[-1])
    return tuple(pool[row] for row in chosen)


def _objects(truth: Mapping[ImageId, Boxes], ids: Sequence[ImageId], classes: int) -> np.ndarray:
    """(N, C) objects of each class in each image."""
    counts = [np.bincount(truth[one].labels[~truth[one].ignore], minlength=classes) for one in ids]
    return np.stack(counts) if counts else np.zeros((0, classes), dtype=np.int64)
