"""Class-balanced entropy without near-duplicates: what a search has to beat, and what stands in for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mgral.data.dataset import ImageId
from mgral.pool.inspection import Inspection
from mgral.pool.near_duplicates import NearDuplicates
from mgral.pool.statistics import class_mass, detection_entropy
from mgral.strategies.strategy import INSPECTION, PoolView, Selection, Strategy


def score(view: PoolView) -> np.ndarray:
    """The gain (N,) of each image if it were the first to be chosen."""
    entropy, there = detection_entropy(view.inspection.of(view.pool)), _objects_labelled(view.inspection, view.labelled)
    return entropy @ (there.sum() / there)


def select(view: PoolView, budget: int, rng: np.random.Generator) -> Selection:
    """`budget` distinct pool images, each of the largest gain when it is chosen; no true box is used.

    An image's gain is Σ_c h_c · (Σ_k m_k) / m_c, in nats: h_c is the binary entropy of the scores of its detections of
    class c, summed (`detection_entropy`); m_c is 1 + the expected objects of class c (`class_mass`) in the labelled
    images and those chosen so far. So a class counts in inverse proportion to its share of what is there, and ever less
    as it is chosen. Images that look like a labelled or chosen one (`NearDuplicates`) are passed over until nothing
    else is left. Equals, such as images in which nothing is found, are settled by chance.

    The inspection holds at least the pool; labelled images that it lacks do not count. Time O(budget · N), memory O(N).

    Source: entropy summed over detections of score 0.05 or more as in PPAL (Yang et al. 2024); the rest is ours.
    """
    inspection, ids = view.inspection, sorted(view.pool)
    ids = [ids[row] for row in rng.permutation(len(ids))]
    pool = inspection.of(ids)
    entropy, mass = detection_entropy(pool), class_mass(pool)
    there = _objects_labelled(inspection, view.labelled)
    duplicates = NearDuplicates(inspection, ids, view.labelled)
    rows, scores, reasons = [], [], []
    for _ in range(budget):
        by_class = entropy * (there.sum() / there)
        gain = entropy @ (there.sum() / there) - duplicates.penalty
        gain[rows] = -np.inf
        row = int(gain.argmax())
        reasons.append(_reason(by_class[row], mass[row], duplicates.penalty[row], view.classes))
        rows.append(row)
        scores.append(float(by_class[row].sum()))
        there += mass[row]
        duplicates.take(row)
    return Selection(tuple(ids[row] for row in rows), tuple(scores), tuple(reasons))


def _objects_labelled(inspection: Inspection, labelled: Sequence[ImageId]) -> np.ndarray:
    """1 + the expected objects of each class (C,) in the labelled images."""
    known = inspection.of(sorted(image_id for image_id in labelled if image_id in inspection.row))
    return 1 + class_mass(known).sum(axis=0)


def _reason(gain: np.ndarray, mass: np.ndarray, penalty: float, classes: Sequence[str]) -> str:
    """Which class the image was chosen for."""
    if not gain.any():
        return "nothing is found in it"
    label = int(gain.argmax())
    name = classes[label] if classes else f"class {label}"
    return f"{mass[label]:.1f} {name} expected, unsure" + (", a near-duplicate of another" if penalty else "")


STRATEGY = Strategy("balanced_entropy", "uncertain predictions, classes balanced, near-duplicates passed over", select,
                    "entropy as in PPAL (Yang et al. 2024)", INSPECTION, score)
