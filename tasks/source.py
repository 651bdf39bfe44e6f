"""What the experiments of a cycle start from and what they learn from (`table.source`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mgral.config import SemisupConfig
from mgral.data.dataset import Boxes, ImageId
from mgral.errors import ConfigError, MemoryFault
from mgral.files import read_json, write_json
from mgral.inspection import Inspection
from mgral.lookup.images import uncertainty
from mgral.lookup.representation import Representation
from mgral.lookup.shortlist import shortlist
from mgral.lookup.store import Table
from mgral.study.fingerprint import derived_seed, fingerprint
from mgral.study.laboratory import FIGURES, Laboratory, experiment_kind, experiment_scope
from mgral.study.opened import Job, device_of, open_study
from mgral.study.progress import current
from mgral.study.snapshot import labelled
from mgral.study.workers import Planned, Result, Workplace, run_all
from tasks.detector import Trained, checkpoint_of, inspect_part, train_part
from tasks.engine import flow_run_id
from tasks.runs import cycle_run, open_tracker, params_of, tags_of
from tasks.tracking import Tracker

Sets = tuple[tuple[ImageId, ...], tuple[ImageId, ...]]
"""Images that may be chosen, and labelled ones."""

TRUE_TIMES = 4
"""How many times as long as an experiment a training with true labels takes, so that its gain is nearly all there."""
FEWEST_PLAYED = 8
"""Labelled images that must be left to be played as a pool."""


@dataclass(frozen=True, eq=False)
class Source:
    """Experiments of one kind, and the pool that their batches are drawn from.

    They start from the detector of fingerprint `start` at `checkpoint`, are told the boxes of `known`, and of images in
    `given` when these are in the batch. Batches hold `budget` images of `pool`, described by what is `seen` of them and
    of the images in `labelled`.
    """

    name: str
    start: str
    checkpoint: Path
    known: Mapping[ImageId, Boxes]
    given: Mapping[ImageId, Boxes]
    config: SemisupConfig
    pool: tuple[ImageId, ...]
    labelled: tuple[ImageId, ...]
    seen: Inspection
    budget: int


def open_source(job: Job, trained: Trained, seen: Inspection) -> Source:
    """The source that the settings name; `seen` is the cycle's inspection.

    Raises:
        ConfigError: too few labelled images to play a pool with.
    """
    config, boxes, (pool, known) = job.config, boxes_before(job), divided(job, seen)
    source = Source(config.table.source, trained.fingerprint, checkpoint_of(job, trained), boxes, {}, config.semisup,
                    pool, known, seen, config.study.budget)
    if source.name == "semisupervised":
        return source
    part = train_part(job, trained)
    source = replace(source, start=part.fingerprint, checkpoint=part.checkpoint,
                     known={image_id: boxes[image_id] for image_id in part.labelled},
                     config=_supervised(config.semisup))
    if source.name == "student":
        return replace(source, given=_pseudo_labels(seen, pool, config.table.pseudo_label))
    played = tuple(image_id for image_id in sorted(boxes) if image_id not in source.known)
    if len(played) < FEWEST_PLAYED:
        raise ConfigError(f"table.source: expected at least {2 * FEWEST_PLAYED} labelled images to play a pool with "
                          f"half of them, got {len(boxes)}; take another source for this cycle")
    return replace(source, given={image_id: boxes[image_id] for image_id in played}, pool=played,
                   labelled=part.labelled, seen=Inspection.load(inspect_part(job, part)),
                   budget=len(played) // 2)


def true_source(job: Job, trained: Trained, seen: Inspection) -> Source:
    """Trainings with the batch's true labels, from the cycle's detector: what a simulated study may check itself by."""
    config, (pool, known) = job.config, divided(job, seen)
    longer = config.semisup.model_copy(update={"steps": TRUE_TIMES * config.semisup.steps})
    return Source("truth", trained.fingerprint, checkpoint_of(job, trained), boxes_before(job),
                  open_study(job).truth(pool), _supervised(longer), pool, known, seen, config.study.budget)


def representation(job: Job, seen: Inspection, pool: Sequence[ImageId], known: Sequence[ImageId],
                   budget: int) -> Representation:
    """How batches of images of a pool are described to the estimator, relative to the images that are labelled."""
    config = job.config.table
    return Representation(config.representation, seen, pool, known, budget,
                          derived_seed(job.config.seed, "representation"), config.whitening)


def open_laboratory(job: Job, trained: Trained, table: Table, source: Source) -> Laboratory:
    """Where experiments of this cycle are run: judged on the reward split and on nothing else, but for true gains,
    which nothing is chosen by, on the test split."""
    study, config = open_study(job), job.config
    measured_on = study.splits.test if source.name == "truth" else study.splits.reward
    place = Workplace(source.checkpoint, device_of(config), study.store, source.known, study.truth(measured_on),
                      source.config, config.table.measurements, source.given)

    def run(planned: Sequence[Planned]) -> Iterator[tuple[Planned, Result]]:
        return run_all(place, planned, config.table.at_once,
                       lambda line: current.get().note(f"{job.title} {line}"))

    tracker = open_tracker(job)
    parent = cycle_run(job, tracker, trained.snapshot)

    def announce(name: str, origin: str, result: Result, seed: int) -> str:
        return _track(job, tracker, parent.run_id, name, origin, result, seed)

    def interim(name: str) -> Path:
        return study.workspace.cached("experiments", name, ".part.pth")

    kind = experiment_kind(source.name, study.splits_hash, source.config, config.table, config.seed)
    return Laboratory(table, run, announce, interim, experiment_scope(kind, source.start), kind, study.dataset.classes,
                      config.seed, config.study.name, job.strategy, job.cycle, trained.snapshot, len(source.known),
                      flow_run_id())


def divided(job: Job, view: Inspection) -> Sets:
    """The images that table and search look at, the shortlist if there is to be one, and those labelled already."""
    pool, known = whole(job, view)
    size = job.config.table.shortlist
    return (pool if size is None or size >= len(pool) else _shortlisted(job, view, pool, known, size)), known


def whole(job: Job, view: Inspection) -> Sets:
    """The images that the detector was shown: those that may be chosen, and those that are labelled already."""
    boxes = boxes_before(job)
    return (tuple(image_id for image_id in view.ids if image_id not in boxes),
            tuple(image_id for image_id in view.ids if image_id in boxes))


def boxes_before(job: Job) -> dict[ImageId, Boxes]:
    """What is labelled when the cycle begins."""
    study = open_study(job)
    return labelled(study.workspace, job.strategy, job.cycle - 1, study.dataset)


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


def _supervised(config: SemisupConfig) -> SemisupConfig:
    """The same steps, all of their images labelled."""
    return config.model_copy(update={
        "method": "supervised", "labelled_per_step": config.labelled_per_step + config.unlabelled_per_step})


def _pseudo_labels(seen: Inspection, pool: Sequence[ImageId], score: float) -> dict[ImageId, Boxes]:
    sure = {image_id: seen.detections[seen.row[image_id]].above(score) for image_id in pool}
    return {image_id: Boxes.of(one.xyxy, one.labels) for image_id, one in sure.items()}


def _track(job: Job, tracker: Tracker, parent: str, name: str, origin: str, result: Result, seed: int) -> str:
    """An MLflow run of its own, nested in the cycle's and carrying what one would filter by."""
    run = tracker.run(name, f"{origin} {name[:8]}", parent, {**params_of(job), "cycle": job.cycle, "origin": origin,
                      "experiment_seed": seed}, tags_of(job, "experiment"))
    if isinstance(result, MemoryFault):
        current.get().note(f"{job.title} {result}")
        run.tag("mgral.fault", str(result))
        run.finish(failed=True)
        return run.run_id
    run.curve([(one.step, {f"reward/{figure}": getattr(one, figure) for figure in FIGURES}) for one in result.curve])
    run.metrics({"seconds": result.seconds,
                 **{f"reward/ap/{label}": value for label, value in zip(open_study(job).dataset.classes,
                                                                        result.end.per_class, strict=True)}})
    run.finish()
    return run.run_id
