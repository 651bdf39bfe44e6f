"""The step before the first cycle: check everything, decode every image, draw the splits once."""

from __future__ import annotations

from dataclasses import dataclass

from mgral.data.dataset import Dataset
from mgral.report.handout import PICTURES, show_batch
from mgral.study.alone import DATA, alone
from mgral.study.batches import batch_files
from mgral.study.first import first_batch
from mgral.study.preparation import describe
from mgral.study.results import Awaiting
from mgral.study.snapshot import version
from tasks.engine import step
from tasks.job import Job
from tasks.opened import open_study


@dataclass(frozen=True, slots=True)
class Prepared:
    """Sizes of the splits, and the version of the first labelled set."""

    labelled: int
    pool: int
    reward: int
    test: int
    snapshot: str


@step("prepare data")
def prepare_data(job: Job) -> Prepared | Awaiting:
    """Opens the study; where nothing is labelled, chooses the first batch for people to label."""
    space = job.workspace
    if not space.splits.exists():
        with alone(space, DATA):
            described = describe(job.config, space, job.data)
            faulty = described.loaded.problems or described.study_problems
            if not faulty and (not described.is_labelled or space.handed_out("", 0).exists()):
                awaiting = first_batch(job.config.study, space, described)
                _draw_first(job, described.dataset)
                if awaiting.missing:
                    return awaiting
    study = open_study(job)
    splits = study.splits
    return Prepared(len(splits.labelled), len(study.pool), len(splits.reward), len(splits.test),
                    version(space, job.strategy, 0))


def _draw_first(job: Job, dataset: Dataset) -> None:
    folder = job.workspace.first
    if not all((folder / name).exists() for name in PICTURES):
        seed = f" --seed {job.seed}" if job.seed != job.config.study.seeds[0] else ""
        show_batch(folder, dataset, batch_files(job.workspace, "", 0).choice(), {},
                   f"{job.config.study.name}: the first batch", f"{seed} --cycle 0")
