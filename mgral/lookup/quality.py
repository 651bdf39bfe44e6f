"""Whether a table can guide a search: how well its records foretell one another."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mgral.lookup.estimator import Estimator

LEAST_R2 = 0.1
"""Below this leave-one-out R², a search on the table follows noise."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures of a table of `records` experiments: leave-one-out R², and the rank correlation of estimate and truth."""

    records: int
    loo_r2: float
    spearman: float

    @property
    def guides(self) -> bool:
        return self.loo_r2 >= LEAST_R2

    def __str__(self) -> str:
        figures = f"leave-one-out R² {self.loo_r2:.2f}, Spearman {self.spearman:.2f}, {self.records} records"
        if self.guides:
            return f"This table can guide a search ({figures})."
        return f"This table cannot guide a search: its estimates hardly follow its own records ({figures})."


def assess(estimator: Estimator, representations: np.ndarray, rewards: np.ndarray) -> Quality:
    """Judges an estimator on n records (n, d) with rewards (n,); the estimator itself is left as it is.

    Raises:
        ValueError: fewer than 4 records.
    """
    values = np.asarray(rewards, dtype=float)
    estimates = leave_one_out(estimator, representations, values)
    return Quality(len(values), loo_r2(values, estimates), spearman(values, estimates))


def leave_one_out(estimator: Estimator, representations: np.ndarray, rewards: np.ndarray) -> np.ndarray:
    """Each record's reward (n,), estimated from all the others.

    Raises:
        ValueError: fewer than 4 records, of which 3 are left to learn from.
    """
    if len(rewards) < 4:
        raise ValueError(f"expected at least 4 records to leave one out, got {len(rewards)}")
    student = copy.deepcopy(estimator)
    rows = np.arange(len(rewards))
    return np.array([student.fit(representations[rows != row], rewards[rows != row])
                     .predict(representations[row][None]).value[0] for row in rows])


def loo_r2(rewards: np.ndarray, estimates: np.ndarray) -> float:
    """1 - squared error of the estimates over that of the mean of the other records; 0 is no better than that mean.

    Rewards that are all the same give 0: there is nothing to foretell.
    """
    others = (rewards.sum() - rewards) / (len(rewards) - 1)
    total = ((rewards - others) ** 2).sum()
    return float(1 - ((rewards - estimates) ** 2).sum() / total) if np.ptp(rewards) > 0 else 0.0


def spearman(rewards: np.ndarray, estimates: np.ndarray) -> float:
    """Rank correlation; 0 where one side is constant."""
    if np.ptp(rewards) == 0 or np.ptp(estimates) == 0:
        return 0.0
    return float(stats.spearmanr(rewards, estimates).statistic)
