"""MLflow: one run a study and strategy, nested in it one a cycle, nested in that one an experiment.

The only module that knows MLflow. A run is found again by its key, so a process that was killed goes on in the runs
it had begun, and nothing that is finished is written twice.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunStatus, RunTag

_lock = threading.Lock()


class Run:
    """One MLflow run. Nothing is added to a run that was finished before."""

    def __init__(self, client: mlflow.MlflowClient, run_id: str, finished: bool) -> None:
        self._client, self.run_id, self.finished = client, run_id, finished

    def metrics(self, values: Mapping[str, float | None], step: int = 0) -> None:
        self.curve([(step, values)])

    def curve(self, points: list[tuple[int, Mapping[str, float | None]]]) -> None:
        """Many (step, values) points in one write; values that are None are left out."""
        now = int(time.time() * 1000)
        entries = [Metric(name, float(value), now, step) for step, values in points
                   for name, value in values.items() if value is not None]
        if entries and not self.finished:
            self._client.log_batch(self.run_id, metrics=entries)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        if not self.finished:
            self._client.log_artifact(self.run_id, str(path), folder)

    def dataset(self, path: Path, digest: str, name: str) -> None:
        """Names the labelled set that was trained on: `digest` is its snapshot's MD5, the version DVC knows it by."""
        if not self.finished:
            described = Dataset(name=name, digest=digest, source_type="dvc", source=json.dumps({"path": str(path)}))
            context = InputTag("mlflow.data.context", "training")
            self._client.log_inputs(self.run_id, [DatasetInput(described, [context])])

    def tag(self, name: str, value: str) -> None:
        if not self.finished:
            self._client.set_tag(self.run_id, name, value)

    def finish(self, failed: bool = False) -> None:
        if not self.finished:
            self._client.set_terminated(self.run_id, RunStatus.to_string(
                RunStatus.FAILED if failed else RunStatus.FINISHED))
            self.finished = not failed


class Tracker:
    """MLflow's database under `folder` and one experiment in it; created when first needed."""

    def __init__(self, folder: Path, experiment: str) -> None:
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        self.database = folder / "mlflow.db"
        self._client = mlflow.MlflowClient(f"sqlite:///{self.database}")
        with _lock:
            found = self._client.get_experiment_by_name(experiment)
            self.experiment = found.experiment_id if found else self._client.create_experiment(
                experiment, artifact_location=(folder / "artifacts").as_uri(),
                tags={"mlflow.experimentKind": "custom_model_development",  # else the UI opens on chatbots
                      "mlflow.experiment.primaryMetric.name": "map",
                      "mlflow.experiment.primaryMetric.greaterIsBetter": "true"})
            with sqlite3.connect(self.database) as connection:
                connection.execute("PRAGMA journal_mode=WAL")  # readers (the UI) and the writer do not block each other
            connection.close()

    def run(self, key: str, name: str, parent: str | None = None, params: Mapping[str, Any] | None = None,
            tags: Mapping[str, str] | None = None, note: str = "") -> Run:
        """The run with this key, begun if there is none yet; a failed or killed one goes on."""
        found = self._client.search_runs([self.experiment], f"tags.`mgral.key` = '{key}'", max_results=1)
        if found:
            info = found[0].info
            finished = info.status == RunStatus.to_string(RunStatus.FINISHED)
            return Run(self._client, info.run_id, finished)
        labels = {"mgral.key": key, "mlflow.note.content": note, **(tags or {})}
        if parent:
            labels["mlflow.parentRunId"] = parent
        run = self._client.create_run(self.experiment, run_name=name)
        self._client.log_batch(run.info.run_id, params=[Param(k, str(v)) for k, v in (params or {}).items()],
                               tags=[RunTag(k, v) for k, v in labels.items() if v])
        return Run(self._client, run.info.run_id, False)
