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

    def __getitem__(self, which) -> Described:
        kept = which if isinstance(which, slice) else np.atleast_1d(np.arange(len(self))[which])
        return Described(self.rows[kept], self.shares[kept])

    @classmethod
    def joined(cls, parts: Sequence[Described]) -> Described:
        """The batches of several, one after the other."""
        return cls(np.vstack([one.rows for one in parts]),
                   sparse.vstack([one.shares for one in parts], format="csr"))
