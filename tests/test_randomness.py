from itertools import islice

import pytest
import torch

from mgral.randomness import derived_seed, isolated, seed_of, shuffled, stream


def test_seeds_differ_by_every_part():
    assert len({seed_of(0), seed_of(1), seed_of(0, "step"), seed_of(0, "step", 1), seed_of(0, "step", 11)}) == 5
    assert torch.equal(torch.rand(3, generator=stream(4, "view")), torch.rand(3, generator=stream(4, "view")))


def test_isolated_gives_the_global_generator_back():
    before = torch.random.get_rng_state()
    with isolated(torch.device("cpu"), 3, "step"):
        first = torch.rand(2)
    with isolated(torch.device("cpu"), 3, "step"):
        assert torch.equal(first, torch.rand(2))
    assert torch.equal(before, torch.random.get_rng_state())


def test_each_epoch_holds_every_item_once_in_another_order():
    drawn = list(islice(shuffled("abcdefgh", 0, 1, "order"), 24))
    epochs = [drawn[start:start + 8] for start in (0, 8, 16)]
    assert all(sorted(epoch) == list("abcdefgh") for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("start", [3, 8, 13])
def test_shuffling_can_begin_anywhere(start):
    whole = list(islice(shuffled("abcdefgh", 0, 1, "order"), 24))
    assert list(islice(shuffled("abcdefgh", start, 1, "order"), 24 - start)) == whole[start:]


def test_nothing_to_shuffle_is_refused():
    with pytest.raises(ValueError, match="expected at least one item to draw from, got none"):
        next(shuffled([], 0, 1))


def test_seeds_of_pieces_of_work_are_stable_and_unrelated():
    assert derived_seed(0, "a") == derived_seed(0, "a")
    assert len({derived_seed(0, "a"), derived_seed(0, "b"), derived_seed(1, "a")}) == 3
    assert all(0 <= derived_seed(0, str(number)) < 2**63 for number in range(100))


def test_both_derivations_keep_their_numbers():
    """Every published figure was drawn by these."""
    assert (derived_seed(0, "a"), seed_of(0, "a")) == (205662732230677023, 7606779636460171844)
