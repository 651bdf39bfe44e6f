"""What a table of experiments is worth, in figures and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mgral.experiments.record import Record
from mgral.lookup.aggregation import AggregatedRewards, Noise, noise_of
from mgral.lookup.described import Described
from mgral.lookup.estimator import Estimator
from mgral.lookup.quality import Quality, leave_one_out


@dataclass(frozen=True, slots=True, eq=False)
class TableSummary:
    """A table that is ready for a search. `measured`, `estimated` and `deviation`, (n,) each, are of its records, each
    estimated from the others; `noise` what the reward varies by, where batches were repeated; `true_spearman` the rank
    correlation of estimates with `true_gains` true gains in mAP, where these were asked for."""

    scope: str
    fingerprints: tuple[str, ...]
    reused: int
    new: int
    quality: Quality
    measured: np.ndarray
    estimated: np.ndarray
    deviation: np.ndarray
    seconds: float
    noise: Noise | None = None
    true_spearman: float | None = None
    true_gains: int = 0

    @property
    def verdict(self) -> str:
        """Whether the table can guide a search, and what else is known of it."""
        noise = "" if self.noise is None else f" T{str(self.noise)[1:]}."
        if self.true_spearman is None:
            return f"{self.quality}{noise}"
        return (f"{self.quality}{noise} Spearman {self.true_spearman:.2f} between estimate and true gain in mAP on the "
                f"test split, {self.true_gains} held-out batches.")

    def figures(self) -> dict[str, float]:
        """The numbers of the summary by name; those that were not measured are absent."""
        figures = {"records": len(self.fingerprints), "loo_r2": self.quality.loo_r2, "spearman": self.quality.spearman,
                   "within_one_deviation": self.quality.within_one}
        if self.noise is not None:
            figures |= {"deviation_runs": self.noise.runs, "deviation_batches": self.noise.batches}
        return figures if self.true_spearman is None else figures | {"spearman_true": self.true_spearman}


def assess(records: Sequence[Record], reward: str, aggregated: AggregatedRewards, described: Described,
           unfitted: Estimator, scope: str, reused: int, new: int) -> TableSummary:
    """Judges a table by how well its records predict one another; the estimator stays as it is.

    `aggregated` is what the records say together, `described` its batches.
    """
    left = leave_one_out(unfitted, described, aggregated.rewards, aggregated.noise, aggregated.groups)
    quality = Quality.of(aggregated.rewards, left, aggregated.noise, aggregated.groups)
    return TableSummary(scope, tuple(record.fingerprint for record in records), reused, new, quality,
                        aggregated.rewards, left.value, left.deviation, sum(record.seconds for record in records),
                        noise_of(records, reward))
