"""What simpler ways of choosing a batch reach on the estimator that the agent searched: controls at equal cost.

An objective values a list of M batches, (M,); a query is one batch valued. All follow their generator alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mgral.data.dataset import ImageId

Batch = tuple[ImageId, ...]
Objective = Callable[[list[Batch]], np.ndarray]

RANDOM = 64
"""Random batches whose mean stands for choosing at random."""
ROUNDS = 4
"""Rounds that the queries of a swap search are shared among."""
GENERATIONS = 20
"""Generations that the queries of the cross-entropy method are shared among."""
ELITE = 0.2
"""Share of a generation that the next one is drawn after."""
LEARNING = 0.7
"""How far the chances of images move to their shares in the elite."""
FLOOR = 0.02
"""Least chance of an image, relative to that in a random batch: none is ever ruled out."""


def compare(objective: Objective, pool: Sequence[ImageId], heuristic: Batch, records: Sequence[Batch], queries: int,
            seed: int) -> dict[str, float]:
    """The value by the objective of what each control chooses; batches are as large as the heuristic's.

    - `swap`: of `swap_search` with that many queries, from the better of the next two;
    - `cross_entropy`: of `cross_entropy` with that many queries;
    - `balanced_entropy`: of the heuristic's batch;
    - `best_record`: the largest of the table's own batches;
    - `random`: the mean of random batches, what one may expect of one.

    Raises:
        ValueError: no record, or no query.
    """
    if not records or queries < 1:
        raise ValueError(f"expected records and queries, got {len(records)} and {queries}")
    swapping, sampling, chance = (np.random.default_rng([seed, one]) for one in range(3))
    budget, ids = len(heuristic), sorted(pool)
    known = [heuristic, *records]
    values = objective(known)
    drawn = [_batch(ids, chance.choice(len(ids), budget, replace=False)) for _ in range(RANDOM)]
    return {"swap": swap_search(objective, ids, known[int(values.argmax())], queries, swapping)[1],
            "cross_entropy": cross_entropy(objective, ids, budget, queries, sampling)[1],
            "balanced_entropy": float(values[0]), "best_record": float(values[1:].max()),
            "random": float(objective(drawn).mean())}


def swap_search(objective: Objective, pool: Sequence[ImageId], start: Batch, queries: int,
                rng: np.random.Generator) -> tuple[Batch, float]:
    """Exchanges the least valuable images of a batch for the best candidates; gives the best batch and its value.

    Round by round: each member makes room for one and the same stand-in, and the one missed least is the least
    valuable; candidates take its place, and the one of the highest value is the best; then the k least valuable members
    make room for the k best candidates, k = 2, 3, …, for one by one few would be exchanged. Where a round cannot afford
    all members or candidates, it looks at random ones. The best batch seen begins the next round.

    Exactly `queries` batches are valued, the start among them; only the start if it is the whole pool.
    """
    search = _Budgeted(objective, queries)
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
    search, size = _Budgeted(objective, queries), -(-queries // GENERATIONS)
    while search.left:
        noise = rng.gumbel(size=(min(size, search.left), len(ids)))
        noise[0] *= 1e-9  # the likeliest batch; equals are still settled by chance
        rows = np.argsort(-(np.log(chances / (1 - chances)) + noise), axis=1)[:, :budget]
        values = search([_batch(ids, one) for one in rows])
        elite = rows[np.argsort(-values, kind="stable")[:int(np.ceil(ELITE * len(rows)))]]
        shares = np.bincount(elite.ravel(), minlength=len(ids)) / len(elite)
        chances = np.clip(chances + LEARNING * (shares - chances), least, 1 - least)
    return search.best, search.value


class _Budgeted:
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


def _ranked(images: list[ImageId], values: np.ndarray) -> list[ImageId]:
    """Those of the images that were valued, the highest first."""
    return [images[row] for row in np.argsort(-values, kind="stable")]


def _shuffled(images: Sequence[ImageId], rng: np.random.Generator) -> list[ImageId]:
    return [images[row] for row in rng.permutation(len(images))]


def _exchanged(batch: Batch, out: list[ImageId], into: list[ImageId]) -> Batch:
    return tuple(sorted({*batch}.difference(out).union(into)))


def _batch(ids: Sequence[ImageId], rows: np.ndarray) -> Batch:
    return tuple(ids[row] for row in np.sort(rows))
