"""Weighted ridge regression on what is said of a batch, in closed form."""

from __future__ import annotations

import numpy as np

from mgral.lookup.described import Described
from mgral.lookup.estimator.base import Estimator, LeftOut

PENALTIES = np.logspace(-2, 6, 33)
"""Ridge penalties tried; the largest leaves little but the mean reward."""


class Ridge(Estimator):
    """Ridge regression on standardised columns, in closed form; the penalty has the least leave-one-out error.

    Records weigh the inverse of their noise; those of one batch (equal rows) are left out together. The deviation is
    that of the Gaussian posterior whose noise is the leave-one-out error: it grows away from the records and in
    directions that no record has explored.
    """

    def _learn(self, added: int | None) -> None:
        rows, values, weights, within = _merged(self.records.rows, self.rewards, 1 / self.noise)
        root, self.total = np.sqrt(weights), weights.sum()
        self.mean, self.offset = weights @ rows / self.total, weights @ values / self.total
        scale = np.sqrt(weights @ (rows - self.mean) ** 2 / self.total)
        self.scale = np.where(scale > 1e-12 * np.abs(self.mean), scale, 1.0)
        left, singular, self.axes = np.linalg.svd(root[:, None] * (rows - self.mean) / self.scale, full_matrices=False)
        centred = root * (values - self.offset)
        shrunk = singular**2 / (singular**2 + PENALTIES[:, None])
        fitted = (shrunk * (left.T @ centred)) @ left.T
        leverage = weights / self.total + shrunk @ left.T**2
        squares = (((centred - fitted) / np.maximum(1 - leverage, 1e-12)) ** 2).sum(axis=1)
        errors = (squares + within) / len(self.rewards)
        best = int(errors.argmin())
        self.penalty, self.error, self.variances = float(PENALTIES[best]), errors[best], singular**2 + PENALTIES[best]
        self.weights = self.axes.T @ (singular / self.variances * (left.T @ centred))

    @property
    def noise_variance(self) -> float:
        """The leave-one-out error of a standard record, in which whatever is not linear counts as noise."""
        return float(self.error)

    def _leave_out(self, described: Described, rewards: np.ndarray, noise: np.ndarray, groups: np.ndarray) -> LeftOut:
        return self._refitted(described, rewards, noise, groups)

    def _estimate(self, queries: Described, between: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        standard = (queries.rows - self.mean) / self.scale
        along = standard @ self.axes.T
        outside = np.maximum((standard**2).sum(axis=1) - (along**2).sum(axis=1), 0.0)
        spread = 1 / self.total + (along**2 / self.variances).sum(axis=1) + outside / self.penalty
        return self.offset + standard @ self.weights, np.sqrt(self.error * spread)


def _merged(rows: np.ndarray, rewards: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Distinct rows, their mean rewards and total weights; and the weighted squares within rows, summed."""
    rows, group = np.unique(rows, axis=0, return_inverse=True)
    total = np.bincount(group, weights)
    values = np.bincount(group, weights * rewards) / total
    return rows, values, total, weights @ (rewards - values[group]) ** 2
