"""Class-balanced entropy: the best of the strategies that look at predictions alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mgral.pool.statistics import class_mass, detection_entropy, uncertain_objects
from mgral.strategies.strategy import Need, PoolView, Selection, Strategy

NAMED = 3
"""Classes that a reason names at most."""
SELDOM = 0.5
"""A class with less than this share of the mean number of objects a class is seldom labelled."""


def score(view: PoolView) -> np.ndarray:
    """The gain (N,) of each image if it were the first to be chosen."""
    entropy, there = detection_entropy(view.inspection.of(view.pool)), _objects_labelled(view)
    return entropy @ (there.sum() / there)


def select(view: PoolView, budget: int, rng: np.random.Generator) -> Selection:
    """`budget` distinct pool images, each of the largest gain when it is chosen; no true box is used.

    An image's gain is Σ_c h_c · (Σ_k m_k) / m_c, in nats: h_c is the binary entropy of the scores of its detections of
    class c, summed (`detection_entropy`); m_c is 1 + the expected objects of class c (`class_mass`) in the labelled
    images and those chosen so far, or their true objects in labelled images whose boxes are given (`view.annotated`).
    So a class counts in inverse proportion to its share of what is there, and ever less as it is chosen. Equals, such
    as images in which nothing is found, are settled by chance.

    The inspection holds at least the pool; labelled images that it lacks do not count. Time O(budget · N), memory O(N).

    Source: entropy summed over detections of score 0.05 or more as in PPAL (Yang et al. 2024); the rest is ours.
    """
    inspection, ids = view.inspection, sorted(view.pool)
    ids = [ids[row] for row in rng.permutation(len(ids))]
    pool = inspection.of(ids)
    entropy, mass, unsure = detection_entropy(pool), class_mass(pool), uncertain_objects(pool)
    there = _objects_labelled(view)
    rows, scores, reasons = [], [], []
    for _ in range(budget):
        by_class = entropy * (there.sum() / there)
        gain = by_class.sum(axis=1)
        gain[rows] = -np.inf
        row = int(gain.argmax())
        reasons.append(_reason(by_class[row], unsure[row], there, view.classes))
        rows.append(row)
        scores.append(float(by_class[row].sum()))
        there += mass[row]
    return Selection(tuple(ids[row] for row in rows), tuple(scores), tuple(reasons))


def _objects_labelled(view: PoolView) -> np.ndarray:
    """1 + the objects of each class (C,) in the labelled images: true ones where boxes are given, else expected."""
    inspection = view.inspection
    known = inspection.of(sorted(image_id for image_id in view.labelled if image_id in inspection.row
                                 and image_id not in view.annotated))
    there = 1 + class_mass(known).sum(axis=0)
    for boxes in (view.annotated[image_id] for image_id in view.labelled if image_id in view.annotated):
        there += np.bincount(boxes.labels[~boxes.ignore], minlength=len(there))
    return there


def _reason(gain: np.ndarray, unsure: np.ndarray, there: np.ndarray, classes: Sequence[str]) -> str:
    """What the image was chosen for, in words: how many uncertain objects of which classes, and which are rare."""
    if not gain.any():
        return "nothing is found in it"
    names = classes or [f"class {label}" for label in range(len(gain))]
    order = [label for label in np.argsort(-gain, kind="stable")[:NAMED] if gain[label]]
    counted = ", ".join(f"{unsure[label]:.0f} {names[label]}" for label in order if unsure[label])
    parts = [f"uncertain: {counted}" if counted else f"a little uncertain: {names[order[0]]}"]
    seldom = [names[label] for label in order if there[label] < SELDOM * there.mean()]
    parts += [f"seldom labelled: {', '.join(seldom)}"] if seldom else []
    return "; ".join(parts)


STRATEGY = Strategy("balanced_entropy", "uncertain predictions, classes balanced", select,
                    "entropy as in PPAL (Yang et al. 2024)", frozenset({Need.PREDICTIONS}), score)
