"""An upper reference: `content` with the true boxes of the pool. It evens out the classes, rarest first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mgral.data.dataset import ImageId
from mgral.pool.content import growth, objects_in
from mgral.strategies.content import greedy
from mgral.strategies.strategy import Need, PoolView, Selection, Strategy


def score(view: PoolView) -> np.ndarray:
    """The gain (N,) of each image if it were the first to be chosen."""
    objects, known = _counts(view, list(view.pool))
    return growth(objects, known)


def select(view: PoolView, budget: int, rng: np.random.Generator) -> Selection:
    """Picks `budget` images; equals are settled by chance."""
    pool = sorted(view.pool)
    pool = [pool[row] for row in rng.permutation(len(pool))]
    objects, known = _counts(view, pool)
    rows, gains = greedy(objects, known, budget)
    return Selection(tuple(pool[row] for row in rows), gains,
                     tuple(f"{objects[row].sum():.0f} true objects" for row in rows))


def _counts(view: PoolView, pool: Sequence[ImageId]) -> tuple[np.ndarray, np.ndarray]:
    """Objects of each class in each pool image (N, C), and in all labelled ones together (C,)."""
    classes = 1 + max((int(boxes.labels.max()) for boxes in view.truth.values() if len(boxes)), default=0)
    labelled = [view.truth[image_id] for image_id in view.labelled if image_id in view.truth]
    return (objects_in([view.truth[image_id] for image_id in pool], classes),
            objects_in(labelled, classes).sum(axis=0))


STRATEGY = Strategy("rare_first", "knows the true boxes: rarest classes first (an upper reference)", select, "",
                    frozenset({Need.TRUTH}), score)
