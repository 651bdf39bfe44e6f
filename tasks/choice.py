"""The choice of a batch: any query strategy, with the experiments and pictures of those that have some."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from mgral import strategies
from mgral.errors import StateError
from mgral.experiments.processes import warm_up
from mgral.experiments.runner import Provenance
from mgral.experiments.store import Table, open_table
from mgral.files import read_json, write_json
from mgral.generators import finished
from mgral.pool.content import FEWEST, Content, fit_content
from mgral.pool.effort import affordable, expected_boxes
from mgral.pool.inspection import Inspection
from mgral.progress import current
from mgral.randomness import derived_seed
from mgral.report.content import draw_calibration
from mgral.report.search import draw_search, draw_table, write_search
from mgral.search.setup import Setup
from mgral.search.strategy import Outcome
from mgral.strategies import Need, PoolView, Selection, Strategy
from mgral.study.plan import choosing
from mgral.study.results import (
    SNAPSHOT,
    Choice,
    ChoiceRecord,
    ContentResult,
    SearchResult,
    TableResult,
    deciding,
)
from mgral.study.snapshot import labelled
from tasks.detector import Inspected, Trained
from tasks.engine import flow_run_id, step
from tasks.experiments import ExperimentLog
from tasks.job import Job
from tasks.opened import Study, open_study
from tasks.runs import cycle_run, open_tracker
from tasks.tracking import Run


@dataclass(frozen=True, slots=True)
class Chosen:
    """The batch, and what a strategy with a table found out besides."""

    choice: Choice
    table: TableResult | None = None
    search: SearchResult | None = None
    content: ContentResult | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


def start_processes(job: Job) -> None:
    """Starts loading what experiments need, in a process of its own, for a strategy that runs some."""
    if Need.EXPERIMENTS in strategies.get(job.strategy).needs and job.config.table.at_once != 1:
        warm_up()


@step("choose batch")
def choose_batch(job: Job, trained: Trained, inspected: Inspected) -> Chosen:
    """Lets the study's strategy choose; every experiment that it runs on the way is logged as it ends.

    What was chosen before stays, even where labels that it was chosen on were corrected since: people may be at work
    on it.

    Raises:
        StateError: it was chosen with other settings, or when other images were labelled; or nothing is left to choose
            from.
    """
    path = job.workspace.choice(job.strategy, job.cycle)
    by = deciding(job.config, Need.EXPERIMENTS in strategies.get(job.strategy).needs, trained.snapshot)
    handed_out = job.workspace.handed_out(job.strategy, job.cycle)
    known = next((file for file in (path, handed_out) if file.exists()), None)
    if known is not None:
        before = ChoiceRecord.read(known)
        before.check(known, by)
        since = "" if before.by[SNAPSHOT] == trained.snapshot else _corrected_since(job, before.choice, known)
        replace(before, reached=trained.map).write(path)
        _skip_choosing(job)
        current.get().note(f"the batch chosen before stays: {len(before.choice.ids)} images ({before.choice.origin})"
                           f"{since}.")
        study = open_study(job)
        content = _with_calibration(job, trained, _learned(job, study, Inspection.load(inspected.path)))
        return Chosen(before.choice, before.table, before.search, content, _seconds_before(job))
    chosen = _choose(job, trained, inspected)
    ChoiceRecord(chosen.choice, chosen.table, chosen.search, by, trained.map, chosen.content).write(path)
    return chosen


def _choose(job: Job, trained: Trained, inspected: Inspected) -> Chosen:
    study, strategy, begun = open_study(job), strategies.get(job.strategy), time.monotonic()
    rng = np.random.default_rng(derived_seed(job.seed, strategy.name, job.cycle))
    with ExitStack() as opened:
        view, log = _view(job, study, strategy, trained, inspected, opened)
        selection = finished(strategies.choose(_able(strategy, view), view, _budget(job, view), rng), log)
    selection = _affordable(job, study, view, selection)
    seconds = {"choose": time.monotonic() - begun}
    choice, content = _choice(selection), _with_calibration(job, trained, view.content)
    if not isinstance(selection.outcome, Outcome):
        return Chosen(choice, content=content, seconds=seconds)
    return replace(_with_outcome(job, trained, choice, selection.outcome), content=content)


def _learned(job: Job, study: Study, seen: Inspection) -> Content | None:
    """What is expected in the images, learned from those that are labelled and those of the reward split."""
    boxes = labelled(study.workspace, job.strategy, job.cycle - 1, study.dataset)
    return fit_content(seen, {**boxes, **study.truth(study.splits.reward)}, study.dataset.classes, boxes)


def _with_calibration(job: Job, trained: Trained, content: Content | None) -> ContentResult | None:
    """Draws how well what is in an image is known, beside the batch and in the cycle's MLflow run."""
    path = job.workspace.cycle(job.strategy, job.cycle) / "content.png"
    calibration = content and content.calibration
    draw_calibration(path, calibration)
    run = cycle_run(job, open_tracker(job), trained.snapshot)
    run.artifact(path)
    if calibration is None:
        return None
    explained, seen = calibration.explained(calibration.expected), calibration.explained(calibration.seen)
    run.metrics({"content/explained": explained, "content/seen": seen})
    return ContentResult(len(calibration.counted), explained, seen, calibration.verdict)


def _view(job: Job, study: Study, strategy: Strategy, trained: Trained, inspected: Inspected,
          opened: ExitStack) -> tuple[PoolView, ExperimentLog | None]:
    """What the strategy is shown: the truth and experiments only if it needs them."""
    seen = Inspection.load(inspected.path)
    boxes = labelled(study.workspace, job.strategy, job.cycle - 1, study.dataset)
    known = tuple(image_id for image_id in seen.ids if image_id in boxes)
    left_out = boxes.keys() | study.labelled_now() | set(study.splits.reward)
    pool = tuple(image_id for image_id in seen.ids if image_id not in left_out)
    view = PoolView(pool, known, seen, study.dataset.classes,
                    study.dataset.boxes if Need.TRUTH in strategy.needs else None, annotated=boxes,
                    content=_learned(job, study, seen), near_duplicates=job.config.pool.near_duplicates)
    if Need.EXPERIMENTS not in strategy.needs:
        return view, None
    table = opened.enter_context(open_table(study.table_url))
    setup = _setup(job, study, trained, table, boxes, pool)
    log = opened.enter_context(ExperimentLog(job, study, table, cycle_run(job, open_tracker(job), trained.snapshot)))
    return replace(view, setup=setup), log


def _setup(job: Job, study: Study, trained: Trained, table: Table, boxes: Mapping, pool: tuple[str, ...]) -> Setup:
    config, splits = job.config, study.splits
    provenance = Provenance(config.study.name, job.strategy, job.cycle, trained.snapshot, job.seed, flow_run_id())
    simulated = bool(config.study.true_gains)
    return Setup(config.table, config.search, config.semisup, study.detectors, trained.fingerprint, table, provenance,
                 config.study.budget, study.splits_hash, boxes, study.truth(splits.reward), study.workspace.cache,
                 config.study.true_gains, study.truth(pool) if simulated else None,
                 study.truth(splits.test) if simulated else None)


def _able(strategy: Strategy, view: PoolView) -> Strategy:
    """The strategy, or core-set while too little is annotated for it to know what is in an image."""
    if Need.CONTENT not in strategy.needs or view.content is not None:
        return strategy
    current.get().note(f"fewer than {FEWEST} annotated images, too few to learn from what is in the others: coreset "
                       f"chooses instead of {strategy.name}.")
    return strategies.get("coreset")


def _budget(job: Job, view: PoolView) -> int:
    """The budget, or what is left of the pool."""
    if not view.pool:
        raise StateError(f"{job.workspace.seed_folder}: expected images that are not labelled yet, got none left; add "
                         "images to the data folder, or lower study.cycles")
    return min(job.config.study.budget, len(view.pool))


def _corrected_since(job: Job, choice: Choice, path: Path) -> str:
    """What became of the labels that a batch was chosen on, in words.

    Raises:
        StateError: images of the batch are labelled by now, so that it is no batch of this labelled set.
    """
    dataset = open_study(job).dataset
    taken = set(choice.ids) & labelled(job.workspace, job.strategy, job.cycle - 1, dataset).keys()
    if taken:
        raise StateError(f"{path}: expected a batch of images that were not labelled before cycle {job.cycle}, got "
                         f"{len(taken)} that are, {min(taken)} among them; delete {path.parent} and later cycles to "
                         "choose anew")
    return ", on labels that were corrected since"


def _affordable(job: Job, study: Study, view: PoolView, selection: Selection) -> Selection:
    """The best images of the batch whose expected boxes fit into study.budget_boxes; says how many boxes they are."""
    budget = job.config.study.budget_boxes
    if budget is None:
        return selection
    boxes = labelled(study.workspace, job.strategy, job.cycle - 1, study.dataset)
    expected = expected_boxes(view.inspection, selection.ids, boxes)
    count = affordable(expected, budget)
    current.get().note(f"{count} of the {len(selection.ids)} images chosen, in which about "
                       f"{expected[:count].sum():.0f} boxes are expected (study.budget_boxes: {budget}).")
    return replace(selection, ids=selection.ids[:count], scores=selection.scores[:count],
                   reasons=selection.reasons[:count])


def _skip_choosing(job: Job) -> None:
    """Has the remaining time not count what a choice would have taken."""
    if Need.EXPERIMENTS in strategies.get(job.strategy).needs:
        for kind, units in choosing(job.config).items():
            current.get().skip(kind, units)


def _seconds_before(job: Job) -> dict[str, float]:
    path = job.workspace.seconds(job.strategy, job.cycle)
    return read_json(path) if path.exists() else {}


def _choice(selection: Selection) -> Choice:
    order = sorted(range(len(selection.ids)), key=selection.ids.__getitem__)
    return Choice(*(tuple(values[row] for row in order) if isinstance(values, tuple) else values for values in (
        selection.ids, selection.origin, selection.scores, selection.reasons)))


def _with_outcome(job: Job, trained: Trained, choice: Choice, outcome: Outcome) -> Chosen:
    """Draws table and search beside the batch and in the cycle's MLflow run."""
    table, found = outcome.table, outcome.search
    folder, reward = job.workspace.cycle(job.strategy, job.cycle), job.config.table.reward
    controls = {} if found is None else {name: control.value for name, control in found.controls.items()}
    iterations = () if found is None else found.iterations
    draw_table(folder / "table.png", table.measured, table.estimated, table.deviation, reward, str(table.quality))
    write_search(folder / "search.csv", iterations)
    draw_search(folder / "search.png", iterations, reward, found and found.value, controls)
    write_json(folder / "controls.json", {} if found is None else {
        name: asdict(control) for name, control in found.controls.items()})
    run = cycle_run(job, open_tracker(job), trained.snapshot)
    run.metrics({f"table/{name}": value for name, value in table.figures().items()})
    _track_iterations(run, iterations)
    for name in ("table.png", "search.png", "controls.json"):
        run.artifact(folder / name)
    quality = table.quality
    worth = TableResult(len(table.fingerprints) + (found.fallbacks if found else 0), quality.loo_r2, quality.spearman,
                        quality.reliable, table.verdict)
    seconds = {"experiments": table.seconds, **(found.seconds if found else {})}
    search = found and SearchResult(found.value, found.estimate, found.deviation, found.checked, found.fallbacks,
                                    controls)
    return Chosen(choice, worth, search, seconds=seconds)


def _track_iterations(run: Run, iterations: tuple) -> None:
    figures = ("mean", "best", "baseline", "entropy", "gradient_norm")
    run.curve([(iteration.iteration, {f"search/{name}": getattr(iteration, name) for name in figures})
               for iteration in iterations])
