"""Class-balanced entropy without near-duplicates: what a search has to beat, and what stands in for it."""

from __future__ import annotations

import numpy as np

from mgral.data.dataset import ImageId
from mgral.lookup.heuristic import balanced_entropy
from mgral.strategies import random
from mgral.strategies.view import PoolView


def select(view: PoolView, budget: int, rng: np.random.Generator) -> tuple[ImageId, ...]:
    """Picks `budget` images by `mgral.lookup.heuristic`; without an inspection there is nothing to tell them by."""
    if view.inspection is None:
        return random.select(view, budget, rng)
    return balanced_entropy(view.inspection, view.pool, view.labelled, budget, rng)
