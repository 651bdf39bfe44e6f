import numpy as np
import pytest

from mgral.lookup.estimator import InverseDistance, Ridge
from mgral.lookup.quality import Quality, assess, leave_one_out, loo_r2, spearman


class Mean:
    """Knows nothing but the mean reward."""

    def fit(self, _, rewards):
        self.mean = rewards.mean()
        return self

    def predict(self, queries):
        return type("Estimate", (), {"value": np.full(len(queries), self.mean)})


def table(noise):
    rng = np.random.default_rng(0)
    representations = rng.normal(size=(30, 3))
    return representations, representations @ [1, -1, 0] + noise * rng.normal(size=30)


def test_leave_one_out_by_hand():
    estimates = leave_one_out(InverseDistance(1), np.array([[0.0], [1], [3], [7]]), np.array([1.0, 2, 3, 4]))
    assert estimates.tolist() == [2, 1, 2, 3]


def test_r2_by_hand():
    # means of the others 3, 2.5 and 0.5: squared errors 9, 2.25 and 20.25
    assert loo_r2(np.array([0.0, 1, 5]), np.array([1.0, 1, 4])) == pytest.approx(1 - 2 / 31.5)


def test_the_mean_of_the_others_has_an_r2_of_zero():
    representations, rewards = table(1.0)
    assert loo_r2(rewards, leave_one_out(Mean(), representations, rewards)) == pytest.approx(0, abs=1e-12)


def test_spearman_by_hand():
    assert spearman(np.array([1.0, 2, 3, 4]), np.array([0.1, 0.2, 9.0, 0.3])) == pytest.approx(1 - 6 * 2 / 60)


def test_constant_rewards_foretell_nothing():
    assert loo_r2(np.ones(5), np.ones(5)) == 0
    assert spearman(np.ones(5), np.arange(5.0)) == spearman(np.arange(5.0), np.ones(5)) == 0


def test_a_table_that_follows_a_line_guides_and_one_of_noise_does_not():
    good, bad = assess(Ridge(), *table(0.1)), assess(Ridge(), table(0)[0], np.random.default_rng(3).normal(size=30))
    assert good.guides
    assert str(good) == (f"This table can guide a search (leave-one-out R² {good.loo_r2:.2f}, Spearman "
                         f"{good.spearman:.2f}, 30 records).")
    assert not bad.guides
    assert str(bad).startswith("This table cannot guide a search: its estimates hardly follow its own records (leave")


def test_the_border_is_an_r2_of_a_tenth():
    assert Quality(20, 0.1, 0.0).guides
    assert not Quality(20, 0.0999, 1.0).guides


def test_the_estimator_judged_stays_as_it_is():
    representations, rewards = table(0.1)
    estimator = Ridge().fit(representations, rewards)
    before = estimator.weights.copy()
    assess(estimator, representations, rewards)
    np.testing.assert_array_equal(estimator.weights, before)


def test_too_few_records_are_refused():
    with pytest.raises(ValueError, match="expected at least 4 records to leave one out, got 3"):
        assess(Ridge(), np.zeros((3, 1)), np.zeros(3))
