"""The lookup table of a cycle: its experiments, each an MLflow run, and what they are worth together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mgral.config import TableConfig
from mgral.data.dataset import ImageId
from mgral.errors import TableError
from mgral.inspection import Inspection
from mgral.lookup.design import design_batches
from mgral.lookup.estimator import Estimator, make_estimator
from mgral.lookup.fidelity import better_half, noise_of, settle
from mgral.lookup.history import Lessons, lessons
from mgral.lookup.quality import Quality, spearman
from mgral.lookup.representation import Representation
from mgral.lookup.sequential import CANDIDATES, ROUND, next_batches
from mgral.lookup.store import Record, Table, open_table
from mgral.report.search import draw_table
from mgral.semisup.experiment import measured_at
from mgral.study.fingerprint import derived_seed
from mgral.study.laboratory import Laboratory
from mgral.study.opened import Job, open_study
from mgral.study.progress import current
from mgral.study.snapshot import labelled
from tasks.artifacts import show_table
from tasks.detector import Trained
from tasks.engine import step
from tasks.runs import cycle_run, open_tracker
from tasks.source import Source, open_laboratory, open_source, representation, true_source

FEWEST = 4
"""Batches, below which nothing can be learned from a table."""

Batch = tuple[ImageId, ...]


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
    """Runs the designed experiments that are not in the table yet, and judges what they say together."""
    seen = Inspection.load(view)
    source = open_source(job, trained, seen)
    with open_table(f"sqlite:///{job.workspace.table}") as table:
        laboratory = open_laboratory(job, trained, table, source)
        records = _Filling(job, laboratory, source).records()
        quality, remarks = _judged(job, trained, table, laboratory, source, seen, records)
    verdict = " ".join([str(quality), *(f"{one[0].upper()}{one[1:]}." for one in remarks)])
    filled = Filled(laboratory.scope, tuple(one.fingerprint for one in records), laboratory.reused,
                    laboratory.new, quality.loo_r2, quality.spearman, quality.guides, verdict,
                    {"experiments": sum(one.seconds for one in records)})
    current.get().note(f"{job.title} reused {filled.reused}, run {filled.new}. {filled.verdict}")
    show_table(f"records-{job.strategy}-{job.cycle}", [_row(one) for one in records], filled.verdict)
    return filled


def learn_from(job: Job, table: Table, laboratory: Laboratory, source: Source,
               records: Sequence[Record]) -> tuple[Estimator, Lessons]:
    """An estimator, not yet taught, and what there is to teach it: these records, and earlier ones where they help."""
    represent = _described(job, source)
    unlearned = make_estimator(job.config.table, represent, derived_seed(job.config.seed, "estimator"))
    settled = settle(records, job.config.table)
    earlier = _earlier(job, table, laboratory, source) if job.config.table.history else []
    return unlearned, lessons(unlearned, (represent(settled.batches), settled), earlier)


@dataclass(frozen=True, eq=False)
class _Filling:
    """Runs a table's experiments in the order of its design."""

    job: Job
    laboratory: Laboratory
    source: Source

    @property
    def config(self) -> TableConfig:
        return self.job.config.table

    def records(self) -> list[Record]:
        """All records of the design, as designed, whichever experiment ended first: figures must not depend on it.

        Raises:
            TableError: too few experiments fitted into memory.
        """
        config, progress = self.config, current.get()
        total = config.records + min(config.repeats, config.records)
        with progress.phase(f"{self.job.title} experiments", "experiment", total) as advance:
            batches = self._spread(config.records if config.design != "sequential" else -(-config.records // 2))
            records = self._measured(batches, advance)
            while config.design == "sequential" and len(batches) < config.records:
                wanted = self._next(records, batches, min(ROUND, config.records - len(batches)))
                if not wanted:  # a pool hardly larger than the budget has no further batches
                    break
                records += self._measured(wanted, advance)
                batches += wanted
            records += self._measured(batches[:config.repeats], advance, repeat=1)
        if len({one.image_ids for one in records}) < FEWEST:
            raise TableError(f"{self.job.title} expected at least {FEWEST} experiments to learn from, got "
                             f"{len(records)}: the others did not fit into memory, see above; lower table.at_once or "
                             "detector.image_size")
        return records

    def _measured(self, batches: Sequence[Batch], advance: Callable[[int], None], repeat: int = 0) -> list[Record]:
        """Trains on each batch; at every rung the less promising half stops. Repeats are not stopped."""
        stopped, left = [], list(batches)
        if not repeat:
            stops = measured_at(self.source.config.steps, self.config.measurements)
            for rung in self.config.rungs:
                paused = self._run(left, lambda units: None, repeat, stops[rung - 1])
                going = better_half(paused, self.config)
                left = [one.image_ids for one in going]
                ended = [one for one in paused if one.image_ids not in set(left)]
                for one in ended:
                    self.laboratory.interim(self.laboratory.name(one.image_ids)).unlink(missing_ok=True)
                advance(len(ended))
                stopped += ended
        return stopped + self._run(left, advance, repeat)

    def _run(self, batches: Sequence[Batch], advance: Callable[[int], None], repeat: int,
             until: int | None = None) -> list[Record]:
        laboratory, found = self.laboratory, {}
        known = sum(laboratory.known(batch, repeat, until) for batch in batches)
        if until is None:
            current.get().skip("experiment", known)
        for record in laboratory.measure_all(batches, "design", repeat=repeat, until=until):
            found[record.fingerprint] = record
            if len(found) > known:  # those of the table come first
                advance(1)
        names = [laboratory.name(batch, repeat, until) for batch in batches]
        return [found[name] for name in names if name in found]

    def _spread(self, count: int) -> list[Batch]:
        return self._designed(count, "random" if self.config.design == "random" else "spread", "design")

    def _next(self, records: Sequence[Record], batches: Sequence[Batch], count: int) -> list[Batch]:
        """What a sequential design measures next."""
        table = self.laboratory.table
        unlearned, known = learn_from(self.job, table, self.laboratory, self.source, records)
        drawn = self._designed(CANDIDATES, "spread", f"round {len(batches)}")
        candidates = [one for one in dict.fromkeys(drawn) if one not in set(batches)]
        return next_batches(_described(self.job, self.source), known.teach(unlearned), candidates,
                            min(count, len(candidates)))

    def _designed(self, count: int, design: str, name: str) -> list[Batch]:
        source, seed = self.source, derived_seed(self.job.config.seed, name, self.laboratory.snapshot)
        settings = self.config.model_copy(update={"design": design, "records": count})
        return design_batches(settings, source.seen, source.pool, source.labelled, source.budget, seed)


def _judged(job: Job, trained: Trained, table: Table, laboratory: Laboratory, source: Source, seen: Inspection,
            records: list[Record]) -> tuple[Quality, list[str]]:
    """What the table is worth and remarks about it; estimates against measurements are drawn beside the batch, and all
    figures are in the cycle's run."""
    config = job.config.table
    unlearned, known = learn_from(job, table, laboratory, source, records)
    left, settled = known.left_out(unlearned), settle(records, config)
    quality = Quality.of(settled.rewards, left, settled.noise, settled.groups)
    noise = noise_of(records, config)
    remarks = [str(one) for one in (noise, known) if one is not None and str(one)]
    figures = {"table/loo_r2": quality.loo_r2, "table/spearman": quality.spearman,
               "table/within_one_deviation": quality.within_one, "table/history_weight": known.weight}
    if noise:
        figures |= {"table/deviation_runs": noise.runs, "table/deviation_batches": noise.batches}
    if job.config.study.true_gains:
        rank = _true_rank(job, trained, table, seen, known.teach(unlearned), {one.image_ids for one in records})
        figures["table/spearman_true"] = rank
        remarks.append(f"Spearman {rank:.2f} between estimate and true gain in mAP on the test split, "
                       f"{job.config.study.true_gains} held-out batches")
    path = job.workspace.cycle(job.strategy, job.cycle) / "table.png"
    draw_table(path, settled.rewards, left.value, left.deviation, config.reward, str(quality))
    run = cycle_run(job, open_tracker(job), trained.snapshot)
    run.metrics(figures)
    run.artifact(path)
    return quality, remarks


def _true_rank(job: Job, trained: Trained, table: Table, seen: Inspection, estimator: Estimator,
               measured: set[Batch]) -> float:
    """Rank correlation of the estimate with what true labels bring, on batches that are no records."""
    source, count = true_source(job, trained, seen), job.config.study.true_gains
    settings = job.config.table.model_copy(update={"design": "spread", "records": 2 * count + len(measured)})
    seed = derived_seed(job.config.seed, "true gains", trained.snapshot)
    drawn = design_batches(settings, seen, source.pool, source.labelled, source.budget, seed)
    batches = [one for one in dict.fromkeys(drawn) if one not in measured][:count]
    laboratory = open_laboratory(job, trained, table, source)
    with current.get().phase(f"{job.title} true gains", "true gain", len(batches)) as advance:
        gains = {}
        for record in laboratory.measure_all(batches, "truth", patient=False):
            gains[record.image_ids] = record.map
            advance(1)
    estimates = estimator.predict(_described(job, source)(batches)).value
    return spearman(np.array([gains[one] for one in batches]), estimates)


def _earlier(job: Job, table: Table, laboratory: Laboratory, source: Source) -> list:
    """The tables of earlier cycles, as today's detector sees their images, relative to what was labelled then.

    Left out are cycles with fewer than 4 whole batches, and batches of images that are not looked at today.
    """
    study, found, today = open_study(job), [], {*source.pool, *source.labelled}
    alike = table.records(kind=laboratory.kind, origin="design")
    for cycle in range(1, job.cycle):
        records = [one for one in alike if (one.study, one.strategy, one.cycle) == (job.config.study.name, job.strategy,
                                                                                    cycle)
                   and today.issuperset(one.image_ids)]
        if len({one.image_ids for one in records}) < FEWEST:
            continue
        boxes = labelled(study.workspace, job.strategy, cycle - 1, study.dataset)
        represent = representation(job, source.seen, sorted(today - {*boxes}), sorted(boxes), source.budget)
        settled = settle(records, job.config.table)
        found.append((represent(settled.batches), settled))
    return found


def _described(job: Job, source: Source) -> Representation:
    return representation(job, source.seen, source.pool, source.labelled, source.budget)


def _row(record: Record) -> dict[str, object]:
    return {"fingerprint": record.fingerprint[:12], "origin": record.origin, "map": record.map, "ap50": record.ap50,
            "balanced_loss": record.balanced_loss, "seconds": round(record.seconds, 2), "images": len(record.image_ids),
            "steps": record.steps, "repeat": record.repeat, "mlflow_run_id": record.mlflow_run_id}
