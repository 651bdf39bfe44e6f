import math
from collections import Counter

import numpy as np
import pytest
import torch

from mgral.search.gradient import advantages, entropy, log_prob, loss, sample_batches, standardised
from tests import oracles

SCORES = [0.3, -1.2, 0.9, 0.0]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pool(scores=SCORES) -> torch.Tensor:
    return torch.tensor(scores, dtype=torch.float64, requires_grad=True)


def test_log_prob_by_hand():
    A = torch.tensor([math.log(3), math.log(2), math.log(1)])
    # first 3/6, then 1/3 of what is left
    assert log_prob(A, torch.tensor([[0, 2]])).exp().item() == pytest.approx(3 / 6 * 1 / 3)
    assert log_prob(A, torch.tensor([[0, 2, 1]])).exp().item() == pytest.approx(3 / 6 * 1 / 3)


@pytest.mark.parametrize("budget", [1, 2, 3, 4])
def test_the_probabilities_of_all_ordered_batches_are_exact_and_sum_to_one(budget):
    batches = oracles.ordered_batches(4, budget)
    probabilities = log_prob(pool(), torch.tensor(batches)).exp().detach()
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(probabilities, [oracles.plackett_luce(SCORES, batch) for batch in batches], rtol=1e-12)


@pytest.mark.parametrize("budget", [1, 3, 4])
def test_the_gradient_of_log_prob_is_that_of_finite_differences(budget):
    rows = torch.tensor(oracles.ordered_batches(4, budget)[::5])
    assert torch.autograd.gradcheck(lambda A: log_prob(A, rows), pool())


def test_log_prob_is_finite_for_scores_far_apart():
    A = torch.tensor([500.0, 0.0, -500.0, 400.0], requires_grad=True)
    value = log_prob(A, torch.tensor([[2, 0], [0, 3]]))
    assert value.tolist() == [-1000.0, 0.0]
    value.sum().backward()
    assert torch.isfinite(A.grad).all()


def test_sampled_frequencies_are_the_probabilities():
    rows = sample_batches(pool(), 2, 40_000, seeded())
    counts = Counter(map(tuple, rows.tolist()))
    for batch in oracles.ordered_batches(4, 2):
        probability = oracles.plackett_luce(SCORES, batch)
        error = math.sqrt(probability * (1 - probability) / 40_000)
        assert abs(counts[batch] / 40_000 - probability) < 4.5 * error


def test_batches_hold_distinct_rows_and_follow_the_generator():
    first, again = (sample_batches(pool(), 4, 20, seeded(7)) for _ in range(2))
    assert torch.equal(first, again)
    assert all(sorted(batch) == [0, 1, 2, 3] for batch in first.tolist())


@pytest.mark.parametrize("budget", [0, 5])
def test_a_batch_larger_than_the_pool_is_refused(budget):
    with pytest.raises(ValueError, match=f"expected a batch of 1 to 4 images, got {budget}"):
        sample_batches(pool(), budget, 1, seeded())


def test_entropy_by_hand():
    assert entropy(torch.zeros(8)).item() == pytest.approx(math.log(8))
    assert entropy(torch.tensor([60.0, 0.0])).item() == pytest.approx(0, abs=1e-6)
    assert entropy(torch.tensor([math.log(3), 0.0])).item() == pytest.approx(math.log(4) - 0.75 * math.log(3))


def test_the_papers_reference_by_hand():
    # λ = 0.8: 0.8·0.5 + 0.2·(1.0 - 0.5) = 0.5, then 1.0 - 0.5
    advantage, reference = advantages(torch.tensor([1.0]), 0.5, "paper", 0.8)
    assert (advantage.item(), reference) == (pytest.approx(0.5), pytest.approx(0.5))


@pytest.mark.parametrize("before", [None, 0.0, 0.3, -2.0])
def test_the_papers_reference_collapses_to_half_the_reward(before):
    advantage, reference = advantages(torch.tensor([0.6], dtype=torch.float64), before, "paper", 0.5)
    assert reference == pytest.approx(0.3)
    assert advantage.item() == pytest.approx(0.3)


def test_the_moving_average_is_subtracted_before_it_is_updated():
    advantage, reference = advantages(torch.tensor([0.4, 0.8]), 0.5, "ema", 0.75)
    torch.testing.assert_close(advantage, torch.tensor([-0.1, 0.3]))
    assert reference == pytest.approx(0.75 * 0.5 + 0.25 * 0.6)


def test_the_moving_average_begins_at_the_first_mean():
    advantage, reference = advantages(torch.tensor([0.25, 0.75]), None, "ema", 0.9)
    assert advantage.tolist() == [-0.25, 0.25]
    assert reference == pytest.approx(0.5)


def test_leave_one_out_by_hand():
    advantage, reference = advantages(torch.tensor([1.0, 2.0, 6.0]), None, "rloo", 0.5)
    torch.testing.assert_close(advantage, torch.tensor([1 - 4.0, 2 - 3.5, 6 - 1.5]))
    assert reference == pytest.approx(3)


def test_leave_one_out_needs_two_batches():
    with pytest.raises(ValueError, match="expected at least 2 batches an iteration for the baseline rloo, got 1"):
        advantages(torch.tensor([1.0]), None, "rloo", 0.5)


def test_an_unknown_baseline_is_refused():
    with pytest.raises(ValueError, match="expected a baseline paper, ema or rloo, got 'none'"):
        advantages(torch.tensor([1.0]), None, "none", 0.5)


def test_standardised_advantages_do_not_depend_on_the_rewards_units():
    advantage = torch.tensor([-1.0, 0.5, 0.5])
    torch.testing.assert_close(standardised(advantage), standardised(advantage * 1e-4))
    assert standardised(advantage).square().mean().item() == pytest.approx(1)
    assert standardised(torch.zeros(3)).tolist() == [0, 0, 0]


def test_loss_by_hand():
    log_pi = torch.tensor([-1.0, -3.0], requires_grad=True)
    value = loss(log_pi, torch.tensor([0.5, -1.0]))
    assert value.item() == pytest.approx(-(0.5 * -1 + -1 * -3) / 2)
    value.backward()
    assert log_pi.grad.tolist() == [-0.25, 0.5]


def reward(rows: torch.Tensor) -> torch.Tensor:
    """Of the set, not of the order: images 0 and 3 are worth more together."""
    worth = torch.tensor([0.2, 0.5, 0.1, 0.3], dtype=torch.float64)[rows].sum(1)
    return worth + 0.4 * ((rows == 0).any(1) & (rows == 3).any(1))


def enumerated_gradient() -> torch.Tensor:
    """Gradient of the expected reward, by summing over all ordered batches of two."""
    A, rows = pool(), torch.tensor(oracles.ordered_batches(4, 2))
    (log_prob(A, rows).exp() * reward(rows)).sum().backward()
    return A.grad


def estimated_gradients(baseline: str, batches: int, iterations: int = 20_000) -> torch.Tensor:
    """(iterations, 4) gradients as the search takes them, the policy standing still."""
    A, generator, reference, gradients = pool(), seeded(1), 0.35, []
    rows = sample_batches(A, 2, batches * iterations, generator)
    every = oracles.ordered_batches(4, 2)
    slopes = torch.stack([torch.autograd.grad(log_prob(A, torch.tensor([batch])).sum(), A)[0] for batch in every])
    slopes = slopes[[every.index(tuple(batch)) for batch in rows.tolist()]].view(iterations, batches, 4)
    for values, slope in zip(reward(rows).view(iterations, batches), slopes, strict=True):
        advantage, reference = advantages(values, reference, baseline, 0.5)
        gradients.append(advantage @ slope / batches)
    return torch.stack(gradients)


@pytest.mark.parametrize(("baseline", "share"), [("ema", 1), ("rloo", 1), ("paper", 5 / 6)])
def test_the_mean_of_the_gradient_estimates(baseline, share):
    """With 3 batches: `ema` and `rloo` are unbiased; `paper` takes off half the mean, a third of which is the batch's
    own reward, and with it a sixth of the gradient."""
    gradients, truth = estimated_gradients(baseline, 3), enumerated_gradient()
    error = gradients.std(0) / math.sqrt(len(gradients))
    assert (error < 0.04 * truth.norm()).all()  # fine enough to notice a sixth
    assert ((gradients.mean(0) - share * truth).abs() < 4 * error).all()


def test_the_variance_that_a_baseline_leaves():
    """Variance a batch over the squared mean, here: how many batches it takes to tell the gradient from noise."""
    def left(baseline, batches):
        gradients = estimated_gradients(baseline, batches, 8000)
        return float(batches * gradients.var(0).sum() / gradients.mean(0).square().sum())

    ema, rloo = left("ema", 8), left("rloo", 8)  # measured 4.3 and 4.8
    assert 3.5 < ema < 5.5
    assert 3.5 < rloo < 5.5
    assert left("paper", 8) > 2 * max(ema, rloo)  # 13
    assert left("paper", 1) > 4 * left("ema", 1)  # 29 and 5.4


def test_the_papers_baseline_halves_the_gradient():
    """At λ = 0.5 with one batch an iteration the advantage is half the reward: always positive, no baseline at all."""
    A, rows = pool(), torch.tensor(oracles.ordered_batches(4, 2))
    halves = torch.stack([advantages(value[None], 0.9, "paper", 0.5)[0][0] for value in reward(rows)])
    assert (halves > 0).all()
    expected, = torch.autograd.grad((log_prob(A, rows).exp().detach() * halves * log_prob(A, rows)).sum(), A)
    torch.testing.assert_close(expected, enumerated_gradient() / 2)
