"""Labels from people, whatever brings them: a file (`mgral import`), Label Studio (`mgral pull`), Prefect's page."""

from __future__ import annotations

from pathlib import Path

from mgral.annotation.acceptance import Accept
from mgral.errors import MgralError
from mgral.progress import current
from tasks.job import Job
from tasks.labels import Imported, import_labels, undo_import


def take_labels(job: Job, file: Path, accept: Accept) -> Imported:
    """Imports, and has DVC and MLflow know of it."""
    imported = import_labels(job, file, accept)
    _tell(job)
    return imported


def take_back(job: Job) -> str:
    """Undoes the last import of a cycle; says what counts now."""
    undone, now = undo_import(job)
    _tell(job)
    if now is None:
        return f"import {undone.number} taken back: nobody has labelled the batch"
    return f"import {undone.number} taken back: import {now.number} of {now.when} counts again"


def _tell(job: Job) -> None:
    from flows.commands.dvc import renew_stages

    renew_stages(job.workdir, job.params, job.config)
    if job.cycle and job.workspace.cycle(job.strategy, job.cycle).joinpath("result.json").exists():
        from tasks.bookkeeping import commit_cycle  # loads MLflow and Prefect: seconds
        from tasks.tracked import record_labels

        commit_cycle(job)
        try:
            record_labels(job)
        except MgralError as error:
            current.get().note(f"{error}; the labels are kept all the same, MLflow hears of them at the next run")
