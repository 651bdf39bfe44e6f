"""Which MLflow runs a job has, and the parameters that one filters them by."""

from __future__ import annotations

from mgral.experiments import sources
from mgral.files import sha256
from tasks.job import Job
from tasks.tracking import Run, Tracker

# What one filters and compares runs by; copied to every child, because filters do not look at parents.
TRACKED = {
    "data": ("format", "labelled"), "detector": ("preset", "image_size"), "training": ("steps", "batch_size", "lr"),
    "table": ("records", "design", "source", "reward", "estimator"),
    "search": ("iterations", "trust", "risk_aversion"), "study": ("training", "budget", "cycles"),
}
TRAINED = ("method", "steps", "lr", "labelled_per_step", "unlabelled_per_step")
"""Settings of `semisup` that an experiment is told apart by."""


def study_run(job: Job, tracker: Tracker) -> Run:
    """The MLflow run of this study, strategy and seed; other settings make another run, told apart by its name."""
    key = _study_key(job)
    return tracker.run(key, f"{job.config.study.name} · {job.label} · {key[:4]}", params=params_of(job),
                       tags=tags_of(job, "study"),
                       note="mAP and AP50 on the test split; the step is the number of labelled images.")


def cycle_run(job: Job, tracker: Tracker, snapshot: str, seconds: float = 0.0) -> Run:
    """The MLflow run of this cycle; `snapshot` is the version of the labelled set that it starts from. A run that is
    begun now has taken so many `seconds` already."""
    parent = study_run(job, tracker).run_id
    params = {**params_of(job), "cycle": job.cycle, "snapshot": snapshot}
    return tracker.run(_cycle_key(job, parent, snapshot), f"cycle {job.cycle} · {job.label}", parent, params,
                       tags_of(job, "cycle") | {"mgral.snapshot": snapshot}, seconds=seconds)


def known_study_run(job: Job, tracker: Tracker) -> Run | None:
    """The same, if it was begun before; none is begun, nor gone on with."""
    return tracker.find(_study_key(job))


def known_cycle_run(job: Job, tracker: Tracker, snapshot: str) -> Run | None:
    """The same of a cycle's run."""
    study = known_study_run(job, tracker)
    return study and tracker.find(_cycle_key(job, study.run_id, snapshot))


def _study_key(job: Job) -> str:
    return sha256(job.config.study.name, job.strategy, str(job.seed), job.config.model_dump_json(), str(job.data))


def _cycle_key(job: Job, parent: str, snapshot: str) -> str:
    return sha256(parent, str(job.cycle), snapshot)


def open_tracker(job: Job) -> Tracker:
    return Tracker(job.workspace.mlruns, job.config.study.name, job.config.services.mlflow_tracking_uri)


def params_of(job: Job) -> dict[str, object]:
    config = job.config
    values = {"study": config.study.name, "strategy": job.strategy, "seed": job.seed}
    values |= {f"{section}.{name}": getattr(getattr(config, section), name)
               for section, names in TRACKED.items() for name in names}
    return values | ({} if config.study.training == "supervised" else _trained(config.semisup))


def experiment_params(job: Job, origin: str) -> dict[str, object]:
    """Those of an experiment, with what it really trains: not every source uses the settings as they stand."""
    config = job.config
    if origin == "truth" or config.table.source == "anew":
        return params_of(job)
    student = config.table.source == "student"
    return {**params_of(job), **_trained(sources.supervised(config.semisup) if student else config.semisup)}


def tags_of(job: Job, kind: str) -> dict[str, str]:
    return {"mgral.kind": kind, "mgral.strategy": job.strategy, "mgral.study": job.config.study.name}


def _trained(semisup) -> dict[str, object]:
    return {f"semisup.{name}": getattr(semisup, name) for name in TRAINED}
