"""What earlier cycles' experiments teach about this cycle's batches, where they teach anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mgral.lookup.described import Described
from mgral.lookup.estimator import Estimator, LeftOut
from mgral.lookup.fidelity import Settled
from mgral.lookup.quality import leave_one_out

TRIED = (1.0, 4.0, 16.0)
"""How much noisier than this cycle's an earlier record may be taken to be."""


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """What an estimator learns from: n records, their rewards, noise and groups, (n,) each; the first `present` are of
    this cycle. `weight` is 1 over what the noise of earlier ones was multiplied by, 0 where there are none."""

    described: Described
    rewards: np.ndarray
    noise: np.ndarray
    groups: np.ndarray
    present: int
    weight: float = 0.0

    def teach(self, estimator: Estimator) -> Estimator:
        return estimator.fit(self.described, self.rewards, self.noise)

    def left_out(self, estimator: Estimator) -> LeftOut:
        """This cycle's records, each estimated from all others but its repeats."""
        found = leave_one_out(estimator, self.described, self.rewards, self.noise, self.groups)
        return LeftOut(found.value[:self.present], found.deviation[:self.present])

    def __str__(self) -> str:
        earlier = len(self.rewards) - self.present
        return f"{earlier} records of earlier cycles count {self.weight:g} of a record each" if earlier else ""


def lessons(estimator: Estimator, now: tuple[Described, Settled],
            earlier: Sequence[tuple[Described, Settled]] = ()) -> Lessons:
    """This cycle's records, and those of earlier cycles at the weight that foretells this cycle's best, if any does.

    Rewards of an earlier cycle are moved to the mean of this one's, for its detector was another. Weights are judged by
    the weighted squared error of this cycle's records, each left out with its repeats; the estimator stays as it is.
    """
    described, settled = now
    alone = Lessons(described, settled.rewards, settled.noise, settled.groups, len(settled.rewards))
    if not earlier:
        return alone
    mean = np.average(settled.rewards, weights=1 / settled.noise)
    moved = [one.rewards - np.average(one.rewards, weights=1 / one.noise) + mean for _, one in earlier]
    first = np.cumsum([settled.groups.max() + 1, *(one.groups.max() + 1 for _, one in earlier)])
    groups = [one.groups + start for (_, one), start in zip(earlier, first, strict=False)]
    several = Described.joined([described, *(one for one, _ in earlier)])
    tried = [alone]
    for times in TRIED:
        noise = np.concatenate([settled.noise, *(times * one.noise for _, one in earlier)])
        tried.append(Lessons(several, np.concatenate([settled.rewards, *moved]), noise,
                             np.concatenate([settled.groups, *groups]), alone.present, 1 / times))
    errors = [_error(one.left_out(estimator), settled) for one in tried]
    return tried[int(np.argmin(errors))]


def _error(left: LeftOut, settled: Settled) -> float:
    return float(np.average((left.value - settled.rewards) ** 2, weights=1 / settled.noise))
