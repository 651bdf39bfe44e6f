"""What records of trainings of several lengths and seeds say together: rewards on one scale, and how sure they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mgral.data.dataset import Batch
from mgral.experiments.record import Record, signed

FEWEST = 3
"""Whole trainings from which the end of a stopped one can be predicted."""


@dataclass(frozen=True, slots=True, eq=False)
class AggregatedRewards:
    """The experiments of a table on one scale: n batches, their rewards (n,), the variance of each as a measurement of
    its batch's worth (n,), relative to a whole training's, and the number of the batch (n,): repeats share one."""

    batches: tuple[Batch, ...]
    rewards: np.ndarray
    noise: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviations of the reward: from run to run of a batch, and between batches when that is taken off.

    Over `repeated` batches that were measured more than once; what a seed changes alike for all of them is left out.
    """

    runs: float
    batches: float
    repeated: int

    def __str__(self) -> str:
        return (f"the reward varies by {self.batches:.3g} between batches and by {self.runs:.3g} from run to run "
                f"({self.repeated} batches repeated)")


def aggregate(records: Sequence[Record], reward: str) -> AggregatedRewards:
    """One row a batch and repeat, its longest training; repeats are moved by what their seed changes on average.

    A stopped training counts with the reward that it would be expected to end with: a line fitted to the whole
    trainings, from their figure at that step to their reward. Its noise is the line's squared error over the variance
    from run to run, never less than a whole training's; 2 where that variance is not known.

    Raises:
        ValueError: fewer than 3 whole trainings, and others that were stopped.
    """
    longest: dict[tuple, Record] = {}
    for record in records:
        key = (record.image_ids, record.repeat)
        if key not in longest or record.steps > longest[key].steps:
            longest[key] = record
    trainings = list(longest.values())
    steps = max(record.steps for record in trainings)
    whole = [record for record in trainings if record.steps == steps]
    if len(whole) < min(FEWEST, len(trainings)):
        raise ValueError(f"expected at least {FEWEST} whole trainings to judge the others by, got {len(whole)}")
    known, moved = noise_of(whole, reward), _moved_by_seed(whole, reward)
    rewards, noise = [], []
    lines = {stop: _line(whole, stop, reward) for stop in {record.steps for record in trainings} - {steps}}
    for record in trainings:
        if record.steps == steps:
            rewards.append(record.reward(reward) - moved[record.repeat])
            noise.append(1.0)
        else:
            slope, level, variance = lines[record.steps]
            rewards.append(level + slope * record.reward(reward))
            noise.append(max(1.0, variance / known.runs**2) if known and known.runs > 0 else 2.0)
    number = {batch: row for row, batch in enumerate(dict.fromkeys(record.image_ids for record in trainings))}
    return AggregatedRewards(tuple(record.image_ids for record in trainings), np.array(rewards), np.array(noise),
                             np.array([number[record.image_ids] for record in trainings]))


def noise_of(records: Sequence[Record], reward: str) -> Noise | None:
    """What the reward of whole trainings varies by; None where fewer than two batches were measured twice.

    A repeat has one seed for all its batches, so the seed's mean effect is taken off: pooled variance within repeated
    batches, with a degree of freedom less for each further repeat. Between batches it is the variance of their first
    measurements less that from run to run, at least 0.
    """
    moved, by_batch = _moved_by_seed(records, reward), defaultdict(list)
    for record in records:
        by_batch[record.image_ids].append(record.reward(reward) - moved[record.repeat])
    repeated = [np.array(values) for values in by_batch.values() if len(values) > 1]
    freedom = sum(len(values) - 1 for values in repeated) - (len(moved) - 1)
    if freedom < 1:
        return None
    within = sum(((values - values.mean()) ** 2).sum() for values in repeated) / freedom
    between = np.array([values[0] for values in by_batch.values()]).var(ddof=1) - within
    return Noise(float(within**0.5), float(max(between, 0.0) ** 0.5), len(repeated))


def _moved_by_seed(records: Sequence[Record], reward: str) -> dict[int, float]:
    """By how much each repeat's rewards lie above the first's, on average over the batches of both."""
    rewards = {(record.repeat, record.image_ids): record.reward(reward) for record in records}
    moved = {}
    for repeat in sorted({record.repeat for record in records}):
        gaps = [value - rewards[0, batch] for (number, batch), value in rewards.items()
                if number == repeat and (0, batch) in rewards]
        moved[repeat] = float(np.mean(gaps)) if gaps else 0.0
    return moved


def _line(whole: Sequence[Record], step: int, reward: str) -> tuple[float, float, float]:
    """Slope, level and residual variance of the line from the figure at a step to the reward at the end."""
    points = [next(point for point in record.curve if point["step"] == step) for record in whole]
    early = np.array([signed(point, reward) for point in points])
    late = np.array([record.reward(reward) for record in whole])
    variance = early.var()
    slope = ((early - early.mean()) * (late - late.mean())).mean() / variance if variance > 0 else 0.0
    level = late.mean() - slope * early.mean()
    return slope, level, ((late - level - slope * early) ** 2).sum() / max(len(whole) - 2, 1)
