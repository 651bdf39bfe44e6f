"""A prediction network in the table's place: several, so that they can disagree where the records say little."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from mgral.lookup.described import Described
from mgral.lookup.estimator.base import Estimator, LeftOut, Metric, block_scale

MEMBERS = 8
IMAGE_WIDTH, BATCH_WIDTH = 16, 32
"""Hidden units of the network of images and of that of batches."""
FOLDS = 10
"""Fits that leaving records out may cost."""
STEPS, MORE_STEPS = 100, 20
"""Steps of a fit, and of going on when records are added."""
LR = 1e-2
WEIGHT_DECAY = 3.0
"""Strong: tables are small, and weights that are not needed do harm."""
BREADTH = 0.5
"""Deviation, over the records, of what the first network says of a batch: less than that of the batch's own row, which
small tables can rely on sooner."""


class Ensemble(Estimator):
    """Members predict a batch's reward from its images and from what is said of it: permutation-invariant networks.

    A network of one hidden layer sees every image; its outputs, averaged over the batch and standardised, go with the
    batch's own row into a second one. Members are trained all at once by AdamW, each from its own weights on its own
    bootstrap of the records; the estimate is their mean, its deviation their spread. `noise_variance` is what their
    errors on records that they do not hold exceed that spread by. `images` (N, f) are those that the shares of batches
    count, `names` (d) the columns of rows, `block/…` each.

    Added records go into each member's sample as often as a Poisson variable of mean 1 says (the online bootstrap), and
    training goes on from the present weights: the result depends on the order of additions, while the same calls with
    the same seed give the same estimates.

    Source: sums over sets, Zaheer et al., Deep Sets (2017); deep ensembles, Lakshminarayanan et al. (2017); online
    bootstrap, Oza and Russell (2001).
    """

    def __init__(self, images: np.ndarray, names: Sequence[str], seed: int, metric: Metric = "l2",
                 members: int = MEMBERS) -> None:
        super().__init__(metric)
        self.names = tuple(names)
        self.images = torch.as_tensor(images, dtype=torch.float32)
        self.members, self.seed = members, seed

    @property
    def noise_variance(self) -> float:
        return self.noise_level * self.unit**2

    def _leave_out(self, described: Described, rewards: np.ndarray, noise: np.ndarray, groups: np.ndarray) -> LeftOut:
        return self._refitted(described, rewards, noise, groups, FOLDS)

    def _learn(self, added: int | None) -> None:
        if added is None:
            self._begin()
            self._train(STEPS)
        else:  # from the present weights on, with few steps
            drawn = torch.poisson(torch.ones(self.members, added), generator=self.generator)
            self.drawn = torch.cat([self.drawn, drawn], dim=1)
            self._train(MORE_STEPS)

    def _begin(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)
        weights = 1 / self.noise / (1 / self.noise).sum()
        self.offset = weights @ self.rewards
        self.unit = np.sqrt(weights @ (self.rewards - self.offset) ** 2) or 1.0
        self.centre, scale = block_scale(self.records.rows, weights, self.names)
        self.scale = scale / len(self.names) ** 0.5
        count = len(self.rewards)
        chosen = torch.randint(count, (self.members, count), generator=self.generator)
        self.drawn = torch.zeros(self.members, count).scatter_add_(1, chosen, torch.ones(self.members, count))
        self._initialise(len(self.names))

    def _initialise(self, columns: int) -> None:
        """Random weights; the averages over a batch's images at mean 0 and deviation BREADTH over the records."""
        image_inputs, batch_inputs = self.images.shape[1], columns + IMAGE_WIDTH
        self.image = [self._normal(image_inputs, IMAGE_WIDTH, (2 / image_inputs) ** 0.5),
                      self._normal(1, IMAGE_WIDTH, 0.5)]
        self.batch = [self._normal(batch_inputs, BATCH_WIDTH, batch_inputs**-0.5), self._normal(1, BATCH_WIDTH, 0.5),
                      self._normal(BATCH_WIDTH, 1, BATCH_WIDTH**-0.5), self._normal(1, 1, 0.0)]
        pooled = _pooled(self.records.shares.astype(np.float32), self._encoded(self.images))
        self.level, self.breadth = pooled.mean(dim=0), pooled.std(dim=0).clamp_min(1e-6) / BREADTH

    def _normal(self, inputs: int, outputs: int, scale: float) -> Tensor:
        return scale * torch.randn(self.members, inputs, outputs, generator=self.generator)

    def _train(self, steps: int) -> None:
        shares = self.records.shares.astype(np.float32)
        used = np.unique(shares.indices)
        shares, images, rows = shares[:, used], self.images[used], self._standard(self.records)
        target = torch.as_tensor((self.rewards - self.offset) / self.unit, dtype=torch.float32)
        weights = self.drawn * torch.as_tensor(1 / self.noise, dtype=torch.float32)
        weights = weights / weights.sum(dim=1, keepdim=True).clamp_min(1e-12)
        parameters = [parameter.requires_grad_(True) for parameter in (*self.image, *self.batch)]
        optimizer = torch.optim.AdamW(parameters, lr=LR, weight_decay=WEIGHT_DECAY)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=steps)
        for _ in range(steps):
            optimizer.zero_grad()
            predicted = self._outputs(_pooled(shares, self._encoded(images)), rows)
            (weights * (predicted - target) ** 2).sum().backward()
            optimizer.step()
            rate.step()
        for parameter in parameters:
            parameter.requires_grad_(False)
        self.encoded = self._encoded(self.images)
        self.noise_level = self._excess(target)

    def _encoded(self, images: Tensor) -> Tensor:
        """What the members' first networks say of images, side by side: (N, members · IMAGE_WIDTH)."""
        weights, bias = (parameter.transpose(0, 1).flatten(1) for parameter in self.image)
        return torch.relu(images @ weights + bias)

    def _outputs(self, pooled: Tensor, rows: Tensor) -> Tensor:
        """What the second networks make of M batches: (members, M), in units of the reward's deviation."""
        images = ((pooled - self.level) / self.breadth).unflatten(1, (self.members, IMAGE_WIDTH)).transpose(0, 1)
        inputs = torch.cat([images, rows.expand(self.members, -1, -1)], dim=2)
        first, bias, second, level = self.batch
        return torch.baddbmm(level, torch.relu(torch.baddbmm(bias, inputs, first)), second)[..., 0]

    def _standard(self, described: Described) -> Tensor:
        return torch.as_tensor((described.rows - self.centre) / self.scale, dtype=torch.float32)

    @torch.no_grad()
    def _members(self, described: Described) -> Tensor:
        return self._outputs(_pooled(described.shares.astype(np.float32), self.encoded), self._standard(described))

    def _estimate(self, queries: Described, between: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        predictions = self._members(queries).double().numpy()
        return self.offset + self.unit * predictions.mean(axis=0), self.unit * predictions.std(axis=0, ddof=1)

    def _excess(self, target: Tensor) -> float:
        """Squared error of members on records that they do not hold, beyond their variance; of a standard record."""
        predictions, out_of_bag = self._members(self.records), (self.drawn == 0).float()
        excess = (predictions - target) ** 2 - predictions.var(dim=0)
        excess = excess * torch.as_tensor(1 / self.noise, dtype=torch.float32)
        return float(((out_of_bag * excess).sum() / out_of_bag.sum().clamp_min(1)).clamp_min(0))


class _Pool(torch.autograd.Function):
    """shares @ encoded, (M, N) csr by (N, columns); only `encoded` has a gradient."""

    @staticmethod
    def forward(context, encoded: Tensor, shares: sparse.csr_array) -> Tensor:
        context.shares = shares
        return torch.from_numpy(shares @ encoded.detach().numpy())

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None]:
        return torch.from_numpy(context.shares.T @ gradient.numpy()), None


def _pooled(shares: sparse.csr_array, encoded: Tensor) -> Tensor:
    """The mean over each batch's images, (M, columns)."""
    return _Pool.apply(encoded, shares)
