"""What a table of experiments is worth, in figures and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mgral.data.dataset import Batch
from mgral.experiments.record import Record
from mgral.lookup.aggregation import AggregatedRewards, Noise, noise_of
from mgral.lookup.described import Described
from mgral.lookup.estimator import Estimator
from mgral.lookup.quality import Quality, leave_one_out, spearman


@dataclass(frozen=True, slots=True)
class TrueGains:
    """How estimates rank held-out batches by their true gains: mAP on the test split of the next cycle's detector, the
    mean of `trainings` of a batch. `noise` is what that mAP varies by; None for fewer than two batches."""

    spearman: float
    batches: int
    trainings: int
    noise: Noise | None

    @classmethod
    def of(cls, trained: Sequence[Record], batches: Sequence[Batch], estimated: np.ndarray) -> TrueGains:
        """Of records of these batches, each as often, and their estimates (n,)."""
        reached = {batch: [record.figures["map"] for record in trained if record.image_ids == batch]
                   for batch in batches}
        gains = np.array([np.mean(values) for values in reached.values()])
        return cls(spearman(gains, estimated), len(batches), len(trained) // len(batches), noise_of(trained, "map"))

    def __str__(self) -> str:
        varies = "" if self.noise is None else (f"; mAP varies by {self.noise.batches:.3g} between batches and by "
                                                f"{self.noise.runs:.3g} from training to training")
        return (f"Spearman {self.spearman:.2f} between estimate and true gain in mAP on the test split, {self.batches} "
                f"held-out batches of {self.trainings} trainings each{varies}.")

    def figures(self) -> dict[str, float]:
        """The numbers by name."""
        known = {} if self.noise is None else {"true_deviation_runs": self.noise.runs,
                                               "true_deviation_batches": self.noise.batches}
        return {"spearman_true": self.spearman, **known}


@dataclass(frozen=True, slots=True, eq=False)
class TableSummary:
    """A table that is ready for a search. `measured`, `estimated` and `deviation`, (n,) each, are of its records, each
    estimated from the others; `noise` what the reward varies by, where batches were repeated; `true` how estimates
    rank true gains, where these were asked for."""

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
    true: TrueGains | None = None

    @property
    def verdict(self) -> str:
        """Whether the table can guide a search, and what else is known of it."""
        noise = "" if self.noise is None else f" T{str(self.noise)[1:]}."
        return f"{self.quality}{noise}" + ("" if self.true is None else f" {self.true}")

    def figures(self) -> dict[str, float]:
        """The numbers of the summary by name; those that were not measured are absent."""
        figures = {"records": len(self.fingerprints), "loo_r2": self.quality.loo_r2, "spearman": self.quality.spearman,
                   "within_one_deviation": self.quality.within_one}
        if self.noise is not None:
            figures |= {"deviation_runs": self.noise.runs, "deviation_batches": self.noise.batches}
        return figures if self.true is None else figures | self.true.figures()


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
