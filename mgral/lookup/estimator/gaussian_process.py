"""A Gaussian process over what is said of a batch: a smooth function of unknown shape, and how sure it is."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from mgral.lookup.described import Described
from mgral.lookup.estimator.base import Estimator, LeftOut, Metric, block_scale, folds, squared_distances

CONSTANT = 10.0
"""Prior variance of the mean reward, in variances of the records' rewards: as good as unknown."""
JITTER = 1e-8
"""Added to the diagonal: equal records stay apart by more than rounding."""
TYPICAL = {"amplitude": 0.5, "scale": 2.0, "linear": 0.5, "noise": 0.2}
"""Medians of the hyperparameters' log-normal priors, whose deviation is 1 in the logarithm: what a small table falls
back on. Variances are in variances of the rewards (that of the linear part shared among its blocks), lengths in root
mean square distances of a record from the mean of all."""
REACH = 6.0
"""How far, in the logarithm, the hyperparameters may go from there."""


class GaussianProcess(Estimator):
    """Gaussian process of a constant, a linear part and a Matérn-5/2 part, with the posterior in closed form.

    k(x, z) = c + Σ_b v_b x_b·z_b + a² (1 + r + r²/3) exp(-r), r = √5 |x - z| / l, over rows centred and scaled so that
    every block b has the same mean square among the records. Measurement e has variance s² noise_e. The variances a²,
    v_b, s² and the length l maximise the marginal likelihood times their priors, by its gradient and from the priors'
    medians, so that the same records give the same hyperparameters. `names` (d) has the columns, `block/…` each.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), equations 2.25, 2.26, 4.17, 5.8 and
    5.9; left out by groups, 5.12 in blocks.
    """

    def __init__(self, names: Sequence[str], metric: Metric = "l2") -> None:
        super().__init__(metric)
        self.names = tuple(names)
        self.block = np.unique([name.split("/")[0] for name in names], return_inverse=True)[1]

    @property
    def noise_variance(self) -> float:
        return float(self.hyper[-1] * self.unit**2)

    def _leave_out(self, described: Described, rewards: np.ndarray, noise: np.ndarray, groups: np.ndarray) -> LeftOut:
        """In closed form, with the hyperparameters of all records."""
        student = copy.copy(self).fit(described, rewards, noise)
        inverse = cho_solve((student.factor, True), np.eye(len(rewards)))
        error, variance = np.empty(len(rewards)), np.empty(len(rewards))
        for held in folds(groups):
            apart = np.linalg.inv(inverse[np.ix_(held, held)])
            error[held], variance[held] = apart @ student.weights[held], np.diag(apart)
        return LeftOut(student.rewards - student.unit * error, student.unit * np.sqrt(variance))

    def _learn(self, added: int | None) -> None:
        weights = 1 / self.noise / (1 / self.noise).sum()
        self.offset = weights @ self.rewards
        self.unit = np.sqrt(weights @ (self.rewards - self.offset) ** 2) or 1.0
        self.mean, self.scale = block_scale(self.records.rows, weights, self.names)
        self.points = self._placed(self.records.rows)
        target = (self.rewards - self.offset) / self.unit
        self.hyper = _most_likely(self.points, self.block, target, self.noise)
        self.factor = cholesky(_covariance(self.points, self.block, self.noise, self.hyper), lower=True)
        self.weights = cho_solve((self.factor, True), target)

    def _estimate(self, queries: Described, between: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        points = self._placed(queries.rows)
        shared = _kernel(points, self.points, self.block, self.hyper)
        alone = CONSTANT + points**2 @ self._linear() + self.hyper[0]
        known = solve_triangular(self.factor, shared.T, lower=True, check_finite=False)
        variance = np.maximum(alone - np.einsum("em,em->m", known, known), 0.0)
        return self.offset + self.unit * (shared @ self.weights), self.unit * np.sqrt(variance)

    def _placed(self, rows: np.ndarray) -> np.ndarray:
        return (rows - self.mean) / self.scale

    def _linear(self) -> np.ndarray:
        return self.hyper[2:-1][self.block]


def _kernel(points: np.ndarray, others: np.ndarray, block: np.ndarray, hyper: np.ndarray) -> np.ndarray:
    """Covariances (M, n) of true rewards; `hyper` is a², l, v_b …, s²."""
    smooth, _ = _matern(squared_distances(points, others), hyper[0], hyper[1])
    return CONSTANT + (points * hyper[2:-1][block]) @ others.T + smooth


def _covariance(points: np.ndarray, block: np.ndarray, noise: np.ndarray, hyper: np.ndarray) -> np.ndarray:
    """Covariances (n, n) of measurements."""
    return _kernel(points, points, block, hyper) + np.diag(hyper[-1] * noise + JITTER)


def _matern(squares: np.ndarray, amplitude: float, length: float) -> tuple[np.ndarray, np.ndarray]:
    """The Matérn-5/2 part, and its derivative by log l."""
    r = np.sqrt(5 * squares) / length
    tail = amplitude * np.exp(-r)
    return tail * (1 + r + r**2 / 3), tail * r**2 * (1 + r) / 3


def _most_likely(points: np.ndarray, block: np.ndarray, target: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The hyperparameters a², l, v_b …, s² of highest posterior density, for standardised rewards (n,)."""
    blocks = block.max() + 1
    parts = [points[:, block == number] @ points[:, block == number].T for number in range(blocks)]
    squares = squared_distances(points, points)
    centre = np.log([TYPICAL["amplitude"], TYPICAL["scale"], *[TYPICAL["linear"]] * blocks, TYPICAL["noise"]])

    def loss(logs: np.ndarray) -> tuple[float, np.ndarray]:
        hyper = np.exp(logs)
        smooth, by_length = _matern(squares, hyper[0], hyper[1])
        covariance = CONSTANT + smooth + sum(v * part for v, part in zip(hyper[2:-1], parts, strict=True))
        covariance[np.diag_indices_from(covariance)] += hyper[-1] * noise + JITTER
        factor = cholesky(covariance, lower=True)
        weights = cho_solve((factor, True), target)
        pull = np.outer(weights, weights) - cho_solve((factor, True), np.eye(len(target)))
        slopes = [np.vdot(pull, derivative) for derivative in (smooth, by_length, *parts)] + [np.diag(pull) @ noise]
        gradient = 0.5 * np.array(slopes) * [1, 1, *hyper[2:]] - (logs - centre)
        likelihood = -0.5 * target @ weights - np.log(np.diag(factor)).sum()
        return 0.5 * ((logs - centre) ** 2).sum() - likelihood, -gradient

    bounds = [(log - REACH, log + REACH) for log in centre]
    return np.exp(minimize(loss, centre, jac=True, method="L-BFGS-B", bounds=bounds).x)
