"""What is expected to be in the images, classes balanced: a batch is worth the objects that it adds, rare classes most.

It maximises `growth` greedily, with the objects that `mgral.pool.content` expects of each image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mgral.pool.content import growth
from mgral.strategies.balanced_entropy import NAMED, SELDOM
from mgral.strategies.strategy import Need, PoolView, Selection, Strategy

WORTH_NAMING = 0.2
"""Objects expected of a class below which a reason leaves it out."""


def score(view: PoolView) -> np.ndarray:
    """The gain (N,) of each image if it were the first to be chosen."""
    return growth(view.content.of(view.pool), known(view))


def select(view: PoolView, budget: int, rng: np.random.Generator) -> Selection:
    """`budget` distinct pool images, each of the largest gain when it is chosen; equals are settled by chance."""
    pool = sorted(view.pool)
    pool = [pool[row] for row in rng.permutation(len(pool))]
    objects, there = view.content.of(pool), known(view)
    rows, gains = greedy(objects, there, budget)
    seldom = [name for name, count in zip(view.classes, there, strict=True) if count < SELDOM * there.mean()]
    return Selection(tuple(pool[row] for row in rows), gains,
                     tuple(_reason(objects[row], view.classes, seldom) for row in rows))


def known(view: PoolView) -> np.ndarray:
    """Objects of each class (C,) that are annotated in the labelled images."""
    inspected = set(view.content.ids)
    return view.content.of([image_id for image_id in view.labelled if image_id in inspected]).sum(axis=0)


def greedy(objects: np.ndarray, there: np.ndarray, budget: int) -> tuple[list[int], tuple[float, ...]]:
    """Rows of `budget` images with these objects (N, C), always the one of the largest growth, and that growth; `there`
    (C,) are objects that are annotated already. Time O(budget · N · C)."""
    rows, gains = [], []
    for _ in range(budget):
        gain = growth(objects, there)
        gain[rows] = -np.inf
        rows.append(int(gain.argmax()))
        gains.append(float(gain[rows[-1]]))
        there = there + objects[rows[-1]]
    return rows, tuple(gains)


def _reason(objects: np.ndarray, classes: Sequence[str], seldom: Sequence[str]) -> str:
    """What the image was chosen for, in words."""
    order = [label for label in np.argsort(-objects, kind="stable")[:NAMED] if objects[label] >= WORTH_NAMING]
    if not order:
        return "little is expected in it"
    counted = ", ".join(f"{objects[label]:.1f} {classes[label]}" for label in order)
    rare = [classes[label] for label in order if classes[label] in seldom]
    return f"expected: {counted}" + (f"; seldom labelled: {', '.join(rare)}" if rare else "")


STRATEGY = Strategy("content", "objects expected by embedding and predictions, rare classes first", select, "",
                    frozenset({Need.CONTENT}), score)
