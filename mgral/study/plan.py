"""What a study consists of: preparation, cycles, report, and what each needs, makes and costs.

One list of stages serves the plan that `mgral check` prints, the remaining time, and DVC (`mgral dvc`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from mgral.config import Config, Section, StudyConfig, TableConfig, folder_name
from mgral.data.splits import Splits
from mgral.experiments.record import TRUE_REPEATS
from mgral.strategies import Need, get
from mgral.study.labels import LABELS
from mgral.study.workspace import Workspace

REPORT = "report"
PREPARED = ("splits.json", "source.json", "snapshot.json", "annotations.json")
LABELLED = ("snapshot.json", "annotations.json")
"""A cycle's part of the chain that holds the labelled set."""
DECIDED = (*LABELLED, "choice.json", "preannotations.json", "chosen.jpg", "batch.html", "content.png",
           "result.json")
SEARCHED = ("table.png", "search.png", "controls.json")
TRAINING = ("device", "data", "detector", "training", "study.training")
"""Settings that decide what a cycle's detector is."""
HEADER = """\
# Made by `mgral dvc` from params.yaml: do not edit, run it again. Values may change as they like (`dvc exp run -S`
# included); other strategies, seeds or cycles, and a section or a setting of study that was not there before, need
# `mgral dvc` again. `mgral check` says so.
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """A piece of a study that DVC runs or skips as a whole. Paths are relative to the working directory.

    `strategy` and `cycle` (from 1) are None and 0 but for cycles; `seed` is None for the report, which is of all seeds.
    """

    name: str
    command: str
    seed: int | None = None
    strategy: str | None = None
    cycle: int = 0
    params: tuple[str, ...] = ()
    deps: tuple[Path, ...] = ()
    outs: tuple[Path, ...] = ()
    metrics: tuple[Path, ...] = ()
    plots: dict[Path, dict[str, str]] = field(default_factory=dict)

    def as_dvc(self) -> dict[str, object]:
        plots = [{str(path): dict(axes)} if axes else str(path) for path, axes in self.plots.items()]
        values = {"params": list(self.params), "deps": [*map(str, self.deps)], "outs": [*map(str, self.outs)],
                  "metrics": [*map(str, self.metrics)], "plots": plots}
        return {"cmd": self.command, **{name: value for name, value in values.items() if value}}


def stages(config: Config, code: Sequence[str] = (), root: Path | None = None) -> list[Stage]:
    """Seed by seed the preparation and every strategy's cycles, then the report; `code` are folders of source.

    With a `root`, the working directory, a stage also depends on the labels of its batch that came back from people.
    """
    planned, study = [], config.study
    needs = [*map(Path, code), *_files(config)]
    for seed in study.seeds:
        workspace = _workspace(config, seed)
        planned.append(Stage(prepare_stage(study, seed), f"python -m flows.cli prepare --seed {seed}", seed,
                             params=_given(config, ("data",)), deps=(*needs, *_labels(config, root, seed, "", 0)),
                             outs=tuple(workspace.prepared / name for name in PREPARED)))
        planned += [_cycle(config, [*needs, *_labels(config, root, seed, strategy, cycle)], seed, strategy, cycle)
                    for strategy in study.strategies for cycle in range(1, study.cycles + 1)]
    return [*planned, _report(config, needs, planned)]


def prepare_stage(study: StudyConfig, seed: int) -> str:
    """The stage of a seed's preparation, by the name that DVC keeps; the seed is in it where a study has several."""
    return f"prepare{_of_seed(study, seed)}"


def cycle_stage(study: StudyConfig, seed: int, strategy: str, cycle: int) -> str:
    return f"{folder_name(strategy)}{_of_seed(study, seed)}-{cycle}"


def dvc_yaml(config: Config, code: Sequence[str] = (), root: Path | None = None) -> str:
    """The text of dvc.yaml: all stages, and the learning curves as one plot; see `stages`."""
    report = _workspace(config, config.study.seeds[0]).report
    curves = {str(curve_path(report, strategy)): "map" for strategy in config.study.strategies}
    plot = {"learning curves": {"x": "labelled", "y": curves, "x_label": "labelled images", "y_label": "mAP"}}
    content = {"stages": {stage.name: stage.as_dvc() for stage in stages(config, code, root)}, "plots": [plot]}
    return HEADER + yaml.safe_dump(content, sort_keys=False, width=118)


def curve_path(report: Path, strategy: str) -> Path:
    """One file a strategy, so that DVC draws one line a strategy."""
    return report / "curves" / f"{folder_name(strategy)}.csv"


def searches(strategy: str) -> bool:
    """Whether a strategy fills a table of experiments and searches it."""
    return Need.EXPERIMENTS in get(strategy).needs


def _labels(config: Config, root: Path | None, seed: int, strategy: str, cycle: int) -> list[Path]:
    """The labels of a batch in force, if people gave some."""
    if root is None or not (Workspace(root, config.study.name, seed).batch(strategy, cycle) / LABELS).exists():
        return []
    return [_workspace(config, seed).batch(strategy, cycle) / LABELS]


def experiments(table: TableConfig) -> int:
    """How many experiments the table of a cycle holds: no batch is repeated that was not designed."""
    return table.records + min(table.repeats, table.records)


def work(config: Config, splits: Splits, planned: Iterable[Stage]) -> Counter[str]:
    """Units of work by kind, as `mgral.progress` counts them; what exists already is skipped when it is met."""
    total, study = Counter(), config.study
    for stage in planned:
        ends = len(study.strategies) * len(study.seeds) if stage.name == REPORT else 0
        detectors = bool(stage.cycle) + ends
        total.update(train=config.training.steps * detectors, test=len(splits.test) * detectors)
        if stage.cycle:
            total.update(inspect=len(splits.pool) + len(splits.labelled) + len(splits.reward))
        if stage.strategy and searches(stage.strategy):
            total.update(choosing(config))
    return total


def choosing(config: Config) -> Counter[str]:
    """Units of work of a choice that fills a table and searches it."""
    table = config.table
    total = Counter({"experiment": experiments(table) + config.search.check, "search": config.search.iterations,
                     "true gain": TRUE_REPEATS * config.study.true_gains})
    if table.source == "student":  # a detector of half of the labels
        total["train"] = config.training.steps
    return total


def _cycle(config: Config, needs: Sequence[Path], seed: int, strategy: str, cycle: int) -> Stage:
    workspace, searching = _workspace(config, seed), searches(strategy)
    folder = workspace.cycle(strategy, cycle)
    before = [workspace.cycle(strategy, earlier) / name for earlier in range(cycle)
              for name in (LABELLED if earlier else PREPARED)]
    sections = (*_training(config, searching), "pool", "study.budget", "study.budget_boxes",
                *(("table", "search", "study.true_gains") if searching else ()))
    own = [Path(strategy)] if strategy.endswith(".py") else []
    return Stage(
        cycle_stage(config.study, seed, strategy, cycle),
        f"python -m flows.cli cycle --strategy {strategy} --seed {seed} --cycle {cycle}", seed, strategy, cycle,
        _given(config, sections), (*needs, *own, *before),
        tuple(folder / name for name in (*DECIDED, *(SEARCHED if searching else ()))), (folder / "metrics.json",),
        {folder / "search.csv": {"x": "iteration", "y": "mean"}} if searching else {})


def _report(config: Config, needs: Sequence[Path], before: Sequence[Stage]) -> Stage:
    """Reads results, and the labelled sets that the last detectors are trained on."""
    read = [out for stage in before for out in stage.outs if out.name in (*PREPARED, "result.json")]
    workspace = _workspace(config, config.study.seeds[0])
    folder = workspace.report
    curves = [folder / "learning_curve.csv", *(curve_path(folder, strategy) for strategy in config.study.strategies)]
    return Stage(REPORT, "python -m flows.cli report", params=_given(config, _training(config)), deps=(*needs, *read),
                 outs=(workspace.final, folder / "table.md", folder / "learning_curve.png", *curves),
                 metrics=(folder / "metrics.json",))


def _workspace(config: Config, seed: int) -> Workspace:
    """The study's name is left to DVC where params.yaml has one."""
    return Workspace(Path(), "${study.name}" if _given(config, ("study.name",)) else config.study.name, seed)


def _training(config: Config, searching: bool = False) -> tuple[str, ...]:
    semisupervised = searching or config.study.training != "supervised"
    return TRAINING + (("semisup",) if semisupervised else ())


def _files(config: Config) -> list[Path]:
    """The data set, and the files that describe the detector."""
    files = [] if config.data.format == "synthetic" or config.data.root is None else [Path("${data.root}")]
    named = {f"detector.{name}": getattr(config.detector, name) for name in ("config", "weights")}
    return files + [Path(f"${{{name}}}") for name, value in named.items()
                    if value is not None and "::" not in value and "://" not in value]


def _given(config: Config, names: Iterable[str]) -> tuple[str, ...]:
    """Those of the sections, or settings `section.name`, that the params file holds: DVC refuses others."""
    return tuple(name for name in names if _is_given(config, name.split(".")))


def _is_given(section: Section, keys: Sequence[str]) -> bool:
    first, *rest = keys
    return first in section.model_fields_set and (not rest or _is_given(getattr(section, first), rest))


def _of_seed(study: StudyConfig, seed: int) -> str:
    return f"-seed-{seed}" if len(study.seeds) > 1 else ""
