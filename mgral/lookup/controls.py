"""What simpler ways of choosing a batch reach on the estimator that the agent searched: controls at equal cost.

An objective values a list of M batches, (M,); a query is one batch valued. All follow their generator alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mgral.agent.exchange import Batch, Budgeted, Objective, swap_search
from mgral.data.dataset import ImageId

RANDOM = 64
"""Random batches whose mean stands for choosing at random."""
GENERATIONS = 20
"""Generations that the queries of the cross-entropy method are shared among."""
ELITE = 0.2
"""Share of a generation that the next one is drawn after."""
LEARNING = 0.7
"""How far the chances of images move to their shares in the elite."""
FLOOR = 0.02
"""Least chance of an image, relative to that in a random batch: none is ever ruled out."""


@dataclass(frozen=True, slots=True)
class Control:
    """The batch that a control chose, ids sorted, and what the objective thinks it is worth."""

    ids: Batch
    value: float


def compare(objective: Objective, pool: Sequence[ImageId], heuristic: Batch, records: Sequence[Batch], queries: int,
            seed: int) -> dict[str, Control]:
    """What each control chooses, and its value by the objective; batches are as large as the heuristic's.

    - `swap`: of `swap_search` with that many queries, from the better of the next two;
    - `cross_entropy`: of `cross_entropy` with that many queries;
    - `balanced_entropy`: of the heuristic's batch;
    - `best_record`: the largest of the table's own batches, if there are any of this pool;
    - `random`: a random batch; its value is the mean of many, what one may expect of one.

    Raises:
        ValueError: no query.
    """
    if queries < 1:
        raise ValueError(f"expected queries, got {queries}")
    swapping, sampling, chance = (np.random.default_rng([seed, one]) for one in range(3))
    budget, ids = len(heuristic), sorted(pool)
    known = [heuristic, *records]
    values = objective(known)
    drawn = [_batch(ids, chance.choice(len(ids), budget, replace=False)) for _ in range(RANDOM)]
    found = {"swap": Control(*swap_search(objective, ids, known[int(values.argmax())], queries, swapping)),
             "cross_entropy": Control(*cross_entropy(objective, ids, budget, queries, sampling)),
             "balanced_entropy": Control(heuristic, float(values[0])),
             "random": Control(drawn[0], float(objective(drawn).mean()))}
    if records:
        best = int(values[1:].argmax())
        found["best_record"] = Control(records[best], float(values[1 + best]))
    return found


def cross_entropy(objective: Objective, pool: Sequence[ImageId], budget: int, queries: int,
                  rng: np.random.Generator) -> tuple[Batch, float]:
    """The cross-entropy method over batches of `budget` pool images; gives the best batch and its value.

    Each image has a logit, the log odds of its chance to be in; batches are the `budget` largest sums of logit and
    Gumbel noise (Plackett-Luce, as the agent draws). Generation by generation the chances move towards the images'
    shares in the elite. The likeliest batch is one of each generation. Exactly `queries` batches are valued.

    Source: Rubinstein and Kroese, The Cross-Entropy Method (2004), with the usual smoothing.
    """
    ids = sorted(pool)
    least = FLOOR * min(budget / len(ids), 0.5)
    chances = np.full(len(ids), np.clip(budget / len(ids), least, 1 - least))
    search, size = Budgeted(objective, queries), -(-queries // GENERATIONS)
    while search.left:
        noise = rng.gumbel(size=(min(size, search.left), len(ids)))
        noise[0] *= 1e-9  # the likeliest batch; equals are still settled by chance
        rows = np.argsort(-(np.log(chances / (1 - chances)) + noise), axis=1)[:, :budget]
        values = search([_batch(ids, one) for one in rows])
        elite = rows[np.argsort(-values, kind="stable")[:int(np.ceil(ELITE * len(rows)))]]
        shares = np.bincount(elite.ravel(), minlength=len(ids)) / len(elite)
        chances = np.clip(chances + LEARNING * (shares - chances), least, 1 - least)
    return search.best, search.value


def _batch(ids: Sequence[ImageId], rows: np.ndarray) -> Batch:
    return tuple(ids[row] for row in np.sort(rows))
