"""What simpler ways of choosing a batch reach on the objective that the agent searched: controls at equal cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mgral.data.dataset import Batch, ImageId, batch_of
from mgral.search.cross_entropy import CrossEntropy
from mgral.search.optimiser import Candidate, Objective
from mgral.search.swap import Swap

RANDOM = 64
"""Random batches whose mean stands for choosing at random."""
STREAM = 2


def compare(objective: Objective, pool: Sequence[ImageId], heuristic: Candidate, records: Sequence[Batch],
            queries: int, seed: int) -> dict[str, Candidate]:
    """What each control chooses, and its value by the objective; batches are as large as the heuristic's.

    - `swap`: of `Swap` with that many queries, from the better of the next two;
    - `cross_entropy`: of `CrossEntropy` with that many queries;
    - the heuristic's batch, under the name of its origin;
    - `best_record`: the largest of the table's own batches, if there are any of this pool;
    - `random`: a random batch; its value is the mean of many, what one may expect of one.

    Raises:
        ValueError: no query.
    """
    if queries < 1:
        raise ValueError(f"expected queries, got {queries}")
    budget, known = len(heuristic.ids), [heuristic.ids, *records]
    values = objective(known)
    candidates = [optimiser.candidates(objective, pool, budget, queries, seed)[0]
                  for optimiser in (Swap(known[int(values.argmax())]), CrossEntropy())]
    candidates += [replace(heuristic, value=float(values[0])),
                   _random(objective, sorted(pool), budget, seed)]
    if records:
        row = int(values[1:].argmax())
        candidates.append(Candidate(records[row], float(values[1 + row]), "best_record"))
    return {candidate.origin: candidate for candidate in candidates}


def _random(objective: Objective, ids: Sequence[ImageId], budget: int, seed: int) -> Candidate:
    rng = np.random.default_rng([seed, STREAM])
    drawn = [batch_of(ids, rng.choice(len(ids), budget, replace=False)) for _ in range(RANDOM)]
    return Candidate(drawn[0], float(objective(drawn).mean()), "random")
