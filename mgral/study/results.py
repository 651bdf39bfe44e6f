"""What a study found, as records that read and write themselves as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mgral.data.dataset import ImageId
from mgral.files import read_json, write_json


@dataclass(frozen=True, slots=True)
class Choice:
    """The batch of a cycle, ids sorted, with a score and a reason an image; `origin` says how it was found."""

    ids: tuple[ImageId, ...]
    origin: str
    scores: tuple[float, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TableResult:
    """What a lookup table is worth, leave-one-out over its records, and whether it could guide a search."""

    records: int
    loo_r2: float
    spearman: float
    reliable: bool
    verdict: str


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found, as in `mgral.search.run.SearchOutcome`; `controls` are the values of its controls."""

    value: float
    estimate: float
    deviation: float
    checked: float | None
    fallbacks: int
    controls: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CycleResult:
    """One cycle: its detector on the test split (fractions), and what was chosen with it.

    `labelled` counts the images before the choice. `table` is None for strategies without one, `search` where none was
    run: the choice's origin then says what chose instead.
    """

    cycle: int
    labelled: int
    map: float
    ap50: float
    per_class: Mapping[str, float | None]
    choice: Choice
    snapshot: str
    table: TableResult | None = None
    search: SearchResult | None = None

    def write(self, path: Path) -> None:
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> CycleResult:
        values = read_json(path)
        choice = Choice(**{name: value if name == "origin" else tuple(value)
                           for name, value in values["choice"].items()})
        nested = {name: values[name] and kind(**values[name])
                  for name, kind in (("table", TableResult), ("search", SearchResult))}
        return cls(**{**values, **nested, "choice": choice})


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
    """All cycles of one strategy with one seed; `seconds` by phase, a mapping a cycle and one for the final training,
    empty where they are not known."""

    strategy: str
    seed: int
    cycles: tuple[CycleResult, ...]
    final: FinalResult
    seconds: tuple[Mapping[str, float], ...]

    def curve(self) -> list[tuple[int, float, float]]:
        """(labelled images, mAP, AP50), from the first detector to the last."""
        return [(result.labelled, result.map, result.ap50) for result in (*self.cycles, self.final)]

    def as_json(self) -> dict[str, Any]:
        parts = [{**asdict(part), "seconds": dict(spent)}
                 for part, spent in zip((*self.cycles, self.final), self.seconds, strict=True)]
        return {"strategy": self.strategy, "seed": self.seed, "cycles": parts[:-1], "final": parts[-1]}


@dataclass(frozen=True, slots=True)
class StudyResult:
    """Every strategy with every seed, in the order of the settings, a strategy's seeds together."""

    study: str
    runs: tuple[StrategyResult, ...]

    @property
    def strategies(self) -> dict[str, list[StrategyResult]]:
        by_name: dict[str, list[StrategyResult]] = {}
        for run in self.runs:
            by_name.setdefault(run.strategy, []).append(run)
        return by_name

    def as_json(self) -> dict[str, Any]:
        return {"study": self.study, "runs": [run.as_json() for run in self.runs]}
