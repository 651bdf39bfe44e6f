"""The step before the first cycle: check everything, decode every image, draw the splits once."""

from __future__ import annotations

from dataclasses import dataclass

from mgral.study.snapshot import version
from tasks.engine import step
from tasks.opened import Job, open_study


@dataclass(frozen=True, slots=True)
class Prepared:
    """Sizes of the splits, and the version of the first labelled set."""

    labelled: int
    pool: int
    reward: int
    test: int
    snapshot: str


@step("prepare data")
def prepare_data(job: Job) -> Prepared:
    study = open_study(job)
    splits = study.splits
    return Prepared(len(splits.labelled), len(splits.pool), len(splits.reward), len(splits.test),
                    version(study.workspace, job.strategy, 0))
