"""Batches as the lookup table sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """M batches: `rows` (M, d) float64, what is said of each; `shares` (M, N), csr, the shares of N images.

    Indexing by a row number, a slice, row numbers or a mask gives some of the batches.
    """

    rows: np.ndarray
    shares: sparse.csr_array

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index) -> Described:
        rows = index if isinstance(index, slice) else np.atleast_1d(np.arange(len(self))[index])
        return Described(self.rows[rows], self.shares[rows])

    @classmethod
    def joined(cls, parts: Sequence[Described]) -> Described:
        """The batches of several, one after the other."""
        return cls(np.vstack([part.rows for part in parts]),
                   sparse.vstack([part.shares for part in parts], format="csr"))
