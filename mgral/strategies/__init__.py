"""Query strategies that choose a batch at once: `select(view, budget, rng)` gives `budget` distinct ids of the pool.

The same view and the same state of `rng` give the same batch, whatever the order of the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from mgral.data.dataset import ImageId
from mgral.strategies import balanced_entropy, random, rare_first
from mgral.strategies.view import PoolView

__all__ = ["STRATEGIES", "PoolView", "choose"]

Strategy = Callable[[PoolView, int, np.random.Generator], tuple[ImageId, ...]]

STRATEGIES: Mapping[str, Strategy] = {
    "random": random.select, "balanced_entropy": balanced_entropy.select, "rare_first": rare_first.select}


def choose(name: str, view: PoolView, budget: int, rng: np.random.Generator) -> tuple[ImageId, ...]:
    """Lets the strategy of that name choose.

    Raises:
        ValueError: no such strategy, a budget below 1 or above the size of the pool, an id twice in the pool, or one
            that is labelled already.
    """
    if name not in STRATEGIES:
        raise ValueError(f"expected a strategy of {', '.join(STRATEGIES)}, got {name!r}")
    if not 1 <= budget <= len(view.pool):
        raise ValueError(f"expected a budget from 1 to the {len(view.pool)} images of the pool, got {budget}")
    if len(set(view.pool)) < len(view.pool) or set(view.pool) & set(view.labelled):
        raise ValueError("expected a pool of distinct images that are not labelled, got some twice or labelled")
    return STRATEGIES[name](view, budget, rng)
