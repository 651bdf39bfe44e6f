"""Which MLflow runs a job has, and the parameters that one filters them by."""

from __future__ import annotations

from mgral.files import sha256
from mgral.study.opened import Job
from tasks.tracking import Run, Tracker

# What one filters and compares runs by; copied to every child, because filters do not look at parents.
TRACKED = {
    "data": ("format", "labelled"), "detector": ("preset", "image_size"), "training": ("steps", "batch_size", "lr"),
    "semisup": ("method", "steps", "lr"), "table": ("records", "design", "source", "reward", "estimator"),
    "search": ("iterations", "batches_per_iteration", "baseline", "trust"), "study": ("budget", "cycles"),
}


def study_run(job: Job, tracker: Tracker) -> Run:
    """The MLflow run of this study and strategy; other settings make another run."""
    key = sha256(job.config.study.name, job.strategy, job.config.model_dump_json(), str(job.data))
    return tracker.run(key, f"{job.config.study.name} · {job.strategy}", params=params_of(job),
                       tags=tags_of(job, "study"),
                       note="mAP and AP50 on the test split; the step is the number of labelled images.")


def cycle_run(job: Job, tracker: Tracker, snapshot: str) -> Run:
    """The MLflow run of this cycle; `snapshot` is the version of the labelled set that it starts from."""
    parent = study_run(job, tracker).run_id
    params = {**params_of(job), "cycle": job.cycle, "snapshot": snapshot}
    return tracker.run(sha256(parent, str(job.cycle), snapshot), f"cycle {job.cycle} · {job.strategy}", parent, params,
                       tags_of(job, "cycle") | {"mgral.snapshot": snapshot})


def open_tracker(job: Job) -> Tracker:
    return Tracker(job.workspace.mlruns, job.config.study.name)


def params_of(job: Job) -> dict[str, object]:
    config = job.config
    values = {"study": config.study.name, "strategy": job.strategy, "seed": config.seed}
    return values | {f"{section}.{name}": getattr(getattr(config, section), name)
                     for section, names in TRACKED.items() for name in names}


def tags_of(job: Job, kind: str) -> dict[str, str]:
    return {"mgral.kind": kind, "mgral.strategy": job.strategy, "mgral.study": job.config.study.name}
