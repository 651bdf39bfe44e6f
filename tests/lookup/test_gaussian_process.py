import numpy as np
import pytest
from scipy.optimize import approx_fprime

from mgral.lookup.estimator import GaussianProcess, InverseDistance
from mgral.lookup.estimator import gaussian_process as module
from mgral.lookup.estimator.gaussian_process import CONSTANT, JITTER
from mgral.lookup.quality import leave_one_out
from tests.lookup.pools import described

NAMES = ("a/0", "a/1", "b/0", "c/0", "c/1")


def table(records=25, seed=0, noise=0.1):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(records, 5)) * [1, 2, 0.1, 1, 1]
    truth = np.sin(rows[:, 1]) + rows[:, 0] + 0 * rows[:, 3]
    return rows, truth + noise * rng.normal(size=records), rng.choice([0.25, 1, 4], records)


def covariance(process, points, others):
    """The kernel pair by pair, from its formula."""
    amplitude, length, *linear, _ = process.hyper
    shared = np.empty((len(points), len(others)))
    for i, x in enumerate((points - process.mean) / process.scale):
        for j, z in enumerate((others - process.mean) / process.scale):
            r = 5**0.5 * np.linalg.norm(x - z) / length
            line = sum(v * x[block] @ z[block] for v, block in zip(linear, ([0, 1], [2], [3, 4]), strict=True))
            shared[i, j] = CONSTANT + line + amplitude * (1 + r + r * r / 3) * np.exp(-r)
    return shared


def posterior(process, rows, rewards, noise, queries):
    """Value and variances (M,) of true rewards by an inverse, with the fitted hyperparameters."""
    known = np.linalg.inv(covariance(process, rows, rows) + np.diag(process.hyper[-1] * noise + JITTER))
    shared, alone = covariance(process, queries, rows), covariance(process, queries, queries)
    value = process.offset + shared @ known @ (rewards - process.offset)
    return value, process.unit**2 * np.diag(alone - shared @ known @ shared.T)


def test_it_is_the_posterior_written_out():
    rows, rewards, noise = table()
    process = GaussianProcess(NAMES).fit(described(rows), rewards, noise)
    queries = np.vstack([rows[:3], np.random.default_rng(1).normal(size=(6, 5)) * 3])
    value, variance = posterior(process, rows, rewards, noise, queries)
    estimate = process.predict(described(queries))
    np.testing.assert_allclose(estimate.value, value, rtol=1e-8)
    np.testing.assert_allclose(estimate.deviation, np.sqrt(variance), rtol=1e-6)


def test_every_block_has_its_share_whatever_its_units():
    rows, rewards, noise = table()
    plain, scaled = (GaussianProcess(NAMES).fit(described(rows * scale), rewards, noise)
                     .predict(described((rows + 0.3) * scale)) for scale in (1, np.array([10, 10, 1e-3, 7, 7])))
    np.testing.assert_allclose(plain.value, scaled.value, rtol=1e-6)


def test_the_slopes_of_the_likelihood_are_those_of_its_differences(monkeypatch):
    rows, rewards, noise = table(12)
    given = {}

    def stay_at_start(loss, start, **_):
        given.update(loss=loss, start=start)
        return type("Found", (), {"x": start})

    monkeypatch.setattr(module, "minimize", stay_at_start)
    process = GaussianProcess(NAMES).fit(described(rows), rewards, noise)
    point = given["start"] + np.linspace(-1, 1, len(given["start"]))
    value, slopes = given["loss"](point)
    np.testing.assert_allclose(slopes, approx_fprime(point, lambda at: given["loss"](at)[0], 1e-7), atol=1e-5)
    process.hyper = np.exp(point)
    whole = covariance(process, rows, rows) + np.diag(process.hyper[-1] * noise + JITTER)
    target = (rewards - process.offset) / process.unit
    likelihood = -0.5 * target @ np.linalg.solve(whole, target) - 0.5 * np.linalg.slogdet(whole)[1]
    assert value == pytest.approx(0.5 * np.linspace(-1, 1, len(point)) @ np.linspace(-1, 1, len(point)) - likelihood)


def test_left_out_by_groups_is_the_posterior_of_the_others():
    rows, rewards, noise = table()
    groups = np.repeat(np.arange(9), [1, 1, 1, 2, 2, 3, 4, 5, 6])
    process = GaussianProcess(NAMES).fit(described(rows), rewards, noise)
    left = leave_one_out(GaussianProcess(NAMES), described(rows), rewards, noise, groups)
    for group in range(9):
        held = groups == group
        value, variance = posterior(process, rows[~held], rewards[~held], noise[~held], rows[held])
        np.testing.assert_allclose(left.value[held], value, rtol=1e-6)
        np.testing.assert_allclose(left.deviation[held], np.sqrt(variance + process.noise_variance * noise[held]),
                                   rtol=1e-4)


def test_added_records_count_as_if_fitted_with_the_others_and_queries_stand_alone():
    rows, rewards, noise = table()
    process = GaussianProcess(NAMES).fit(described(rows[:20]), rewards[:20], noise[:20])
    process.add(described(rows[20:]), rewards[20:], noise[20:])
    whole = GaussianProcess(NAMES).fit(described(rows), rewards, noise)
    together = whole.predict(described(rows + 0.1))
    np.testing.assert_array_equal(process.predict(described(rows + 0.1)).value, together.value)
    alone = [whole.predict(described(row[None] + 0.1)) for row in rows]
    np.testing.assert_allclose(together.value, [estimate.value[0] for estimate in alone], rtol=1e-9)
    np.testing.assert_allclose(together.deviation, [estimate.deviation[0] for estimate in alone], rtol=1e-6)


def test_it_learns_a_curve_better_than_neighbours_do_and_knows_the_noise():
    rows, rewards, _ = table(120, noise=0.3)
    queries, truth, _ = table(200, seed=1, noise=0)
    process = GaussianProcess(NAMES).fit(described(rows), rewards)
    estimate = process.predict(described(queries))
    nearest = InverseDistance().fit(described(rows / process.scale), rewards)
    neighbours = nearest.predict(described(queries / process.scale))
    ours, theirs = (((predicted.value - truth) ** 2).mean() for predicted in (estimate, neighbours))
    assert ours < 0.3 * theirs
    assert process.noise_variance == pytest.approx(0.09, rel=0.4)
    assert 0.5 < (np.abs(estimate.value - truth) < estimate.deviation).mean() < 0.9


def test_it_is_less_sure_away_from_the_records():
    rows, rewards, _ = table()
    queries = described([rows[0], rows[0] * 9])
    near, far = GaussianProcess(NAMES).fit(described(rows), rewards).predict(queries).deviation
    assert far > 3 * near


@pytest.mark.parametrize("rewards", [np.zeros(6), np.arange(6.0)])
def test_equal_records_and_constant_rewards_do_no_harm(rewards):
    estimate = GaussianProcess(NAMES).fit(described(np.ones((6, 5))), rewards).predict(described(np.ones((2, 5))))
    np.testing.assert_allclose(estimate.value, rewards.mean(), rtol=1e-6)
    assert np.isfinite(estimate.deviation).all()
