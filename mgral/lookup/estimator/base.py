"""What all estimators have in common: records in, estimates out, and how strange a batch is to the table."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from scipy.spatial.distance import pdist

from mgral.lookup.described import Described

Metric = Literal["l2", "cosine"]

CHUNK = 1024
"""Queries at a time: their distances to a thousand records stay in a processor's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """For M queries: the estimated reward, its standard deviation and the distance to the nearest record, (M,) each.

    The deviation is that of the batch's true reward, not of one more noisy measurement of it.
    """

    value: np.ndarray
    deviation: np.ndarray
    nearest: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """For n records, each estimated without those of its group: the value, and the deviation of a measurement of it as
    noisy as the record's, (n,) each."""

    value: np.ndarray
    deviation: np.ndarray


class Estimator(ABC):
    """Learns from n described batches and their rewards; more may be added at any time.

    `threshold` is the distance beyond which a query is strange to the table and asks for a real experiment,
    `noise_variance` that of a standard record's measurement, as far as the estimator knows it.
    """

    def __init__(self, metric: Metric = "l2") -> None:
        self.metric = metric

    def fit(self, described: Described, rewards: np.ndarray, noise: np.ndarray | None = None) -> Self:
        """Forgets what was there and learns n records: batches, rewards (n,) and the variance of each measurement as a
        multiple of a standard record's, `noise` (n,), 1 if absent: a record of noise 4 counts a quarter.

        Raises:
            ValueError: fewer than 3 records, shapes that do not match, a value that is not finite, or a noise of 0 or
                less.
        """
        self._hold(described, *_checked(described, rewards, noise))
        self._learn(None)
        return self

    def add(self, described: Described, rewards: np.ndarray, noise: np.ndarray | None = None) -> Self:
        """Learns m more records."""
        rewards, noise = _checked(described, rewards, noise)
        self._hold(Described.joined([self.records, described]), np.concatenate([self.rewards, rewards]),
                   np.concatenate([self.noise, noise]))
        self._learn(len(described))
        return self

    def predict(self, queries: Described) -> Estimate:
        """Estimates M batches."""
        parts = [self._predict(queries[begin:begin + CHUNK]) for begin in range(0, max(len(queries), 1), CHUNK)]
        return Estimate(*(np.concatenate([getattr(part, name) for part in parts]) for name in Estimate.__slots__))

    def left_out(self, described: Described, rewards: np.ndarray, noise: np.ndarray | None = None,
                 groups: np.ndarray | None = None) -> LeftOut:
        """Estimates each of n records from those of other groups, `groups` (n,), each on its own if absent.

        The estimator itself is left as it is.
        """
        groups = np.arange(len(rewards)) if groups is None else groups
        return self._leave_out(described, *_checked(described, rewards, noise), groups)

    @property
    @abstractmethod
    def noise_variance(self) -> float:
        """Variance of a standard record's measurement; 0 if the deviation covers it already."""

    @abstractmethod
    def _learn(self, added: int | None) -> None:
        """Prepares what `_estimate` needs from `records`, `rewards` and `noise`; what was there is not changed.

        `added` is how many of the last records are new to it, None to begin afresh.
        """

    @abstractmethod
    def _estimate(self, queries: Described, between: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Value and deviation, (M,) each, of queries whose squared distances to the records are `between` (M, n).

        Those are of rounded sums: good for telling which records are near, while `_apart` is exact to the last digits.
        """

    @abstractmethod
    def _leave_out(self, described: Described, rewards: np.ndarray, noise: np.ndarray, groups: np.ndarray) -> LeftOut:
        """What `left_out` gives: by `_refitted`, or a cheaper way of the estimator's own."""

    def _refitted(self, described: Described, rewards: np.ndarray, noise: np.ndarray, groups: np.ndarray,
                  most: int | None = None) -> LeftOut:
        """Fits without each group, at most `most` times if that is given: then several are left out together."""
        value, deviation = np.empty(len(rewards)), np.empty(len(rewards))
        for held in folds(groups, most):
            student = copy.copy(self).fit(described[~held], rewards[~held], noise[~held])
            estimate = student.predict(described[held])
            value[held] = estimate.value
            deviation[held] = np.sqrt(estimate.deviation**2 + student.noise_variance * noise[held])
        return LeftOut(value, deviation)

    def _hold(self, described: Described, rewards: np.ndarray, noise: np.ndarray) -> None:
        if len(described) < 3:
            raise ValueError(f"expected at least 3 records, got {len(described)}")
        self.records, self.rewards, self.noise = described, rewards, noise
        self.threshold = threshold(described.rows, self.metric)
        places = _placed(described.rows, self.metric)
        self.middle = places.mean(axis=0)
        self.places = places - self.middle

    def _predict(self, queries: Described) -> Estimate:
        between = squared_distances(_placed(queries.rows, self.metric) - self.middle, self.places)
        nearest = self._apart(queries.rows, between.argmin(axis=1)[:, None])[:, 0]
        return Estimate(*self._estimate(queries, between), nearest)

    def _apart(self, rows: np.ndarray, records: np.ndarray) -> np.ndarray:
        """Distances (M, k) of rows (M, d) to k records each, by their numbers (M, k); exactly 0 for equal rows."""
        places = _placed(rows, self.metric) - self.middle
        squares = ((places[:, None] - self.places[records]) ** 2).sum(axis=2)
        return np.sqrt(squares) if self.metric == "l2" else squares / 2


def folds(groups: np.ndarray, most: int | None = None) -> Iterator[np.ndarray]:
    """Masks (n,) of the records to leave out together: every group is in one of at most `most`, as a whole."""
    number = np.unique(groups, return_inverse=True)[1]
    count = min(number.max() + 1, most or len(number))
    yield from (number % count == fold for fold in range(count))


def block_scale(rows: np.ndarray, weights: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and divisors (d,) that centre n rows (n, d) and give every block the same share of a mean square of 1.

    `weights` (n,) sum to 1; a column is named `block/…`. Within a block columns keep their proportions.
    """
    block = np.unique([name.split("/")[0] for name in names], return_inverse=True)[1]
    mean = weights @ rows
    squares = np.bincount(block, weights @ (rows - mean) ** 2)
    return mean, np.sqrt(np.where(squares > 1e-18, squares * len(squares), 1.0))[block]


def threshold(rows: np.ndarray, metric: Metric = "l2") -> float:
    """τ, the mean minus one standard deviation of the distances between n records (n, d); at least 0.

    The paper's "mean feature distance minus one standard deviation" (section III-F).
    """
    between = pdist(_placed(rows, metric), "euclidean" if metric == "l2" else "sqeuclidean")
    between = between if metric == "l2" else between / 2
    return float(max(between.mean() - between.std(), 0.0))


def squared_distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared distances (M, n) by one matrix product: small ones are off by the rounding of large ones."""
    squares = (points**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)
    squares -= 2 * (points @ others.T)
    return np.maximum(squares, 0.0, out=squares)


def _placed(rows: np.ndarray, metric: Metric) -> np.ndarray:
    """For cosine on the unit sphere, where half the squared distance is 1 - cosine, exactly 0 for equal vectors."""
    if metric == "l2":
        return rows
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norm > 0, norm, 1.0)


def _checked(described: Described, rewards: np.ndarray, noise: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Rewards and noise as float64."""
    values = np.asarray(rewards, dtype=float)
    noise = np.ones(len(values)) if noise is None else np.asarray(noise, dtype=float)
    if not values.shape == noise.shape == (len(described),):
        raise ValueError(f"expected a reward and a noise for each of {len(described)} batches, got {values.shape} and "
                         f"{noise.shape}")
    if not (np.isfinite(described.rows).all() and np.isfinite(values).all()):
        raise ValueError("expected finite records and rewards, got a NaN or an infinity")
    if not (np.isfinite(noise).all() and (noise > 0).all()):
        raise ValueError("expected finite noises above 0, got others")
    return values, noise
