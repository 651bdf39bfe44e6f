import numpy as np
import pytest

from mgral.lookup.estimator import Estimator, InverseDistance, LeftOut, Ridge
from mgral.lookup.quality import Quality, assess, leave_one_out, loo_r2, spearman
from tests.lookup.pools import described


class Mean(Estimator):
    """Knows nothing but the mean reward, weighted by the inverse of the noise."""

    noise_variance = 1.0

    def _leave_out(self, described, rewards, noise, groups):
        return self._refitted(described, rewards, noise, groups)

    def _learn(self, added):
        self.mean = np.average(self.rewards, weights=1 / self.noise)

    def _estimate(self, queries, between):
        return np.full(len(queries), self.mean), np.zeros(len(queries))


def table(noise):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(30, 3))
    return described(rows), rows @ [1, -1, 0] + noise * rng.normal(size=30)


def test_leave_one_out_by_hand():
    left = leave_one_out(InverseDistance(1), described([[0.0], [1], [3], [7]]), np.array([1.0, 2, 3, 4]))
    assert left.value.tolist() == [2, 1, 2, 3]


def test_repeats_are_left_out_together():
    records, rewards = described([[0.0], [0], [1], [3], [7]]), np.array([1.0, 2, 3, 4, 5])
    assert leave_one_out(InverseDistance(1), records, rewards).value.tolist() == [2, 1, 1, 3, 4]
    left = leave_one_out(InverseDistance(1), records, rewards, groups=np.array(["a", "a", "b", "c", "d"]))
    assert left.value.tolist() == [3, 3, 1, 3, 4]


def test_the_deviation_of_a_record_left_out_has_its_noise():
    left = leave_one_out(Mean(), *table(1.0), noise=np.arange(1.0, 31))
    np.testing.assert_allclose(left.deviation, np.sqrt(np.arange(1.0, 31)))


def test_r2_by_hand():
    # means of the others 3, 2.5 and 0.5: squared errors 9, 2.25 and 20.25
    assert loo_r2(np.array([0.0, 1, 5]), np.array([1.0, 1, 4])) == pytest.approx(1 - 2 / 31.5)


def test_the_mean_of_the_others_has_an_r2_of_zero():
    records, rewards = table(1.0)
    assert loo_r2(rewards, leave_one_out(Mean(), records, rewards).value) == pytest.approx(0, abs=1e-12)
    noise, groups = np.arange(1.0, 31), np.arange(30) // 3
    left = leave_one_out(Mean(), records, rewards, noise, groups)
    assert loo_r2(rewards, left.value, noise, groups) == pytest.approx(0, abs=1e-12)


def test_calibration_by_hand():
    left = LeftOut(np.zeros(4), np.array([1.0, 1, 1, 2]))
    quality = Quality.of(np.array([0.5, 1.5, 3.0, -2.0]), left)
    assert quality.within_one == 0.5


def test_the_deviations_of_ridge_are_right_where_the_truth_is_a_line():
    rng = np.random.default_rng(1)
    rows, noise = rng.normal(size=(200, 4)), rng.choice([0.25, 1, 4], 200)
    quality = assess(Ridge(), described(rows), rows @ [1, 2, 0, -1] + np.sqrt(noise) * rng.normal(size=200), noise)
    assert quality.within_one == pytest.approx(0.68, abs=0.08)


def test_spearman_by_hand():
    assert spearman(np.array([1.0, 2, 3, 4]), np.array([0.1, 0.2, 9.0, 0.3])) == pytest.approx(1 - 6 * 2 / 60)


def test_constant_rewards_predict_nothing():
    assert loo_r2(np.ones(5), np.ones(5)) == 0
    assert spearman(np.ones(5), np.arange(5.0)) == spearman(np.arange(5.0), np.ones(5)) == 0


def test_a_table_that_follows_a_line_is_reliable_and_one_of_noise_does_not():
    good, bad = assess(Ridge(), *table(0.1)), assess(Ridge(), table(0)[0], np.random.default_rng(3).normal(size=30))
    assert good.reliable
    assert str(good) == (f"This table can guide a search for its reward (leave-one-out R² {good.loo_r2:.2f}, Spearman "
                         f"{good.spearman:.2f}, 30 records).")
    assert not bad.reliable
    assert str(bad).startswith("This table cannot guide a search: its estimates hardly follow its own records (leave")


def test_the_border_is_an_r2_of_a_tenth():
    assert Quality(20, 0.1, 0.0, 0.0).reliable
    assert not Quality(20, 0.0999, 1.0, 0.68).reliable


def test_the_estimator_judged_stays_as_it_is():
    records, rewards = table(0.1)
    estimator = Ridge().fit(records, rewards)
    before = estimator.weights.copy()
    assess(estimator, records, rewards)
    np.testing.assert_array_equal(estimator.weights, before)


def test_too_few_records_are_refused():
    with pytest.raises(ValueError, match="expected at least 3 records beside any group .* got 3 records with 1 of one"):
        assess(Ridge(), described(np.zeros((3, 1))), np.zeros(3))
    with pytest.raises(ValueError, match="got 9 records with 7 of one group"):
        assess(Ridge(), described(np.zeros((9, 1))), np.zeros(9), groups=np.array([0] * 7 + [1, 2]))
    with pytest.raises(ValueError, match=r"expected a group for each of 9 records, got \(8,\)"):
        assess(Ridge(), described(np.zeros((9, 1))), np.zeros(9), groups=np.zeros(8))
