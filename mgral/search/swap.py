"""Greedy swapping of images: an optimiser that begins at a batch and never ends below it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mgral.data.dataset import Batch, ImageId
from mgral.search.optimiser import Budgeted, Candidate, Objective, Optimiser

ROUNDS = 4
"""Rounds that the queries are shared among."""
STREAM = 0


class Swap(Optimiser):
    """Swaps the least valuable images of a batch for the best ones outside.

    Round by round: each member makes room for one and the same stand-in, and the one missed least is the least
    valuable; outsiders take its place, and the one of the highest value is the best; then the k least valuable members
    make room for the k best outsiders, k = 2, 3, …, for one by one few would be swapped. Where a round cannot afford
    all members or outsiders, it looks at random ones. The best batch seen begins the next round.

    Exactly as many batches are valued as there are queries, the start among them; only the start if it is the whole
    pool.
    """

    def __init__(self, start: Batch) -> None:
        self.start = tuple(sorted(start))

    def candidates(self, objective: Objective, pool: Sequence[ImageId], budget: int, queries: int,
                   seed: int) -> list[Candidate]:
        """As for every optimiser.

        Raises:
            ValueError: the start has not as many images as the budget.
        """
        if len(self.start) != budget:
            raise ValueError(f"expected a start of {budget} images, got {len(self.start)}")
        search, rng = Budgeted(objective, queries), np.random.default_rng([seed, STREAM])
        search([self.start])
        while search.left and len(search.best) < len(pool):
            _swap_once(search, pool, max(queries // ROUNDS, 4), rng)
        return [Candidate(search.best, search.value, "swap")]


def _swap_once(search: Budgeted, pool: Sequence[ImageId], share: int, rng: np.random.Generator) -> None:
    """One round of about `share` queries."""
    held = search.best
    members = _shuffled(held, rng)[:share // 4]
    outside = _shuffled(sorted(set(pool) - set(held)), rng)
    stand_in, outsiders = outside[0], outside[:share - 2 * len(members)]
    missed = search([_swapped(held, [member], [stand_in]) for member in members])
    members = _ranked(members, missed)
    gained = search([_swapped(held, members[:1], [outsider]) for outsider in outsiders])
    outsiders = _ranked(outsiders, gained)
    most = min(len(members), len(outsiders))
    search([_swapped(held, members[:k], outsiders[:k]) for k in range(2, most + 1)])


def _ranked(images: list[ImageId], values: np.ndarray) -> list[ImageId]:
    """Those of the images that were valued, the highest first."""
    return [images[row] for row in np.argsort(-values, kind="stable")]


def _shuffled(images: Sequence[ImageId], rng: np.random.Generator) -> list[ImageId]:
    return [images[row] for row in rng.permutation(len(images))]


def _swapped(batch: Batch, out: list[ImageId], into: list[ImageId]) -> Batch:
    return tuple(sorted({*batch}.difference(out).union(into)))
