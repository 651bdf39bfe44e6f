import pytest
import torch

from mgral.search.gradient import log_prob, loss
from mgral.search.policy import Policy
from tests import oracles

IMAGES = 40


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_policy(dtype=torch.float64, **mode) -> Policy:
    """With a fed-back score that matters."""
    policy = Policy(seeded(), embedding=8, **mode).to(dtype)
    with torch.no_grad():
        policy.lstm.weight_ih_l0[:, -1] *= 5
    return policy


def assert_equals_the_oracle(policy: Policy, images: int, dtype, tolerance: float) -> None:
    """Scores and gradients against equations (1) and (2) written out."""
    embedding = torch.randn(images, 8, generator=seeded(1)).to(dtype)
    weights = torch.randn(images, generator=seeded(2)).to(dtype)
    fast, slow = policy.scores(embedding), oracles.policy_scores(policy, embedding)
    torch.testing.assert_close(fast, slow, atol=tolerance, rtol=0)
    parameters = list(policy.parameters())
    for got, expected in zip(torch.autograd.grad(fast @ weights, parameters),
                             torch.autograd.grad(slow @ weights, parameters), strict=True):
        torch.testing.assert_close(got, expected, atol=10 * tolerance, rtol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
@pytest.mark.parametrize("images", [1, 2, 40])
def test_the_folded_recurrence_is_the_stepwise_one_gradients_included(dtype, tolerance, images):
    assert_equals_the_oracle(make_policy(dtype), images, dtype, tolerance)


def test_so_is_that_of_a_decoder_for_each_image():
    assert_equals_the_oracle(make_policy(images=IMAGES), IMAGES, torch.float64, 1e-12)


@pytest.mark.parametrize("mode", [{}, {"images": 5}])
def test_the_policy_gradient_is_that_of_the_expected_reward_by_enumeration(mode):
    """A pool of 5, all ordered batches of 2, scored and drawn from the definitions; every parameter in every mode."""
    policy = make_policy(**mode)
    embedding = torch.randn(5, 8, generator=seeded(1)).double()
    rows = torch.tensor(oracles.ordered_batches(5, 2))
    rewards = torch.randn(5, 5, generator=seeded(2)).double()[rows[:, 0], rows[:, 1]]
    chances = oracles.policy_scores(policy, embedding).softmax(0)
    first, second = chances[rows[:, 0]], chances[rows[:, 1]]
    expected = torch.autograd.grad((first * second / (1 - first) * rewards).sum(), list(policy.parameters()))
    log_pi = log_prob(policy.scores(embedding), rows)
    weights = (log_pi.exp() * rewards).detach() * len(rows)  # every batch drawn as often as is likely
    gradients = torch.autograd.grad(-loss(log_pi, weights), list(policy.parameters()))
    for got, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-12, rtol=0)


def test_equal_decoders_of_all_images_are_the_shared_one():
    embedding = torch.randn(IMAGES, 8, generator=seeded(1)).double()
    shared, own = make_policy(), make_policy(images=IMAGES)
    own.lstm.load_state_dict(shared.lstm.state_dict())
    with torch.no_grad():
        own.decoder.weight[:] = shared.decoder.weight
        own.decoder.bias[:] = shared.decoder.bias
    torch.testing.assert_close(own.scores(embedding), shared.scores(embedding), atol=1e-12, rtol=0)


@pytest.mark.parametrize("mode", [{}, {"images": 5}])
def test_the_score_fed_back_changes_the_scores_that_follow(mode):
    policy = Policy(seeded(), embedding=4, **mode)
    embedding = torch.randn(5, 4, generator=seeded(1))
    before = policy.scores(embedding)
    with torch.no_grad():
        policy.lstm.weight_ih_l0[:, -1] = 0
    after = policy.scores(embedding)
    assert before[0] == after[0]
    assert not torch.isclose(before[1:], after[1:]).any()


def test_the_lstm_holds_257_values():
    policy = Policy(seeded(), 256)
    assert (policy.lstm.input_size, policy.lstm.hidden_size, policy.decoder.out_features) == (257, 257, 1)


def test_the_same_generator_gives_the_same_policy_and_the_global_one_is_left_alone():
    before = torch.random.get_rng_state()
    first, again, reseeded = (Policy(seeded(seed), embedding=4) for seed in (3, 3, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.decoder.weight, reseeded.decoder.weight)
    assert all(parameter.abs().max() <= 5**-0.5 for parameter in first.parameters())
