"""What a study found, as records that read and write themselves as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mgral.data.dataset import ImageId
from mgral.files import read_json, write_json

RECORD = "record, after the check"
"""Origin of a batch that took the place of the search's."""


@dataclass(frozen=True, slots=True)
class CycleResult:
    """One cycle: its detector on the test split (fractions), what it chose, and what its table is worth.

    `labelled` counts the images before the choice. `records`, `loo_r2`, `spearman` and `fallbacks` describe the
    lookup table and are 0 or None for strategies without one. `value` is what the table thinks the search's batch is
    worth (estimate - caution × deviation), `controls` the same of what simpler searches chose on the same table; None
    and empty where no search was run, and `origin` then says what chose instead. `checked` is what a real experiment
    measured the batch to be worth; None where `search.check` is off.
    """

    cycle: int
    labelled: int
    map: float
    ap50: float
    per_class: Mapping[str, float | None]
    chosen: tuple[ImageId, ...]
    origin: str
    snapshot: str
    records: int = 0
    loo_r2: float | None = None
    spearman: float | None = None
    fallbacks: int = 0
    value: float | None = None
    estimate: float | None = None
    deviation: float | None = None
    checked: float | None = None
    controls: Mapping[str, float] = field(default_factory=dict)
    verdict: str = ""

    def write(self, path: Path) -> None:
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> CycleResult:
        values = read_json(path)
        return cls(**{**values, "chosen": tuple(values["chosen"])})


@dataclass(frozen=True, slots=True)
class FinalResult:
    """The detector trained after the last choice, on the test split (fractions)."""

    labelled: int
    map: float
    ap50: float
    per_class: Mapping[str, float | None]
    snapshot: str


@dataclass(frozen=True, slots=True)
class StrategyResult:
    strategy: str
    cycles: tuple[CycleResult, ...]
    final: FinalResult
    seconds: tuple[Mapping[str, float], ...] = field(default=())
    """Seconds by phase, one mapping a cycle and one for the final training."""

    def curve(self) -> list[tuple[int, float, float]]:
        """(labelled images, mAP, AP50), from the first detector to the last."""
        return [(one.labelled, one.map, one.ap50) for one in (*self.cycles, self.final)]

    def as_json(self) -> dict[str, Any]:
        cycles = [{**asdict(one), "seconds": dict(spent)}
                  for one, spent in zip(self.cycles, self.seconds, strict=False)]
        return {"cycles": cycles, "final": asdict(self.final)}


@dataclass(frozen=True, slots=True)
class StudyResult:
    """The main strategy first, then those it is compared with."""

    study: str
    seed: int
    strategies: tuple[StrategyResult, ...]

    def as_json(self) -> dict[str, Any]:
        main, *others = self.strategies
        return {"study": self.study, "seed": self.seed, "strategy": main.strategy, **main.as_json(),
                "baselines": {one.strategy: one.as_json() for one in others}}
