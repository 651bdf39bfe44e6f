import copy

import numpy as np
import pytest
from scipy import sparse

from mgral.lookup.described import Described
from mgral.lookup.estimator import Ensemble, InverseDistance
from mgral.lookup.quality import leave_one_out

NAMES = ("a/0", "a/1")
IMAGES = np.random.default_rng(0).normal(size=(80, 3))


def batches(count, seed=0, size=8, shift=0.0):
    """Rows that say little, and images that say much."""
    rng = np.random.default_rng(seed)
    members = np.argsort(IMAGES[:, 0] * rng.normal(size=(count, 1)) + rng.gumbel(size=(count, 80)), axis=1)[:, :size]
    shares = sparse.csr_array((np.full(count * size, 1 / size), members.ravel(), np.arange(count + 1) * size),
                              shape=(count, 80))
    rows = np.column_stack([rng.normal(size=count), shares @ IMAGES[:, 1]]) + shift
    return Described(rows, shares), shares @ np.maximum(IMAGES[:, 0], 0) + shares @ IMAGES[:, 1]


def ensemble(members=4, seed=0):
    return Ensemble(IMAGES, NAMES, seed, members=members)


RECORDS, REWARDS = batches(60)


def test_it_learns_what_only_the_images_tell():
    queries, truth = batches(200, seed=1)
    ours, theirs = (((estimator.fit(RECORDS, REWARDS).predict(queries).value - truth) ** 2).mean() / truth.var()
                    for estimator in (ensemble(8), InverseDistance()))
    assert ours < 0.35
    assert ours < 0.6 * theirs


def test_the_order_of_images_in_a_batch_and_of_batches_says_nothing():
    model = ensemble().fit(RECORDS, REWARDS)
    shares = RECORDS.shares.copy()
    for row in range(60):
        shares.indices[row * 8:row * 8 + 8] = shares.indices[row * 8:row * 8 + 8][::-1]
    mixed = model.predict(Described(RECORDS.rows, shares)[::-1])
    plain = model.predict(RECORDS)
    np.testing.assert_allclose(mixed.value[::-1], plain.value, atol=1e-5)
    np.testing.assert_allclose(mixed.deviation[::-1], plain.deviation, atol=1e-5)


def test_the_mean_over_images_by_definition():
    model = ensemble(2).fit(RECORDS, REWARDS)
    queries = batches(3, seed=4)[0]
    weights, bias = (part.numpy().astype(float) for part in model.image)
    first, middle, second, last = (part.numpy().astype(float) for part in model.batch)
    outputs = np.empty((2, 3))
    for member in range(2):
        for row in range(3):
            pooled = np.maximum(IMAGES[queries.shares[[row]].indices] @ weights[member] + bias[member], 0).mean(axis=0)
            part = slice(member * len(pooled), (member + 1) * len(pooled))
            pooled = (pooled - model.level[part].numpy()) / model.breadth[part].numpy()
            both = np.concatenate([pooled, (queries.rows[row] - model.centre) / model.scale])
            hidden = np.maximum(both @ first[member] + middle[member], 0)
            outputs[member, row] = (hidden @ second[member] + last[member])[0, 0]
    estimate = model.predict(queries)
    np.testing.assert_allclose(estimate.value, model.offset + model.unit * outputs.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(estimate.deviation, model.unit * outputs.std(axis=0, ddof=1), rtol=1e-3)


def test_the_same_seed_gives_the_same_and_another_does_not():
    first, again, reseeded = (ensemble(seed=seed).fit(RECORDS, REWARDS).predict(RECORDS).value for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - reseeded).max() > 0


def test_it_is_less_sure_away_from_the_records():
    model = ensemble(8).fit(RECORDS, REWARDS)
    near, far = (model.predict(batches(60, seed=2, shift=shift)[0]).deviation.mean() for shift in (0, 15))
    assert far > 3 * near


def test_added_records_change_it_and_are_learnt_from_where_it_stands():
    model = ensemble(8).fit(RECORDS, REWARDS)
    more, truth = batches(60, seed=3)
    truth = truth + 0.5 * REWARDS.std()  # what it holds of them so far is wrong
    before, start = model.predict(more).value, model.batch[0].numpy().copy()
    model.add(more, truth)
    fresh = ensemble(8).fit(RECORDS, REWARDS)
    assert ((model.predict(more).value - truth) ** 2).mean() < 0.7 * ((before - truth) ** 2).mean()
    assert 0 < np.abs(model.batch[0].numpy() - start).mean() < np.abs(start).mean()
    assert len(model.rewards) == 120
    assert model.threshold == fresh.fit(Described.joined([RECORDS, more]), np.append(REWARDS, truth)).threshold


def test_the_same_additions_give_the_same():
    def predicted():
        model = ensemble().fit(RECORDS, REWARDS)
        for row in range(3):
            model.add(batches(3, seed=5)[0][row], np.array([0.5]))
        return model.predict(RECORDS).value

    np.testing.assert_array_equal(predicted(), predicted())


def test_noise_is_told_from_what_can_be_learnt():
    rng = np.random.default_rng(6)
    records, truth = batches(200, seed=7)
    noisy = ensemble(8).fit(records, truth + truth.std() * rng.normal(size=200)).noise_variance
    assert noisy == pytest.approx(truth.var(), rel=0.5)
    assert ensemble(8).fit(records, truth).noise_variance < 0.3 * truth.var()


def test_the_noise_is_by_definition_what_errors_exceed_the_spread_by():
    noise = np.random.default_rng(8).choice([0.5, 2.0], 60)
    rewards = REWARDS + REWARDS.std() * np.random.default_rng(9).normal(size=60)
    model = ensemble(3).fit(RECORDS, rewards, noise)
    outputs = model.offset + model.unit * model._members(RECORDS).numpy().astype(float)
    excess = [((outputs[member, row] - rewards[row]) ** 2 - outputs[:, row].var(ddof=1)) / noise[row]
              for member in range(3) for row in range(60) if model.drawn[member, row] == 0]
    assert model.noise_variance == pytest.approx(np.mean(excess), rel=1e-3)


def test_a_record_of_much_noise_counts_for_little():
    records, rewards = RECORDS, REWARDS.copy()
    rewards[:5] += 20 * REWARDS.std()
    noise = np.where(np.arange(60) < 5, 1e4, 1.0)
    weighted = ensemble(8).fit(records, rewards, noise).predict(records[5:])
    misled = ensemble(8).fit(records, rewards).predict(records[5:])
    errors = [((estimate.value - REWARDS[5:]) ** 2).mean() for estimate in (weighted, misled)]
    assert errors[0] < 0.1 * errors[1]


def test_ten_fits_leave_every_group_out_once(monkeypatch):
    fits, fit = [], Ensemble.fit
    monkeypatch.setattr(Ensemble, "fit", lambda self, *args: fits.append(len(args[0])) or fit(self, *args))
    model = ensemble(2)
    left = leave_one_out(copy.copy(model), RECORDS, REWARDS, groups=np.arange(60) // 2)
    assert fits == [54] * 10
    assert np.isfinite(left.value).all()
    assert (left.deviation > 0).all()
