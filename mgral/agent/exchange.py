"""Greedy exchange of images: what refines a batch that a search found, and a control of the search itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mgral.data.dataset import ImageId

Batch = tuple[ImageId, ...]
Objective = Callable[[list[Batch]], np.ndarray]
"""Values a list of M batches, (M,); a query is one batch valued."""

ROUNDS = 4
"""Rounds that the queries of a swap search are shared among."""


class Budgeted:
    """Values at most `left` batches more, the first of those it is asked for, and keeps the best of all."""

    def __init__(self, objective: Objective, queries: int) -> None:
        self.objective, self.left = objective, queries
        self.best, self.value = (), -np.inf

    def __call__(self, batches: list[Batch]) -> np.ndarray:
        batches = batches[:self.left]
        self.left -= len(batches)
        if not batches:
            return np.zeros(0)
        values = np.asarray(self.objective(batches), dtype=float)
        row = int(values.argmax())
        if values[row] > self.value:
            self.best, self.value = batches[row], float(values[row])
        return values


def swap_search(objective: Objective, pool: Sequence[ImageId], start: Batch, queries: int,
                rng: np.random.Generator) -> tuple[Batch, float]:
    """Exchanges the least valuable images of a batch for the best candidates; gives the best batch and its value.

    Round by round: each member makes room for one and the same stand-in, and the one missed least is the least
    valuable; candidates take its place, and the one of the highest value is the best; then the k least valuable members
    make room for the k best candidates, k = 2, 3, …, for one by one few would be exchanged. Where a round cannot afford
    all members or candidates, it looks at random ones. The best batch seen begins the next round.

    Exactly `queries` batches are valued, the start among them; only the start if it is the whole pool.
    """
    search = Budgeted(objective, queries)
    search([tuple(sorted(start))])
    share = max(queries // ROUNDS, 4)
    while search.left and len(search.best) < len(pool):
        held = search.best
        members = _shuffled(held, rng)[:share // 4]
        outside = _shuffled(sorted(set(pool) - set(held)), rng)
        stand_in, candidates = outside[0], outside[:share - 2 * len(members)]
        missed = search([_exchanged(held, [one], [stand_in]) for one in members])
        members = _ranked(members, missed)
        gained = search([_exchanged(held, members[:1], [one]) for one in candidates])
        candidates = _ranked(candidates, gained)
        most = min(len(members), len(candidates))
        search([_exchanged(held, members[:k], candidates[:k]) for k in range(2, most + 1)])
    return search.best, search.value


def _ranked(images: list[ImageId], values: np.ndarray) -> list[ImageId]:
    """Those of the images that were valued, the highest first."""
    return [images[row] for row in np.argsort(-values, kind="stable")]


def _shuffled(images: Sequence[ImageId], rng: np.random.Generator) -> list[ImageId]:
    return [images[row] for row in rng.permutation(len(images))]


def _exchanged(batch: Batch, out: list[ImageId], into: list[ImageId]) -> Batch:
    return tuple(sorted({*batch}.difference(out).union(into)))
