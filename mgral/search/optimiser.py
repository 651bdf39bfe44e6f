"""What every search for a batch is: an objective, a pool, a budget and so many queries in; candidates out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mgral.data.dataset import Batch, ImageId

Objective = Callable[[list[Batch]], np.ndarray]
"""Values a list of M batches, (M,); a query is one batch valued."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A batch, ids sorted, its value by the objective, and how it was found."""

    ids: Batch
    value: float
    origin: str


class Optimiser(ABC):
    """Looks for the batch of highest value."""

    @abstractmethod
    def candidates(self, objective: Objective, pool: Sequence[ImageId], budget: int, queries: int,
                   seed: int) -> list[Candidate]:
        """At least one batch of `budget` distinct images of the pool, the best first, after at most `queries` queries.

        The same arguments give the same candidates. Each optimiser draws from a stream of its own: two of them may be
        given the same seed.
        """


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
