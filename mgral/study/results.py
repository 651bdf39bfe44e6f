"""What a study found, as records that read and write themselves as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mgral.config import Config
from mgral.data.dataset import ImageId
from mgral.data.formats.reading import shown
from mgral.errors import StateError
from mgral.files import canonical_json, read_json, write_json

SNAPSHOT = "snapshot"
"""What a choice is made by that is no setting: the version of the labelled set."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The batch of a cycle, ids sorted, with a score and a reason an image; `origin` says how it was found."""

    ids: tuple[ImageId, ...]
    origin: str
    scores: tuple[float, ...] = ()
    reasons: tuple[str, ...] = ()

    def ranked(self) -> Choice:
        """The same batch, best first; in the order of ids where there are no scores."""
        rows = range(len(self.ids))
        order = sorted(rows, key=lambda row: -self.scores[row]) if self.scores else rows
        scores, reasons = (tuple(values[row] for row in order) if values else ()
                           for values in (self.scores, self.reasons))
        return Choice(tuple(self.ids[row] for row in order), self.origin, scores, reasons)


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
class ContentResult:
    """How well what is in an image is known: the share of the variation in counts between `judged` annotated images
    that is `explained`, and the share that the detector's own counts explain, `seen`; `verdict` says it in words."""

    judged: int
    explained: float
    seen: float
    verdict: str


@dataclass(frozen=True, slots=True)
class CycleResult:
    """One cycle: its detector on the test split (fractions), and what was chosen with it.

    `labelled` counts the images before the choice. `table` is None for strategies without one, `search` where none was
    run: the choice's origin then says what chose instead; `content` where too little was annotated to learn from.
    `trained_on` is the version of the labelled set that trained the detector, `snapshot` that with the batch.
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
    trained_on: str | None = None
    content: ContentResult | None = None

    def write(self, path: Path) -> None:
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> CycleResult:
        values = read_json(path)
        return cls(**{**values, **_chosen(values)})


@dataclass(frozen=True, slots=True)
class ChoiceRecord:
    """A batch as it was chosen, kept from then on: `by` are the settings that decide, and as "snapshot" the version
    of the labelled set that it was chosen on. `reached` is the mAP of the detector that chose it (a fraction)."""

    choice: Choice
    table: TableResult | None
    search: SearchResult | None
    by: Mapping[str, Any]
    reached: float | None = None
    content: ContentResult | None = None

    def write(self, path: Path) -> None:
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> ChoiceRecord:
        values = read_json(path)
        return cls(**{**values, **_chosen(values)})

    def check(self, path: Path, by: Mapping[str, Any]) -> None:
        """Raises StateError if a choice with these settings would be another one: a batch that people may be at work
        on is not replaced. Labels may have been corrected since."""
        now = json.loads(canonical_json(by))
        # A setting that did not exist then had the value that is its default now.
        then = {name: value for name, value in json.loads(canonical_json(deciding(Config(), True, ""))).items()
                if name in now} | dict(self.by)
        changed = [f"{name} {shown(then.get(name))}, now {shown(now.get(name))}"
                   for name in sorted({*then, *now} - {SNAPSHOT}) if then.get(name) != now.get(name)]
        if changed:
            raise StateError(f"{path}: expected a batch chosen with today's settings, got one chosen with "
                             f"{'; '.join(changed[:3])}{' …' if len(changed) > 3 else ''}; set it back, give the study "
                             f"another study.name, or delete {path.parent} and later cycles to choose anew")


def deciding(config: Config, searching: bool, snapshot: str) -> dict[str, Any]:
    """What a choice is made by, flat, by name of the setting: training and choosing, and the labelled set's version."""
    study = {"training": config.study.training, "budget": config.study.budget}
    if config.study.budget_boxes is not None:
        study["budget_boxes"] = config.study.budget_boxes
    sections = {"detector": config.detector.model_dump(mode="json"), "study": study,
                "training": config.training.model_dump(mode="json"), "pool": config.pool.model_dump(mode="json")}
    if searching or config.study.training != "supervised":
        sections["semisup"] = config.semisup.used()
    if searching:
        sections |= {"table": config.table.model_dump(mode="json", exclude={"at_once"}),
                     "search": config.search.model_dump(mode="json")}
    return {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()} | {
        SNAPSHOT: snapshot}


def _chosen(values: Mapping[str, Any]) -> dict[str, Any]:
    choice = Choice(**{name: value if name == "origin" else tuple(value)
                       for name, value in values["choice"].items()})
    kinds = {"table": TableResult, "search": SearchResult, "content": ContentResult}
    nested = {name: values.get(name) and kind(**values[name]) for name, kind in kinds.items()}
    return {**nested, "choice": choice}


@dataclass(frozen=True, slots=True)
class Awaiting:
    """A batch that people have to label before the work can go on; cycle 0 is the first batch, before any detector.

    `missing` of its `images` are not labelled yet; `batch` is the file that goes out, `pictures` what to look at;
    `options` tell the command line which strategy and seed; `so_far` is what the detector reaches that chose it.
    """

    label: str
    cycle: int
    images: int
    missing: int
    batch: Path
    pictures: Path
    options: str = ""
    so_far: str = ""

    def in_words(self, given: str = "") -> str:
        """What is waited for and what to type next; `given` are the options that the command was given."""
        some = "" if self.missing == self.images else f"{self.missing} of "
        boxes = "with the detector's boxes" if self.cycle else "without boxes"
        this = f"{given}{self.options} --cycle {self.cycle}"
        return "\n".join([
            f"WAITING for annotations of {some}{self.images} image{'s' if self.images > 1 else ''} ({self.label}).",
            *([f"  so far: {self.so_far}"] if self.so_far else []),
            f"  look: {self.pictures}",
            f"  for annotators: {self.batch} (COCO, {boxes}); for other tools: mgral export{this} --to FORMAT, or "
            f"mgral push{this} --label-studio URL",
            f"  next: mgral import{this} FILE"])


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
