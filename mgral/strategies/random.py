"""Uniform choice, the baseline of every comparison."""

from __future__ import annotations

import numpy as np

from mgral.data.dataset import ImageId
from mgral.strategies.strategy import PoolView, Strategy


def select(view: PoolView, budget: int, rng: np.random.Generator) -> tuple[ImageId, ...]:
    """Draws `budget` images without replacement."""
    # Sorted, so that the order in which the pool is held does not decide.
    pool = sorted(view.pool)
    return tuple(pool[row] for row in rng.choice(len(pool), budget, replace=False))


STRATEGY = Strategy("random", "drawn at random", select)
