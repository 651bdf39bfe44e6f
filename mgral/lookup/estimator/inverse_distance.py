"""The paper's estimator: the nearest records, weighted by the inverse of their distance (MGRAL, section III-F)."""

from __future__ import annotations

import numpy as np

from mgral.lookup.described import Described
from mgral.lookup.estimator.base import Estimator, LeftOut, Metric


class InverseDistance(Estimator):
    """mÂP = Σ (1/d_e) mAP_e / Σ 1/d_e over the k nearest records e; the paper's estimator.

    A query at distance 0 from one or more records takes their mean reward. A record of noise s weighs 1/(s d), so that
    one measured four times as precisely counts as four alike; without noise it is the paper's formula.

    The deviation is that of the k rewards under the same weights: how far the neighbours disagree, 0 at a record. It
    stands in for that of the true reward, which the formula does not have, and holds the neighbours' noise too.
    """

    noise_variance = 0.0

    def __init__(self, neighbours: int = 5, metric: Metric = "l2") -> None:
        super().__init__(metric)
        self.neighbours = neighbours

    def _learn(self, added: int | None) -> None:
        """Keeps the records as they are, and counts how often the commonest row is among them."""
        self.repeats = int(np.unique(self.records.rows, axis=0, return_counts=True)[1].max())

    def _leave_out(self, described: Described, rewards: np.ndarray, noise: np.ndarray, groups: np.ndarray) -> LeftOut:
        return self._refitted(described, rewards, noise, groups)

    def _estimate(self, queries: Described, between: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # as many more as may be tied with the last, so that of equal ones the first are taken
        most = min(self.neighbours + self.repeats, len(self.rewards))
        order = np.sort(np.argpartition(between, most - 1, axis=1)[:, :most], axis=1)
        near = self._apart(queries.rows, order)
        closest = near.argsort(axis=1, kind="stable")
        order, near = (np.take_along_axis(array, closest, axis=1) for array in (order, near))
        hits = near == 0
        k = np.where(hits.any(axis=1), hits.sum(axis=1), min(self.neighbours, most))
        # relative to the nearest, 1/d can neither overflow nor divide by zero; hits weigh 1 each
        weights = np.divide(near[:, :1], near, out=np.ones_like(near), where=near > 0) / self.noise[order]
        weights[np.arange(near.shape[1]) >= k[:, None]] = 0.0
        weights /= weights.sum(axis=1, keepdims=True)
        rewards = self.rewards[order]
        value = (weights * rewards).sum(axis=1)
        return value, np.sqrt((weights * (rewards - value[:, None]) ** 2).sum(axis=1))
