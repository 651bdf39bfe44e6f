"""Experiments in MLflow: each record a run nested in the cycle's, whose id the table then knows."""

from __future__ import annotations

from pathlib import PurePosixPath

from mgral.experiments.record import Failure, Record
from mgral.experiments.store import Table
from mgral.progress import current
from tasks.artifacts import show_table
from tasks.job import Job
from tasks.opened import Study
from tasks.runs import experiment_params, open_tracker, tags_of
from tasks.tracking import Run

NOTE = 4000
"""Characters of a run's description."""


class ExperimentLog:
    """Logs the records and failures of one cycle; at its end also those that nobody yielded, such as fall-backs, and
    those of an earlier process that was killed between table and MLflow."""

    def __init__(self, job: Job, study: Study, table: Table, cycle: Run) -> None:
        self.job, self.study, self.table, self.cycle = job, study, table, cycle
        self.tracker, self.scopes, self.shown = open_tracker(job), {}, []

    def __enter__(self) -> ExperimentLog:
        return self

    def __exit__(self, *_) -> None:
        for scope in self.scopes:
            for record in self.table.untracked(scope):
                self(record)
        self._show()

    def __call__(self, found: object) -> None:
        if isinstance(found, Failure):
            current.get().note(str(found.reason))
            run = self._run(found.fingerprint, f"{found.origin}, does not fit", found.origin, found.seed, 0.0)
            run.tag("mgral.fault", str(found.reason))
            run.finish(failed=True)
        elif isinstance(found, Record):
            self.scopes.setdefault(found.scope)
            if found.mlflow_run_id is None:
                self.table.tag(found.fingerprint, mlflow_run_id=self._track(found))
            if found.origin != "truth":
                self.shown.append(found)

    def _track(self, record: Record) -> str:
        images = [self.study.dataset.images[image_id].file_name for image_id in record.image_ids]
        name = f"{record.origin} {record.fingerprint[:4]}: {PurePosixPath(images[0]).name} … {len(images)} images"
        run = self._run(record.fingerprint, name, record.origin, record.seed, record.seconds,
                        f"Batch: {', '.join(images)}"[:NOTE])
        reward = self.job.config.table.reward
        run.curve([(point["step"], {f"measured/{figure}": value for figure, value in point.items() if figure != "step"})
                   for point in record.curve])
        run.metrics({"reward": record.reward("map" if record.origin == "truth" else reward), "seconds": record.seconds,
                     **{f"measured/ap/{name}": value for name, value in record.per_class.items()}}, step=record.steps)
        run.finish()
        return run.run_id

    def _run(self, key: str, name: str, origin: str, seed: int, seconds: float, note: str = "") -> Run:
        params = {**experiment_params(self.job, origin), "cycle": self.job.cycle, "origin": origin,
                  "experiment_seed": seed}
        return self.tracker.run(key, name, self.cycle.run_id, params, tags_of(self.job, "experiment"), note,
                                seconds=seconds)

    def _show(self) -> None:
        rows = [self._row(record) for record in self.shown]
        if rows:
            self.cycle.table("lookup_table.json", rows)
            show_table(f"experiments of {self.job.name}", rows, "The lookup table: a batch, and what a "
                       f"detector that learned it was worth ({self.job.config.table.reward})")

    def _row(self, record: Record) -> dict[str, object]:
        names = [self.study.dataset.images[image_id].file_name for image_id in record.image_ids]
        return {"origin": record.origin, "reward": round(record.reward(self.job.config.table.reward), 4),
                "map": round(record.figures["map"], 4), "ap50": round(record.figures["ap50"], 4),
                "repeat": record.repeat, "steps": record.steps, "seconds": round(record.seconds, 1),
                "images": ", ".join(names), "mlflow_run_id": self.table.find(record.fingerprint).mlflow_run_id}
