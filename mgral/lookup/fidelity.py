"""What records of trainings of several lengths and seeds say together: rewards on one scale, and how sure they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mgral.config import TableConfig
from mgral.data.dataset import ImageId
from mgral.lookup.store import Record

LOSSES = ("loss", "balanced_loss")
"""Figures of which less is better."""
FEWEST = 3
"""Whole trainings from which the end of a stopped one can be foretold."""


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """The experiments of a table on one scale: n batches, their rewards (n,), the variance of each as a measurement of
    its batch's worth (n,), relative to a whole training's, and the number of the batch (n,): repeats share one."""

    batches: tuple[tuple[ImageId, ...], ...]
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


def reward_of(record: Record, config: TableConfig) -> float:
    """What a search maximises: the mean of the last `config.average` measurements of `config.reward`."""
    curve = [_figure(one, config.reward) for one in record.curve[-config.average:]]
    return float(np.mean(curve)) if curve else _figure({config.reward: getattr(record, config.reward)}, config.reward)


def better_half(records: Sequence[Record], config: TableConfig) -> list[Record]:
    """Those that go on after a rung, in the order given: the better half, rounded up, as last measured.

    Source: successive halving (Jamieson and Talwalkar 2016) with η = 2.
    """
    ranked = sorted(records, key=lambda one: -_figure(one.curve[-1], config.reward))
    going = {one.fingerprint for one in ranked[:-(-len(ranked) // 2)]}
    return [one for one in records if one.fingerprint in going]


def settle(records: Sequence[Record], config: TableConfig) -> Settled:
    """One row a batch and repeat, its longest training; repeats are moved by what their seed changes on average.

    A stopped training counts with the reward that it would be expected to end with: a line fitted to the whole
    trainings, from their figure at that step to their reward. Its noise is the line's squared error over the variance
    from run to run, never less than a whole training's; 2 where that variance is not known.

    Raises:
        ValueError: fewer than 3 whole trainings, and others that were stopped.
    """
    longest: dict[tuple, Record] = {}
    for one in records:
        key = (one.image_ids, one.repeat)
        if key not in longest or one.steps > longest[key].steps:
            longest[key] = one
    kept = list(longest.values())
    steps = max(one.steps for one in kept)
    whole = [one for one in kept if one.steps == steps]
    if len(whole) < min(FEWEST, len(kept)):
        raise ValueError(f"expected at least {FEWEST} whole trainings to judge the others by, got {len(whole)}")
    known, moved = noise_of(whole, config), _moved_by_seed(whole, config)
    rewards, noise = [], []
    lines = {stop: _line(whole, stop, config) for stop in {one.steps for one in kept} - {steps}}
    for one in kept:
        if one.steps == steps:
            rewards.append(reward_of(one, config) - moved[one.repeat])
            noise.append(1.0)
        else:
            slope, level, variance = lines[one.steps]
            rewards.append(level + slope * _figure(one.curve[-1], config.reward))
            noise.append(max(1.0, variance / known.runs**2) if known and known.runs > 0 else 2.0)
    number = {batch: row for row, batch in enumerate(dict.fromkeys(one.image_ids for one in kept))}
    return Settled(tuple(one.image_ids for one in kept), np.array(rewards), np.array(noise),
                   np.array([number[one.image_ids] for one in kept]))


def noise_of(records: Sequence[Record], config: TableConfig) -> Noise | None:
    """What the reward of whole trainings varies by; None where fewer than two batches were measured twice.

    A repeat has one seed for all its batches, so the seed's mean effect is taken off: pooled variance within repeated
    batches, with a degree of freedom less for each further repeat. Between batches it is the variance of their first
    measurements less that from run to run, at least 0.
    """
    moved, by_batch = _moved_by_seed(records, config), defaultdict(list)
    for one in records:
        by_batch[one.image_ids].append(reward_of(one, config) - moved[one.repeat])
    repeated = [np.array(values) for values in by_batch.values() if len(values) > 1]
    freedom = sum(len(values) - 1 for values in repeated) - (len(moved) - 1)
    if freedom < 1:
        return None
    within = sum(((values - values.mean()) ** 2).sum() for values in repeated) / freedom
    between = np.array([values[0] for values in by_batch.values()]).var(ddof=1) - within
    return Noise(float(within**0.5), float(max(between, 0.0) ** 0.5), len(repeated))


def _moved_by_seed(records: Sequence[Record], config: TableConfig) -> dict[int, float]:
    """By how much each repeat's rewards lie above the first's, on average over the batches of both."""
    rewards = {(one.repeat, one.image_ids): reward_of(one, config) for one in records}
    moved = {}
    for repeat in sorted({one.repeat for one in records}):
        gaps = [value - rewards[0, batch] for (number, batch), value in rewards.items()
                if number == repeat and (0, batch) in rewards]
        moved[repeat] = float(np.mean(gaps)) if gaps else 0.0
    return moved


def _line(whole: Sequence[Record], step: int, config: TableConfig) -> tuple[float, float, float]:
    """Slope, level and residual variance of the line from the figure at a step to the reward at the end."""
    early = np.array([_figure(next(at for at in one.curve if at["step"] == step), config.reward) for one in whole])
    late = np.array([reward_of(one, config) for one in whole])
    variance = early.var()
    slope = ((early - early.mean()) * (late - late.mean())).mean() / variance if variance > 0 else 0.0
    level = late.mean() - slope * early.mean()
    return slope, level, ((late - level - slope * early) ** 2).sum() / max(len(whole) - 2, 1)


def _figure(measured: Mapping[str, float], kind: str) -> float:
    return -measured[kind] if kind in LOSSES else measured[kind]
