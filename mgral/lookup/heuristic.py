"""Class-balanced entropy without near-duplicates: the heuristic that a search has to beat, and its stand-in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mgral.data.dataset import ImageId
from mgral.inspection import Inspection
from mgral.lookup.images import Copies, class_mass, detection_entropy


def balanced_entropy(inspection: Inspection, pool: Sequence[ImageId], labelled: Sequence[ImageId], budget: int,
                     rng: np.random.Generator) -> tuple[ImageId, ...]:
    """`budget` distinct pool images, each of the largest gain when it is chosen; no true box is used.

    An image's gain is Σ_c h_c · (Σ_k m_k) / m_c, in nats: h_c is the binary entropy of the scores of its detections of
    class c, summed (`detection_entropy`); m_c is 1 + the expected objects of class c (`class_mass`) in the labelled
    images and those chosen so far. So a class counts in inverse proportion to its share of what is there, and ever less
    as it is chosen. Images that look like a labelled or chosen one (`Copies`) are passed over until nothing else is
    left. Equals, such as images in which nothing is found, are settled by chance.

    The inspection holds at least the pool; labelled images that it lacks do not count. The same inspection, sets and
    state of `rng` give the same images, in whatever order the ids come. Time O(budget · N), memory O(N).

    Source: entropy summed over detections of score 0.05 or more as in PPAL (Yang et al. 2024); balance and copies ours.
    """
    ids = sorted(pool)
    ids = [ids[row] for row in rng.permutation(len(ids))]
    seen, known = inspection.of(ids), inspection.of(sorted(one for one in labelled if one in inspection.row))
    entropy, mass = detection_entropy(seen), class_mass(seen)
    there = 1 + class_mass(known).sum(axis=0)
    copies = Copies(inspection, ids, labelled)
    chosen: list[int] = []
    for _ in range(budget):
        gain = entropy @ (there.sum() / there) - copies.penalty
        gain[chosen] = -np.inf
        chosen.append(int(gain.argmax()))
        there += mass[chosen[-1]]
        copies.take(chosen[-1])
    return tuple(ids[row] for row in chosen)
