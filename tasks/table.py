"""The lookup table of a cycle: its experiments, each an MLflow run, and what they are worth together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mgral.config import TableConfig
from mgral.data.dataset import ImageId
from mgral.errors import MemoryFault, TableError
from mgral.files import read_json, write_json
from mgral.inspection import Inspection
from mgral.lookup.design import design_batches
from mgral.lookup.estimator import Estimator, make_estimator
from mgral.lookup.images import uncertainty
from mgral.lookup.quality import Quality, assess, leave_one_out
from mgral.lookup.representation import Representation
from mgral.lookup.shortlist import shortlist
from mgral.lookup.store import Record, Table, open_table
from mgral.report.search import draw_table
from mgral.study.fingerprint import derived_seed, fingerprint
from mgral.study.laboratory import Laboratory, experiment_scope, reward_of
from mgral.study.opened import Job, device_of, open_study
from mgral.study.progress import current
from mgral.study.snapshot import labelled
from mgral.study.workers import Planned, Result, Workplace, run_all
from tasks.artifacts import show_table
from tasks.detector import Trained, checkpoint_of
from tasks.engine import flow_run_id, step
from tasks.runs import cycle_run, open_tracker, params_of, tags_of
from tasks.tracking import Tracker

Sets = tuple[tuple[ImageId, ...], tuple[ImageId, ...]]

FEWEST = 4
"""Records, below which nothing can be learned from a table."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A table that is ready for a search; figures are leave-one-out over its records."""

    scope: str
    fingerprints: tuple[str, ...]
    """The experiments of this table's design, in order: the table may hold others of the same scope."""
    reused: int
    new: int
    loo_r2: float
    spearman: float
    guides: bool
    """Whether the table can guide a search; `verdict` says so in a sentence."""
    verdict: str
    seconds: Mapping[str, float]

    @property
    def records(self) -> int:
        return len(self.fingerprints)


@step("fill table of experiments")
def fill_table(job: Job, trained: Trained, view: Path) -> Filled:
    """Runs the designed experiments that are not in the table yet."""
    with open_table(f"sqlite:///{job.workspace.table}") as table:
        laboratory = open_laboratory(job, trained, table)
        records = _run_design(job, laboratory, Inspection.load(view))
    quality = _judged(job, trained, Inspection.load(view), records)
    filled = Filled(laboratory.scope, tuple(one.fingerprint for one in records), laboratory.reused,
                    laboratory.new, quality.loo_r2, quality.spearman, quality.guides, str(quality),
                    {"experiments": sum(one.seconds for one in records)})
    current.get().note(f"{job.title} reused {filled.reused}, run {filled.new}. {filled.verdict}")
    show_table(f"records-{job.strategy}-{job.cycle}", [_row(one) for one in records], filled.verdict)
    return filled


def open_laboratory(job: Job, trained: Trained, table: Table) -> Laboratory:
    """Where experiments of this cycle are run: from its detector, judged on the reward split and on nothing else."""
    study, config = open_study(job), job.config
    boxes = labelled(study.workspace, job.strategy, job.cycle - 1, study.dataset)
    place = Workplace(checkpoint_of(job, trained), device_of(config), study.store, boxes,
                      study.truth(study.splits.reward), config.semisup)

    def run(planned: Sequence[Planned]) -> Iterator[tuple[Planned, Result]]:
        return run_all(place, planned, config.table.at_once,
                       lambda line: current.get().note(f"{job.title} {line}"))

    tracker = open_tracker(job)
    parent = cycle_run(job, tracker, trained.snapshot)

    def announce(name: str, origin: str, result: Result, seed: int) -> str:
        return _track(job, tracker, parent.run_id, name, origin, result, seed)

    def interim(name: str) -> Path:
        return study.workspace.cached("experiments", name, ".part.pth")

    scope = experiment_scope(trained.fingerprint, study.splits_hash, config.semisup, config.seed)
    return Laboratory(table, run, announce, interim, scope, study.dataset.classes, config.seed, config.study.name,
                      job.strategy, job.cycle, trained.snapshot, len(boxes), flow_run_id())


def representation(job: Job, view: Inspection) -> Representation:
    """How a batch of this cycle's pool is described to the estimator."""
    pool, known = divided(job, view)
    seed = derived_seed(job.config.seed, "representation")
    return Representation(job.config.table.representation, view, pool, known, job.config.study.budget, seed)


def fitted(config: TableConfig, represent: Representation, records: list[Record]) -> Estimator:
    return make_estimator(config).fit(represent([one.image_ids for one in records]), rewards(config, records))


def rewards(config: TableConfig, records: list[Record]) -> np.ndarray:
    return np.array([reward_of(one, config.reward) for one in records])


def _judged(job: Job, trained: Trained, view: Inspection, records: list[Record]) -> Quality:
    """What the table is worth, drawn as estimate against measurement beside the batch and in the cycle's run."""
    config, represent = job.config.table, representation(job, view)
    described, measured = represent([one.image_ids for one in records]), rewards(config, records)
    estimates = leave_one_out(make_estimator(config), described, measured)
    quality = assess(make_estimator(config), described, measured)
    path = job.workspace.cycle(job.strategy, job.cycle) / "table.png"
    draw_table(path, measured, estimates, config.reward, str(quality))
    cycle_run(job, open_tracker(job), trained.snapshot).artifact(path)
    return quality


def _run_design(job: Job, laboratory: Laboratory, view: Inspection) -> list[Record]:
    config, progress = job.config, current.get()
    pool, known = divided(job, view)
    batches = design_batches(config.table, view, pool, known, config.study.budget,
                             derived_seed(config.seed, "design", laboratory.snapshot))
    progress.skip("experiment", sum(laboratory.known(batch) for batch in batches))
    records = {}
    with progress.phase(f"{job.title} experiments", "experiment", len(batches)) as advance:
        for record in laboratory.measure_all(batches, "design"):
            records[record.fingerprint] = record
            advance(int(len(records) > laboratory.reused))  # those of the table come first
    # As designed, whichever experiment ended first: the figures must not depend on it.
    wanted = [laboratory.name(batch) for batch in batches]
    if len(records) < FEWEST:
        raise TableError(f"{job.title} expected at least {FEWEST} experiments to learn from, got {len(records)}: "
                         "the others did not fit into memory, see above; lower table.at_once or detector.image_size")
    return [records[name] for name in wanted if name in records]


def _track(job: Job, tracker: Tracker, parent: str, name: str, origin: str, result: Result, seed: int) -> str:
    """An MLflow run of its own, nested in the cycle's and carrying what one would filter by."""
    run = tracker.run(name, f"{origin} {name[:8]}", parent, {**params_of(job), "cycle": job.cycle, "origin": origin,
                      "experiment_seed": seed}, tags_of(job, "experiment"))
    if isinstance(result, MemoryFault):
        current.get().note(f"{job.title} {result}")
        run.tag("mgral.fault", str(result))
        run.finish(failed=True)
        return run.run_id
    run.metrics({"reward/map": result.map, "reward/ap50": result.ap50, "reward/balanced_loss": result.balanced_loss,
                 "reward/loss": result.loss, "seconds": result.seconds,
                 **{f"reward/ap/{label}": value
                    for label, value in zip(open_study(job).dataset.classes, result.per_class, strict=True)}})
    run.finish()
    return run.run_id


def divided(job: Job, view: Inspection) -> Sets:
    """The images that table and search look at, the shortlist if there is to be one, and those labelled already."""
    pool, known = whole(job, view)
    size = job.config.table.shortlist
    return (pool if size is None or size >= len(pool) else _shortlisted(job, view, pool, known, size)), known


def whole(job: Job, view: Inspection) -> Sets:
    """The images that the detector was shown: those that may be chosen, and those that are labelled already."""
    study = open_study(job)
    boxes = labelled(study.workspace, job.strategy, job.cycle - 1, study.dataset)
    return (tuple(image_id for image_id in view.ids if image_id not in boxes),
            tuple(image_id for image_id in view.ids if image_id in boxes))


def _shortlisted(job: Job, view: Inspection, pool: Sequence[ImageId], known: tuple[ImageId, ...],
                 size: int) -> tuple[ImageId, ...]:
    """Made once for an inspection and its labelled images, then read from the cache."""
    seed = derived_seed(job.config.seed, "shortlist")
    path = job.workspace.cached("shortlists", fingerprint("shortlist", view.name, known, size, seed), ".json")
    if not path.exists():
        rows = shortlist(view.embedding, view.rows(known), size, seed, uncertainty(view))
        write_json(path, [view.ids[row] for row in rows])
        current.get().note(f"{job.title} {size:,} of {len(pool):,} images shortlisted.")
    return tuple(read_json(path))


def _row(record: Record) -> dict[str, object]:
    return {"fingerprint": record.fingerprint[:12], "origin": record.origin, "map": record.map, "ap50": record.ap50,
            "balanced_loss": record.balanced_loss, "seconds": round(record.seconds, 2), "images": len(record.image_ids),
            "mlflow_run_id": record.mlflow_run_id}
