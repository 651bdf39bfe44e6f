"""One optimiser step, the same for every method."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mgral.errors import TrainingError

WARM_UP = 0.1
"""Share of the steps in which the learning rate rises."""
WEIGHT_DECAY = 0.05
CLIP_NORM = 10.0
"""The largest norm of a step's gradients; larger ones are scaled down to it."""


def one_cycle(step: int, steps: int, peak: float) -> float:
    """Learning rate of step 0 … steps-1: a cosine up from peak/25 in the first tenth, then one down towards zero."""
    rise = max(1, round(WARM_UP * steps))
    if step < rise:
        low, high, share = peak / 25, peak, (step + 1) / rise
    else:
        low, high, share = 0.0, peak, (steps - step) / (steps - rise + 1)
    return low + (high - low) * (1 - math.cos(math.pi * share)) / 2


class Optimiser:
    """AdamW with clipped gradients and a one-cycle learning rate; no weight decay on biases and batch norm."""

    def __init__(self, module: nn.Module, steps: int, lr: float) -> None:
        self.parameters = [weight for weight in module.parameters() if weight.requires_grad]
        groups = [{"params": [weight for weight in self.parameters if weight.ndim > 1], "weight_decay": WEIGHT_DECAY},
                  {"params": [weight for weight in self.parameters if weight.ndim <= 1], "weight_decay": 0.0}]
        self.adamw = torch.optim.AdamW([group for group in groups if group["params"]], lr=lr, fused=True)
        self.steps, self.peak = steps, lr

    def step(self, step: int, loss: Tensor, value: float, ids: Iterable[str]) -> float:
        """Lowers the loss of 0-based `step`, which is `value` over all processes; gives the learning rate.

        Raises:
            TrainingError: the loss is not finite; nothing has changed then. Names the step (from 1) and the images.
        """
        if not math.isfinite(value):
            raise TrainingError(f"step {step + 1}: expected a finite loss, got {value} on images "
                                f"{', '.join(ids)}; try a smaller learning rate")
        lr = one_cycle(step, self.steps, self.peak)
        for group in self.adamw.param_groups:
            group["lr"] = lr
        self.adamw.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, CLIP_NORM)
        self.adamw.step()
        return lr

    def state_dict(self) -> dict[str, Any]:
        return self.adamw.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.adamw.load_state_dict(state)
