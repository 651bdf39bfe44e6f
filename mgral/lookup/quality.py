"""Whether a table can guide a search: how well its records predict one another.

Whether its reward is the right one is not in the table; that is told by true labels (`study.true_gains`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from mgral.lookup.described import Described
from mgral.lookup.estimator import Estimator, LeftOut

LEAST_R2 = 0.1
"""Below this leave-one-out R², a search on the table follows noise."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures of a table of `records` experiments: leave-one-out R², the rank correlation of estimate and measurement,
    and the share of records measured within one deviation of their estimate (0.68 if the deviations are right and
    errors Gaussian; of a measurement, so its noise is in the deviation)."""

    records: int
    loo_r2: float
    spearman: float
    within_one: float

    @classmethod
    def of(cls, rewards: np.ndarray, left: LeftOut, noise: np.ndarray | None = None,
           groups: np.ndarray | None = None) -> Quality:
        """Figures of n records (n,) and what was estimated of each without its group."""
        errors = np.abs(rewards - left.value)
        return cls(len(rewards), loo_r2(rewards, left.value, noise, groups), spearman(rewards, left.value),
                   float((errors <= left.deviation).mean()))

    @property
    def reliable(self) -> bool:
        return self.loo_r2 >= LEAST_R2

    def __str__(self) -> str:
        figures = f"leave-one-out R² {self.loo_r2:.2f}, Spearman {self.spearman:.2f}, {self.records} records"
        if self.reliable:
            return f"This table can guide a search for its reward ({figures})."
        return f"This table cannot guide a search: its estimates hardly follow its own records ({figures})."


def assess(estimator: Estimator, described: Described, rewards: np.ndarray, noise: np.ndarray | None = None,
           groups: np.ndarray | None = None) -> Quality:
    """Judges an estimator on n records as `leave_one_out` does; the estimator itself is left as it is.

    Raises:
        ValueError: too few records or groups.
    """
    values = np.asarray(rewards, dtype=float)
    return Quality.of(values, leave_one_out(estimator, described, values, noise, groups), noise, groups)


def leave_one_out(estimator: Estimator, described: Described, rewards: np.ndarray, noise: np.ndarray | None = None,
                  groups: np.ndarray | None = None) -> LeftOut:
    """Each of n records estimated from those of all other groups.

    `noise` (n,) is relative to a standard record's (1 if absent); `groups` (n,) are left out as a whole, as the repeats
    of one batch must be (each record on its own if absent). An estimator may do so its own, cheaper way.

    Raises:
        ValueError: fewer than 3 records are left to learn from, or there is but one group.
    """
    names = np.arange(len(rewards)) if groups is None else np.asarray(groups)
    if names.shape != (len(rewards),):
        raise ValueError(f"expected a group for each of {len(rewards)} records, got {names.shape}")
    largest = np.unique(names, return_counts=True)[1].max(initial=0)
    if len(rewards) - largest < 3:
        raise ValueError("expected at least 3 records beside any group that is left out, got "
                         f"{len(rewards)} records with {largest} of one group")
    return estimator.left_out(described, rewards, noise, names)


def loo_r2(rewards: np.ndarray, estimates: np.ndarray, noise: np.ndarray | None = None,
           groups: np.ndarray | None = None) -> float:
    """1 - squared error of the estimates over that of the mean of the other groups; 0 is no better than that mean.

    Records weigh the inverse of their noise. Rewards that are all the same give 0: there is nothing to predict.
    """
    if np.ptp(rewards) == 0:
        return 0.0
    weights = np.ones(len(rewards)) if noise is None else 1 / np.asarray(noise)
    group = np.arange(len(rewards)) if groups is None else np.unique(groups, return_inverse=True)[1]
    weight, total = np.bincount(group, weights), np.bincount(group, weights * rewards)
    mean_of_others = ((total.sum() - total) / (weight.sum() - weight))[group]
    return float(1 - weights @ (rewards - estimates) ** 2 / (weights @ (rewards - mean_of_others) ** 2))


def spearman(rewards: np.ndarray, estimates: np.ndarray) -> float:
    """Rank correlation; 0 where one side is constant."""
    if np.ptp(rewards) == 0 or np.ptp(estimates) == 0:
        return 0.0
    return float(stats.spearmanr(rewards, estimates).statistic)
