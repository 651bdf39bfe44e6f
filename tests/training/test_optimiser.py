from itertools import pairwise

import pytest
import torch

from mgral.errors import TrainingError
from mgral.training.optimiser import CLIP_NORM, WEIGHT_DECAY, Optimiser, one_cycle


def test_the_learning_rate_rises_for_a_tenth_and_falls_to_nearly_nothing():
    rates = [one_cycle(step, 100, 0.01) for step in range(100)]
    assert rates[9] == pytest.approx(0.01)
    assert all(first < second for first, second in pairwise(rates[:10]))
    assert all(first > second for first, second in pairwise(rates[9:]))
    assert rates[0] == pytest.approx(0.01 / 25 + 0.01 * 24 / 25 * 0.0244717, rel=1e-4)
    assert 0 < rates[-1] < 0.01 / 1000


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_trainings_have_a_learning_rate(steps):
    assert max(one_cycle(step, steps, 0.01) for step in range(steps)) == pytest.approx(0.01)


def test_only_matrices_decay():
    layer = torch.nn.Linear(2, 2)
    decays = {len(group["params"]): group["weight_decay"] for group in
              Optimiser(torch.nn.Sequential(layer, torch.nn.BatchNorm1d(2)), 1, 0.1).adamw.param_groups}
    assert decays == {1: WEIGHT_DECAY, 3: 0.0}


def test_gradients_are_clipped():
    weight = torch.nn.Linear(1, 1, bias=False)
    optimiser = Optimiser(weight, 1, 0.1)
    optimiser.step(0, 100 * weight(torch.ones(1, 1)).sum(), 1.0, ["a"])
    assert weight.weight.grad.norm().item() == pytest.approx(CLIP_NORM, rel=1e-4)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_not_finite_stops_the_run_and_changes_nothing(value):
    weight = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(weight.weight)
    before = weight.weight.clone()
    with pytest.raises(TrainingError, match=f"step 8: expected a finite loss, got {value} on images a, b; try"):
        Optimiser(weight, 10, 0.1).step(7, weight.weight.sum(), float(value), ["a", "b"])
    assert torch.equal(weight.weight, before)
