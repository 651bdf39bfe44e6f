import pytest
import torch

from mgral.agent.gradient import log_prob, loss
from mgral.agent.policy import Policy
from tests import oracles

IMAGES = 40
MODES = [{}, {"segments": 3}, {"bidirectional": True}, {"segments": 7, "bidirectional": True}, {"images": IMAGES},
         {"images": IMAGES, "segments": 3, "bidirectional": True}]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def policy(dtype=torch.float64, **mode) -> Policy:
    """With a fed-back score that matters."""
    made = Policy(seeded(), embedding=8, **mode).to(dtype)
    with torch.no_grad():
        for reader in made.readers:
            reader.lstm.weight_ih_l0[:, -1] *= 5
    return made


def compare(made: Policy, images: int, dtype, tolerance: float) -> None:
    """Scores and gradients against equations (1) and (2) written out."""
    embedding = torch.randn(images, 8, generator=seeded(1)).to(dtype)
    weights = torch.randn(images, generator=seeded(2)).to(dtype)
    fast, slow = made.scores(embedding), oracles.policy_scores(made, embedding)
    torch.testing.assert_close(fast, slow, atol=tolerance, rtol=0)
    parameters = list(made.parameters())
    for got, expected in zip(torch.autograd.grad(fast @ weights, parameters),
                             torch.autograd.grad(slow @ weights, parameters), strict=True):
        torch.testing.assert_close(got, expected, atol=10 * tolerance, rtol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
@pytest.mark.parametrize("images", [1, 2, 40])
def test_the_folded_recurrence_is_the_stepwise_one_gradients_included(dtype, tolerance, images):
    compare(policy(dtype), images, dtype, tolerance)


@pytest.mark.parametrize("mode", MODES[1:])
def test_so_it_is_in_every_mode(mode):
    compare(policy(**mode), IMAGES, torch.float64, 1e-12)


@pytest.mark.parametrize("mode", [{}, {"segments": 2}, {"bidirectional": True}, {"images": 5},
                                  {"images": 5, "segments": 2, "bidirectional": True}])
def test_the_policy_gradient_is_that_of_the_expected_reward_by_enumeration(mode):
    """A pool of 5, all ordered batches of 2, scored and drawn from the definitions; every parameter in every mode."""
    made = policy(**mode)
    embedding = torch.randn(5, 8, generator=seeded(1)).double()
    rows = torch.tensor(oracles.ordered_batches(5, 2))
    rewards = torch.randn(5, 5, generator=seeded(2)).double()[rows[:, 0], rows[:, 1]]
    chances = oracles.policy_scores(made, embedding).softmax(0)
    first, second = chances[rows[:, 0]], chances[rows[:, 1]]
    expected = torch.autograd.grad((first * second / (1 - first) * rewards).sum(), list(made.parameters()))
    log_pi = log_prob(made.scores(embedding), rows)
    weights = (log_pi.exp() * rewards).detach() * len(rows)  # every batch drawn as often as is likely
    for got, wanted in zip(torch.autograd.grad(-loss(log_pi, weights), list(made.parameters())), expected, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-12, rtol=0)


@pytest.mark.parametrize("mode", [{}, {"bidirectional": True}])
@pytest.mark.parametrize(("images", "segments"), [(40, 4), (41, 4), (43, 6), (5, 5)])
def test_segments_score_as_separate_pools_do(images, segments, mode):
    embedding = torch.randn(images, 8, generator=seeded(1)).double()
    whole = policy(segments=segments, **mode).scores(embedding)
    lengths = [(part + 1) * images // segments - part * images // segments for part in range(segments)]
    assert max(lengths) - min(lengths) <= 1
    apart = torch.cat([policy(**mode).scores(part) for part in embedding.split(lengths)])
    torch.testing.assert_close(whole, apart, atol=1e-12, rtol=0)


def test_more_segments_than_images_read_each_image_alone():
    embedding = torch.randn(3, 8, generator=seeded(1)).double()
    alone = torch.cat([policy().scores(one[None]) for one in embedding])
    torch.testing.assert_close(policy(segments=9).scores(embedding), alone, atol=1e-12, rtol=0)


def test_the_second_reader_reads_from_the_end():
    embedding = torch.randn(9, 8, generator=seeded(1)).double()
    both = policy(bidirectional=True)
    one, other = (policy() for _ in range(2))
    for lone, reader in zip((one, other), both.readers, strict=True):
        lone.readers[0].load_state_dict(reader.state_dict())
    torch.testing.assert_close(both.scores(embedding), one.scores(embedding) + other.scores(embedding.flip(0)).flip(0))


def test_equal_decoders_of_all_images_are_the_shared_one():
    embedding = torch.randn(IMAGES, 8, generator=seeded(1)).double()
    shared, own = policy(), policy(images=IMAGES)
    own.readers[0].lstm.load_state_dict(shared.readers[0].lstm.state_dict())
    with torch.no_grad():
        own.readers[0].decoder.weight[:] = shared.readers[0].decoder.weight
        own.readers[0].decoder.bias[:] = shared.readers[0].decoder.bias
    torch.testing.assert_close(own.scores(embedding), shared.scores(embedding), atol=1e-12, rtol=0)


@pytest.mark.parametrize("mode", [{}, {"images": 5}])
def test_the_score_fed_back_changes_the_scores_that_follow(mode):
    made = Policy(seeded(), embedding=4, **mode)
    embedding = torch.randn(5, 4, generator=seeded(1))
    before = made.scores(embedding)
    with torch.no_grad():
        made.readers[0].lstm.weight_ih_l0[:, -1] = 0
    after = made.scores(embedding)
    assert before[0] == after[0]
    assert not torch.isclose(before[1:], after[1:]).any()


def test_the_lstm_holds_257_values():
    reader, = Policy(seeded()).readers
    assert (reader.lstm.input_size, reader.lstm.hidden_size, reader.decoder.out_features) == (257, 257, 1)


def test_the_same_generator_gives_the_same_policy_and_the_global_one_is_left_alone():
    before = torch.random.get_rng_state()
    one, two, other = (Policy(seeded(seed), embedding=4) for seed in (3, 3, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.readers[0].decoder.weight, other.readers[0].decoder.weight)
    assert all(parameter.abs().max() <= 5**-0.5 for parameter in one.parameters())
