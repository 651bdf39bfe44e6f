"""Where to measure next: batches of which the estimator is least sure, and batches that it hopes most of."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np

from mgral.data.dataset import ImageId
from mgral.lookup.estimator import Estimator

Batch = tuple[ImageId, ...]

ROUND = 4
"""Batches chosen before the estimator learns what they are worth."""
CANDIDATES = 256
"""Batches that a round chooses from."""
HOPE = 2.0
"""Standard deviations added to an estimate to say what may be hoped of it."""


def next_batches(represent: Callable, estimator: Estimator, candidates: Sequence[Batch], count: int) -> list[Batch]:
    """`count` distinct candidates: by turns that of largest deviation and that of largest estimate + 2 deviations.

    After each choice the estimator is made to believe its own estimate of it (Ginsbourger et al. 2010, "kriging
    believer"), so that a round does not choose the same place again and again. The estimator given stays as it is.

    Raises:
        ValueError: fewer candidates than are to be chosen.
    """
    if len(candidates) < count:
        raise ValueError(f"expected at least {count} candidates, got {len(candidates)}")
    if not count:
        return []
    believer, described = copy.deepcopy(estimator), represent(candidates)
    chosen: list[int] = []
    for turn in range(count):
        estimate = believer.predict(described)
        worth = estimate.deviation if turn % 2 == 0 else estimate.value + HOPE * estimate.deviation
        worth = np.where(np.isin(np.arange(len(candidates)), chosen), -np.inf, worth)
        row = int(worth.argmax())
        chosen.append(row)
        believer.add(described[[row]], estimate.value[[row]])
    return [candidates[row] for row in chosen]
