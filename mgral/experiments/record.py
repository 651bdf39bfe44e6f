"""What one experiment found, as plain data: it knows no database and no tracker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mgral.data.dataset import Batch

Origin = Literal["design", "fallback", "check", "truth"]
TRUE_REPEATS = 2
"""Trainings, each with a seed of its own, that a true gain is the mean of."""
LOSSES = ("loss", "balanced_loss")
"""Figures of which less is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One experiment: a batch, what it was measured to be worth, and where it came from.

    `fingerprint` names the experiment (sha256), `scope` the group that may be compared: one snapshot, configuration
    and code. `repeat` counts the seeds of one batch from 0. `labelled` is the number of labelled images, `seconds`
    wall-clock time, `steps` how long was trained. `figures` holds what was measured on the reward split at the end (of
    true gains on the test split): `map`, `ap50`, `soft_ap` as fractions, `loss`, `balanced_loss`, and whatever else an
    experiment measures; `per_class` average precision by class name, None for a class that the split does not hold.
    `curve` holds the same figures, and the `step`, of every measurement on the way, the last one included. `id` and
    `created_at` (UTC) are the store's.
    """

    fingerprint: str
    scope: str
    study: str
    strategy: str
    cycle: int
    snapshot: str
    origin: Origin
    image_ids: Batch
    seed: int
    labelled: int
    figures: Mapping[str, float]
    per_class: Mapping[str, float | None]
    seconds: float
    steps: int
    code: str
    repeat: int = 0
    curve: tuple[Mapping[str, float], ...] = ()
    mlflow_run_id: str | None = None
    prefect_flow_run_id: str | None = None
    created_at: datetime | None = None
    id: int | None = None

    def reward(self, figure: str) -> float:
        """What a search maximises: the figure at the end, a loss with a minus."""
        return signed(self.figures, figure)


@dataclass(frozen=True, slots=True)
class Failure:
    """An experiment that could not be run, and why; it leaves no record."""

    fingerprint: str
    origin: Origin
    seed: int
    reason: Exception


def signed(figures: Mapping[str, float], figure: str) -> float:
    """The named figure; a loss with a minus, so that more is always better."""
    return -figures[figure] if figure in LOSSES else figures[figure]
