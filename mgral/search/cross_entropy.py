"""The cross-entropy method over batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mgral.data.dataset import ImageId, batch_of
from mgral.search.optimiser import Budgeted, Candidate, Objective, Optimiser

GENERATIONS = 20
"""Generations that the queries are shared among."""
ELITE = 0.2
"""Share of a generation that the next one is drawn after."""
LEARNING = 0.7
"""How far the chances of images move to their shares in the elite."""
FLOOR = 0.02
"""Least chance of an image, relative to that in a random batch: none is ever ruled out."""
STREAM = 1


class CrossEntropy(Optimiser):
    """The cross-entropy method over batches of `budget` pool images.

    Each image has a logit, the log odds of its chance to be in; batches are the `budget` largest sums of logit and
    Gumbel noise (Plackett-Luce, as the agent draws). Generation by generation the chances move towards the images'
    shares in the elite. The likeliest batch is one of each generation. Every query is used.

    Source: Rubinstein and Kroese, The Cross-Entropy Method (2004), with the usual smoothing.
    """

    def candidates(self, objective: Objective, pool: Sequence[ImageId], budget: int, queries: int,
                   seed: int) -> list[Candidate]:
        ids, rng = sorted(pool), np.random.default_rng([seed, STREAM])
        least = FLOOR * min(budget / len(ids), 0.5)
        chances = np.full(len(ids), np.clip(budget / len(ids), least, 1 - least))
        search, size = Budgeted(objective, queries), -(-queries // GENERATIONS)
        while search.left:
            noise = rng.gumbel(size=(min(size, search.left), len(ids)))
            noise[0] *= 1e-9  # the likeliest batch; equals are still settled by chance
            rows = np.argsort(-(np.log(chances / (1 - chances)) + noise), axis=1)[:, :budget]
            values = search([batch_of(ids, members) for members in rows])
            elite = rows[np.argsort(-values, kind="stable")[:int(np.ceil(ELITE * len(rows)))]]
            shares = np.bincount(elite.ravel(), minlength=len(ids)) / len(elite)
            chances = np.clip(chances + LEARNING * (shares - chances), least, 1 - least)
        return [Candidate(search.best, search.value, "cross_entropy")]
