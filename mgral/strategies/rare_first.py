"""An upper reference that knows the true boxes: it evens out the classes, rarest first, and avoids near-duplicates.

It maximises Σ_c log(1 + n_c) greedily, n_c being the objects of class c among labelled and chosen images: the first
object of a class is worth most, and each further one less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mgral.data.dataset import Boxes, ImageId
from mgral.pool.near_duplicates import NearDuplicates
from mgral.strategies.strategy import Need, PoolView, Selection, Strategy


def score(view: PoolView) -> np.ndarray:
    """The gain (N,) of each image if it were the first to be chosen."""
    objects, known = _counts(view, list(view.pool))
    return np.log1p(objects / (1 + known)).sum(axis=1)


def select(view: PoolView, budget: int, rng: np.random.Generator) -> Selection:
    """Picks `budget` images; equals are settled by chance."""
    pool = sorted(view.pool)
    pool = [pool[row] for row in rng.permutation(len(pool))]
    objects, known = _counts(view, pool)
    duplicates = NearDuplicates(view.inspection, pool, view.labelled)
    rows, scores = [], []
    for _ in range(budget):
        gain = np.log1p(objects / (1 + known)).sum(axis=1) - duplicates.penalty
        gain[rows] = -np.inf
        rows.append(int(gain.argmax()))
        scores.append(float(gain[rows[-1]] + duplicates.penalty[rows[-1]]))
        known = known + objects[rows[-1]]
        duplicates.take(rows[-1])
    return Selection(tuple(pool[row] for row in rows), tuple(scores),
                     tuple(f"{objects[row].sum()} true objects" for row in rows))


def _counts(view: PoolView, pool: Sequence[ImageId]) -> tuple[np.ndarray, np.ndarray]:
    """Objects of each class in each pool image (N, C), and in all labelled ones together (C,)."""
    classes = 1 + max((int(boxes.labels.max()) for boxes in view.truth.values() if len(boxes)), default=0)
    labelled = [image_id for image_id in view.labelled if image_id in view.truth]
    return _objects(view.truth, pool, classes), _objects(view.truth, labelled, classes).sum(axis=0)


def _objects(truth: Mapping[ImageId, Boxes], ids: Sequence[ImageId], classes: int) -> np.ndarray:
    """(N, C) objects of each class in each image."""
    counts = [np.bincount(truth[image_id].labels[~truth[image_id].ignore], minlength=classes) for image_id in ids]
    return np.stack(counts) if counts else np.zeros((0, classes), dtype=np.int64)


STRATEGY = Strategy("rare_first", "knows the true boxes: rarest classes first (an upper reference)", select, "",
                    frozenset({Need.TRUTH}), score)
