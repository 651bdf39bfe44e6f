import copy

import numpy as np
import pytest
from scipy import sparse

from mgral.config import TableConfig
from mgral.lookup.described import Described
from mgral.lookup.estimator import (
    PENALTIES,
    Ensemble,
    GaussianProcess,
    InverseDistance,
    Ridge,
    make_estimator,
    threshold,
)
from mgral.lookup.representation import Representation
from tests import oracles
from tests.lookup.pools import described, inspection, sets

DISTANCE = {"l2": oracles.l2, "cosine": oracles.cosine}
ESTIMATORS = {"l2": InverseDistance(3), "cosine": InverseDistance(3, "cosine"), "ridge": Ridge()}


def table(records=12, columns=4, seed=0):
    rng = np.random.default_rng(seed)
    representations = rng.normal(size=(records, columns)) * [1, 10, 0.1, 1]
    return representations, representations @ [0.1, 0.02, 1, 0] + rng.normal(scale=0.02, size=records)


def test_inverse_distance_by_hand():
    # distances 1, 2 and 4 weigh 4 : 2 : 1; the fourth record is not among the 3 nearest
    estimator = InverseDistance(3).fit(described([[1.0, 0], [0, 2], [-4, 0], [9, 9]]), np.array([0.7, 0.14, 0.28, 50]))
    estimate = estimator.predict(described(np.zeros((1, 2))))
    assert estimate.value[0] == pytest.approx((4 * 0.7 + 2 * 0.14 + 0.28) / 7)
    assert estimate.nearest[0] == 1
    spread = (4 * (0.7 - 0.48) ** 2 + 2 * (0.14 - 0.48) ** 2 + (0.28 - 0.48) ** 2) / 7
    assert estimate.deviation[0] == pytest.approx(spread**0.5)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("neighbours", [1, 3, 50])
def test_inverse_distance_is_its_slow_twin(metric, neighbours):
    representations, rewards = table()
    queries = np.random.default_rng(1).normal(size=(30, 4)) * [1, 10, 0.1, 1]
    got = InverseDistance(neighbours, metric).fit(described(representations), rewards).predict(described(queries)).value
    slow = [oracles.inverse_distance(representations, rewards, query, neighbours, DISTANCE[metric])
            for query in queries]
    np.testing.assert_allclose(got, slow, rtol=1e-9)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_a_record_met_again_returns_its_reward_and_ties_their_mean(metric):
    representations, rewards = table()
    representations[5] = representations[2]
    estimate = InverseDistance(1, metric).fit(described(representations), rewards).predict(described(representations))
    tied = (rewards[2] + rewards[5]) / 2
    expected = np.where(np.isin(np.arange(12), [2, 5]), tied, rewards)
    np.testing.assert_allclose(estimate.value, expected, rtol=1e-12)
    assert (estimate.nearest == 0).all()
    assert estimate.deviation[0] == 0
    assert estimate.deviation[2] == pytest.approx(abs(rewards[2] - rewards[5]) / 2)


def test_ties_of_one_query_do_not_widen_the_neighbourhood_of_another():
    estimator = InverseDistance(1).fit(described([[0.0], [0], [0], [4]]), np.array([0.1, 0.2, 0.6, 0.5]))
    np.testing.assert_allclose(estimator.predict(described([[0.0], [3]])).value, [0.3, 0.5])


def test_a_query_almost_on_a_record_is_finite():
    estimator = InverseDistance(2).fit(described([[0.0], [1], [2]]), np.array([0.5, 1, 1]))
    assert estimator.predict(described([[5e-324]])).value[0] == 0.5


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_distances_and_threshold_are_their_slow_twins(metric):
    representations, _ = table()
    queries = np.vstack([representations[:2], representations[:9] + 0.1])
    got = InverseDistance(3, metric).fit(described(representations), np.zeros(12)).predict(described(queries)).nearest
    slow = [min(DISTANCE[metric](a, b) for b in representations) for a in queries]
    np.testing.assert_allclose(got, slow, rtol=1e-9, atol=1e-12)
    assert (got[:2] == 0).all()
    assert threshold(representations, metric) == pytest.approx(oracles.threshold(representations, DISTANCE[metric]))


def test_threshold_by_hand_and_never_negative():
    # distances 3, 4 and 5
    assert threshold(np.array([[0.0, 0], [3, 0], [0, 4]])) == pytest.approx(4 - (2 / 3) ** 0.5)
    assert threshold(np.array([[0.0], [0], [0], [0], [0], [0], [0], [99]])) == 0


def test_ridge_is_its_slow_twin():
    representations, rewards = table()
    representations[:, 3] = 2.0  # a constant column says nothing
    queries = np.random.default_rng(1).normal(size=(20, 4))
    queries[:, 3] = 2.0
    estimator = Ridge().fit(described(representations), rewards)
    penalty, error = oracles.ridge_penalty(representations, rewards, PENALTIES)
    assert estimator.penalty == penalty
    assert estimator.noise_variance == pytest.approx(error)
    np.testing.assert_allclose(estimator.predict(described(queries)).value,
                               oracles.ridge(representations, rewards, queries, estimator.penalty), rtol=1e-9)


def test_ridge_finds_a_line_and_ignores_noise():
    rng = np.random.default_rng(0)
    representations = rng.normal(size=(30, 5))
    line = Ridge().fit(described(representations), 2 + representations @ [1, 0, -1, 0, 0])
    assert line.predict(described([[1.0, 5, -1, 0, 0]])).value[0] == pytest.approx(4, abs=0.01)
    penalties = [Ridge().fit(described(representations), rng.normal(size=30)).penalty for _ in range(21)]
    assert line.penalty < 0.1
    assert np.median(penalties) > 100


def test_ridge_is_less_sure_far_away_and_in_directions_never_seen():
    rng = np.random.default_rng(0)
    representations = np.column_stack([rng.normal(size=30), np.zeros(30), rng.normal(size=30)])
    representations[0, 1] = 1e-3
    estimator = Ridge().fit(described(representations), representations[:, 0] + rng.normal(scale=0.1, size=30))
    near, far, unseen = estimator.predict(described([[0.0, 0, 0], [6, 0, 0], [0, 3, 0]])).deviation
    assert near < far < unseen


def test_the_deviation_of_ridge_is_that_of_the_posterior_even_with_more_columns_than_records():
    rng = np.random.default_rng(0)
    representations, queries = rng.normal(size=(8, 12)), rng.normal(size=(5, 12))
    estimator = Ridge().fit(described(representations), representations[:, 0])
    design, points = ((part - representations.mean(0)) / representations.std(0) for part in (representations, queries))
    posterior = np.linalg.inv(design.T @ design + estimator.penalty * np.eye(12))
    slow = np.sqrt(estimator.noise_variance * (1 / 8 + np.einsum("qi,ij,qj->q", points, posterior, points)))
    np.testing.assert_allclose(estimator.predict(described(queries)).deviation, slow, rtol=1e-6)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_added_records_count_as_if_fitted_with_the_others(name):
    representations, rewards = table()
    estimator = ESTIMATORS[name].fit(described(representations[:9]), rewards[:9])
    before = estimator.threshold
    estimator.add(described(representations[9:]), rewards[9:])
    after, queries = estimator.predict(described(representations + 0.1)), representations + 0.1
    whole = copy.copy(estimator).fit(described(representations), rewards)
    np.testing.assert_array_equal(after.value, whole.predict(described(queries)).value)
    assert estimator.threshold == whole.threshold != before


@pytest.mark.parametrize("name", ESTIMATORS)
def test_queries_do_not_influence_one_another(name):
    representations, rewards = table()
    estimator = ESTIMATORS[name].fit(described(representations), rewards)
    queries = np.vstack([representations[:2], representations[2:5] + 0.3])
    together = estimator.predict(described(queries))
    alone = [estimator.predict(described(query[None])) for query in queries]
    np.testing.assert_allclose(together.value, [estimate.value[0] for estimate in alone], rtol=1e-12)
    np.testing.assert_allclose(together.deviation, [estimate.deviation[0] for estimate in alone], atol=1e-12)


def test_the_estimator_that_the_settings_name():
    seen = inspection()
    represent = Representation(("mean", "histogram"), seen, *sets(seen.ids), 10, 0)
    distance = make_estimator(TableConfig(estimator="inverse_distance", metric="cosine", neighbours=7), represent, 0)
    assert (type(distance), distance.metric, distance.neighbours) == (InverseDistance, "cosine", 7)
    assert isinstance(make_estimator(TableConfig(estimator="ridge"), represent, 0), Ridge)
    process = make_estimator(TableConfig(estimator="gp"), represent, 0)
    assert (type(process), process.names) == (GaussianProcess, represent.names)
    ensemble = make_estimator(TableConfig(estimator="ensemble"), represent, 7)
    assert (type(ensemble), ensemble.members, ensemble.seed) == (Ensemble, 8, 7)
    np.testing.assert_allclose(ensemble.images.numpy(), represent.images, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("rows", "rewards", "noise", "words"), [
    (np.zeros((4, 2)), np.zeros(3), None, r"a reward and a noise for each of 4 batches, got \(3,\) and \(3,\)"),
    (np.zeros((4, 2)), np.zeros(4), np.ones(3), r"for each of 4 batches, got \(4,\) and \(3,\)"),
    (np.zeros((2, 2)), np.zeros(2), None, "expected at least 3 records, got 2"),
    (np.zeros((3, 2)), np.array([0, np.nan, 0]), None, "expected finite records and rewards, got a NaN or an infinity"),
    (np.full((3, 2), np.inf), np.zeros(3), None, "expected finite records and rewards"),
    (np.zeros((3, 2)), np.zeros(3), np.array([1, 0, 1]), "expected finite noises above 0, got others")])
def test_records_that_cannot_be_learnt_are_refused(rows, rewards, noise, words):
    with pytest.raises(ValueError, match=words):
        InverseDistance().fit(described(rows), rewards, noise)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_records_of_less_noise_count_as_often_as_they_are_more_precise(name):
    rows, rewards = table()
    times = np.random.default_rng(2).integers(1, 4, 12)
    queries = described(np.vstack([rows + 0.1, rows[:3]]))
    weighted = ESTIMATORS[name].fit(described(rows), rewards, 1 / times).predict(queries)
    estimator = ESTIMATORS[name]
    if name != "ridge":  # so that all of the repeats are among the nearest
        estimator, weighted = (type(estimator)(neighbours, estimator.metric) for neighbours in (times.sum(), 12))
        weighted = weighted.fit(described(rows), rewards, 1 / times).predict(queries)
    repeated = estimator.fit(described(np.repeat(rows, times, axis=0)), np.repeat(rewards, times)).predict(queries)
    np.testing.assert_allclose(weighted.value, repeated.value, rtol=1e-9)
    # as for ridge, repeats that agree to the last digit tell of less noise than one record does
    agreement = (times.sum() / 12) ** 0.5 if name == "ridge" else 1
    np.testing.assert_allclose(weighted.deviation, agreement * repeated.deviation, rtol=1e-8)


def test_the_noise_of_weighted_ridge_is_the_error_of_its_fits_without_each_batch():
    rows, rewards = table()
    rows[7], noise = rows[4], np.random.default_rng(2).choice([0.25, 1, 4], 12)
    estimator = Ridge().fit(described(rows), rewards, noise)
    design, total = (rows - estimator.mean) / estimator.scale, 0.0
    for row in range(12):
        keep = (rows != rows[row]).any(axis=1)
        root, x = 1 / np.sqrt(noise[keep]), design[keep]
        middle, level = (np.average(part, axis=0, weights=root**2) for part in (x, rewards[keep]))
        x, y = root[:, None] * (x - middle), root * (rewards[keep] - level)
        weights = np.linalg.solve(x.T @ x + estimator.penalty * np.eye(4), x.T @ y)
        total += (rewards[row] - level - (design[row] - middle) @ weights) ** 2 / noise[row]
    assert estimator.noise_variance == pytest.approx(total / 12)


def test_batches_are_picked_and_joined():
    batches = Described(np.arange(8.0).reshape(4, 2), sparse.csr_array(np.eye(4, 6)))
    by_mask, by_rows = batches[np.array([True, False, False, True])], batches[[3, 0]]
    picked = Described.joined([batches[2], batches[1:2], by_mask, by_rows])
    assert picked.rows[:, 0].tolist() == [4, 2, 0, 6, 6, 0]
    np.testing.assert_array_equal(picked.shares.toarray(), np.eye(4, 6)[[2, 1, 0, 3, 3, 0]])
    assert (len(picked), picked.shares.format) == (6, "csr")
