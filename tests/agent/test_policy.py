import pytest
import torch

from mgral.agent.policy import Policy
from tests import oracles


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
@pytest.mark.parametrize("images", [1, 2, 40])
def test_the_folded_recurrence_is_the_stepwise_one_gradients_included(dtype, tolerance, images):
    policy = Policy(seeded(), embedding=8).to(dtype)
    with torch.no_grad():
        policy.lstm.weight_ih_l0[:, -1] *= 5  # make the fed-back score matter
    embedding = torch.randn(images, 8, generator=seeded(1)).to(dtype)
    weights = torch.randn(images, generator=seeded(2)).to(dtype)
    fast, slow = policy.scores(embedding), oracles.policy_scores(policy, embedding)
    torch.testing.assert_close(fast, slow, atol=tolerance, rtol=0)
    parameters = list(policy.parameters())
    for got, expected in zip(torch.autograd.grad(fast @ weights, parameters),
                             torch.autograd.grad(slow @ weights, parameters), strict=True):
        torch.testing.assert_close(got, expected, atol=10 * tolerance, rtol=0)


def test_the_score_fed_back_changes_the_scores_that_follow():
    policy = Policy(seeded(), embedding=4)
    embedding = torch.randn(5, 4, generator=seeded(1))
    before = policy.scores(embedding)
    with torch.no_grad():
        policy.lstm.weight_ih_l0[:, -1] = 0
    after = policy.scores(embedding)
    assert before[0] == after[0]
    assert not torch.isclose(before[1:], after[1:]).any()


def test_the_lstm_holds_257_values():
    policy = Policy(seeded())
    assert (policy.lstm.input_size, policy.lstm.hidden_size, policy.decoder.out_features) == (257, 257, 1)


def test_the_same_generator_gives_the_same_policy_and_the_global_one_is_left_alone():
    before = torch.random.get_rng_state()
    one, two, other = (Policy(seeded(seed), embedding=4) for seed in (3, 3, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.decoder.weight, other.decoder.weight)
    assert all(parameter.abs().max() <= 5**-0.5 for parameter in one.parameters())
