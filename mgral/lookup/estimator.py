"""What a batch is worth, estimated from the records of the table (MGRAL, section III-F)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from scipy.spatial.distance import cdist, pdist

from mgral.config import TableConfig

Metric = Literal["l2", "cosine"]

PENALTIES = np.logspace(-2, 6, 33)
"""Ridge penalties tried; the largest leaves little but the mean reward."""


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """For M queries: the estimated reward, its standard deviation and the distance to the nearest record, (M,) each."""

    value: np.ndarray
    deviation: np.ndarray
    nearest: np.ndarray


class Estimator(ABC):
    """Learns from n representations (n, d) and their rewards (n,), float64; more may be added at any time.

    `threshold` is the distance beyond which a query is strange to the table and asks for a real experiment.
    """

    def __init__(self, metric: Metric = "l2") -> None:
        self.metric = metric

    def fit(self, representations: np.ndarray, rewards: np.ndarray) -> Self:
        """Forgets what was there and learns these records.

        Raises:
            ValueError: fewer than 3 records, shapes that do not match, or a value that is not finite.
        """
        records, values = np.asarray(representations, dtype=float), np.asarray(rewards, dtype=float)
        if records.ndim != 2 or values.shape != records.shape[:1]:
            raise ValueError(f"expected records (n, d) and rewards (n,), got {records.shape} and {values.shape}")
        if len(records) < 3:
            raise ValueError(f"expected at least 3 records, got {len(records)}")
        if not (np.isfinite(records).all() and np.isfinite(values).all()):
            raise ValueError("expected finite records and rewards, got a NaN or an infinity")
        self.records, self.rewards = records, values
        self.threshold = threshold(records, self.metric)
        self._learn()
        return self

    def add(self, representations: np.ndarray, rewards: np.ndarray) -> Self:
        """Learns m more records, (m, d) and (m,)."""
        return self.fit(np.vstack([self.records, representations]), np.concatenate([self.rewards, rewards]))

    def predict(self, queries: np.ndarray) -> Estimate:
        """Estimates M queries (M, d)."""
        queries = np.asarray(queries, dtype=float)
        between = distances(queries, self.records, self.metric)
        value, deviation = self._estimate(queries, between)
        return Estimate(value, deviation, between.min(axis=1))

    def needs_experiment(self, query: np.ndarray) -> bool:
        """Whether a query (d,) lies farther from every record than the threshold."""
        return bool(self.predict(np.asarray(query)[None]).nearest[0] > self.threshold)

    @abstractmethod
    def _learn(self) -> None:
        """Prepares what `_estimate` needs from `records` and `rewards`."""

    @abstractmethod
    def _estimate(self, queries: np.ndarray, between: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Value and deviation, (M,) each, of queries (M, d) whose distances to the records are `between` (M, n)."""


class InverseDistance(Estimator):
    """mÂP = Σ (1/d_e) mAP_e / Σ 1/d_e over the k nearest records e; the paper's estimator.

    A query at distance 0 from one or more records takes their mean reward. The deviation is that of the k rewards
    under the same weights: how far the neighbours disagree, 0 at a record.
    """

    def __init__(self, neighbours: int = 5, metric: Metric = "l2") -> None:
        super().__init__(metric)
        self.neighbours = neighbours

    def _learn(self) -> None:
        """Keeps the records as they are."""

    def _estimate(self, queries: np.ndarray, between: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        hits = between == 0
        k = np.where(hits.any(axis=1), hits.sum(axis=1), min(self.neighbours, len(self.rewards)))
        order = between.argsort(axis=1, kind="stable")[:, :k.max(initial=1)]
        near = np.take_along_axis(between, order, axis=1)
        # relative to the nearest, 1/d can neither overflow nor divide by zero; hits weigh 1 each
        weights = np.divide(near[:, :1], near, out=np.ones_like(near), where=near > 0)
        weights[np.arange(near.shape[1]) >= k[:, None]] = 0.0
        weights /= weights.sum(axis=1, keepdims=True)
        rewards = self.rewards[order]
        value = (weights * rewards).sum(axis=1)
        return value, np.sqrt((weights * (rewards - value[:, None]) ** 2).sum(axis=1))


class Ridge(Estimator):
    """Ridge regression on standardised columns, in closed form; the penalty has the least leave-one-out error.

    The deviation is that of the Gaussian posterior whose noise is the leave-one-out error: it grows away from the
    records and in directions that no record has explored.
    """

    def _learn(self) -> None:
        self.mean, scale = self.records.mean(axis=0), self.records.std(axis=0)
        self.scale = np.where(scale > 0, scale, 1.0)
        left, singular, self.axes = np.linalg.svd((self.records - self.mean) / self.scale, full_matrices=False)
        centred = self.rewards - self.rewards.mean()
        shrunk = singular**2 / (singular**2 + PENALTIES[:, None])
        fitted = (shrunk * (left.T @ centred)) @ left.T
        leverage = 1 / len(centred) + shrunk @ left.T**2
        errors = (((centred - fitted) / np.maximum(1 - leverage, 1e-12)) ** 2).mean(axis=1)
        best = int(errors.argmin())
        self.penalty, self.noise, self.variances = float(PENALTIES[best]), errors[best], singular**2 + PENALTIES[best]
        self.weights = self.axes.T @ (singular / self.variances * (left.T @ centred))

    def _estimate(self, queries: np.ndarray, between: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        standard = (queries - self.mean) / self.scale
        along = standard @ self.axes.T
        outside = np.maximum((standard**2).sum(axis=1) - (along**2).sum(axis=1), 0.0)
        spread = 1 / len(self.rewards) + (along**2 / self.variances).sum(axis=1) + outside / self.penalty
        return self.rewards.mean() + standard @ self.weights, np.sqrt(self.noise * spread)


def make_estimator(config: TableConfig) -> Estimator:
    """The estimator that the settings name, not yet fitted."""
    if config.estimator == "ridge":
        return Ridge(config.metric)
    return InverseDistance(config.neighbours, config.metric)


def threshold(representations: np.ndarray, metric: Metric = "l2") -> float:
    """τ, the mean minus one standard deviation of the distances between n records (n, d); at least 0.

    The paper's "mean feature distance minus one standard deviation" (section III-F).
    """
    between = pdist(_placed(representations, metric), "euclidean" if metric == "l2" else "sqeuclidean")
    between = between if metric == "l2" else between / 2
    return float(max(between.mean() - between.std(), 0.0))


def distances(queries: np.ndarray, records: np.ndarray, metric: Metric) -> np.ndarray:
    """Distances (M, n): Euclidean, or 1 - cosine."""
    if metric == "l2":
        return cdist(queries, records)
    return cdist(_placed(queries, metric), _placed(records, metric), "sqeuclidean") / 2


def _placed(representations: np.ndarray, metric: Metric) -> np.ndarray:
    """For cosine on the unit sphere, where half the squared distance is 1 - cosine, exactly 0 for equal vectors."""
    if metric == "l2":
        return representations
    norm = np.linalg.norm(representations, axis=1, keepdims=True)
    return representations / np.where(norm > 0, norm, 1.0)
