"""MLflow: one run a study and strategy, nested in it one a cycle, nested in that one an experiment.

The only module that knows MLflow. A run is found again by its key, so a process that was killed goes on in the runs
it had begun, and nothing is written twice.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import mlflow
from filelock import FileLock
from mlflow.entities import Dataset, DatasetInput, InputTag, LifecycleStage, Metric, Param
from mlflow.entities import Run as Stored
from mlflow.exceptions import MlflowException

from mgral.errors import StateError
from mgral.files import sha256

RENAMED = "mgral.name/"
"""Tags that begin so hold the true name of a metric whose name MLflow refuses."""
ILLEGAL = re.compile(r"[^\w\-. /]|\.{2,}|(?<=/)[/.]+|^[/.]+|[/.]+$")
LONGEST = 200
"""Characters of a metric's name; MLflow takes 250, and a tag is named after it."""
SERVERS = ("http://", "https://", "databricks")

_open: dict[str, Run] = {}
"""Runs that this process has begun and not finished, by their id."""


class Run:
    """One MLflow run. Nothing is added to a run that was finished before, nor a point that it has already."""

    def __init__(self, client: mlflow.MlflowClient, run_id: str, finished: bool, continued: bool = False) -> None:
        self._client, self.run_id, self.finished, self._continued = client, run_id, finished, continued
        if not finished:
            _open[run_id] = self

    def metrics(self, values: Mapping[str, float | None], step: int = 0) -> None:
        self.curve([(step, values)])

    def curve(self, points: list[tuple[int, Mapping[str, float | None]]]) -> None:
        """Many (step, values) points in one write; values that are None are left out.

        A name that MLflow refuses, such as a class's, is changed to one that it takes; a tag holds the true one.
        """
        names = {name: metric_name(name) for _, values in points for name in values}
        seen = {(name, step) for name in names.values() for step in self._steps(name)}
        now = _now()
        entries = [Metric(names[name], float(value), now, step) for step, values in points
                   for name, value in values.items() if value is not None and (names[name], step) not in seen]
        if entries and not self.finished:
            self._client.log_batch(self.run_id, metrics=entries)
            written = {entry.key for entry in entries}
            for name, legal in names.items():
                if name != legal and legal in written:
                    self.tag(RENAMED + legal, name)

    def _steps(self, name: str) -> list[int]:
        """Steps at which a killed process wrote this metric."""
        if self.finished or not self._continued:
            return []
        return [point.step for point in self._client.get_metric_history(self.run_id, name)]

    def correct(self, values: Mapping[str, float | None], step: int = 0) -> None:
        """Writes what differs from the last value at a step, be the run finished or not: labels were corrected."""
        now = _now()
        entries = [Metric(metric_name(name), float(value), now, step) for name, value in values.items()
                   if value is not None and value != self._last(metric_name(name), step)]
        if entries:
            self._client.log_batch(self.run_id, metrics=entries)

    def _last(self, name: str, step: int) -> float | None:
        points = [point for point in self._client.get_metric_history(self.run_id, name) if point.step == step]
        return max(points, key=lambda point: point.timestamp).value if points else None

    def artifact(self, path: Path, folder: str | None = None, anew: bool = False) -> None:
        """Keeps a file; `anew` also where the run is finished: the file was made again."""
        if anew or not self.finished:
            self._client.log_artifact(self.run_id, str(path), folder)

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """A table that MLflow's UI shows; every row has the same columns.

        Not by MLflow's own `log_table`, which adds to what an interrupted process wrote.
        """
        if not self.finished:
            content = {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}
            self._client.log_dict(self.run_id, content, name)
            self.tag("mlflow.loggedArtifacts", json.dumps([{"path": name, "type": "table"}]))

    def dataset(self, path: Path, digest: str, name: str) -> None:
        """Names the labelled set that was trained on: `digest` is its snapshot's MD5, the version DVC knows it by."""
        if not self.finished:
            described = Dataset(name=name, digest=digest, source_type="dvc", source=json.dumps({"path": str(path)}))
            context = InputTag("mlflow.data.context", "training")
            self._client.log_inputs(self.run_id, [DatasetInput(described, [context])])

    def tag(self, name: str, value: str, anew: bool = False) -> None:
        """Sets a tag; `anew` also where the run is finished."""
        if anew or not self.finished:
            self._client.set_tag(self.run_id, name, value)

    def has(self, name: str, value: str) -> bool:
        """Whether a tag has this value."""
        return self._client.get_run(self.run_id).data.tags.get(name) == value

    def finish(self, failed: bool = False) -> None:
        if not self.finished:
            self._client.set_terminated(self.run_id, "FAILED" if failed else "FINISHED")
            self.finished = not failed
        _open.pop(self.run_id, None)


class Tracker:
    """An experiment of MLflow, created when first needed.

    `uri` is where MLflow keeps it: the environment's MLFLOW_TRACKING_URI, else `tracking_uri`, else an SQLite file in
    `folder`. Artifacts lie in `folder`, wherever that is moved; a server keeps them where it likes.

    Raises:
        StateError: the experiment was deleted in MLflow, or its database is damaged or of another MLflow.
    """

    def __init__(self, folder: Path, experiment: str, tracking_uri: str | None = None) -> None:
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        database, artifacts = folder / "mlflow.db", (folder / "artifacts").as_uri()
        given = os.environ.get("MLFLOW_TRACKING_URI") or tracking_uri
        self.uri = given or f"sqlite:///{database}"
        on_server = self.uri.startswith(SERVERS)
        # Two processes that make MLflow's tables at once break them.
        with FileLock(folder / ".mlflow.lock"), self._opening(database):
            self._client = mlflow.MlflowClient(self.uri)
            self.experiment = self._experiment(experiment, None if on_server else artifacts)
            if not given:
                _keep_beside(database, self.experiment, artifacts)

    def page(self, run_id: str = "") -> str:
        """The address of the experiment, or of a run, in MLflow's UI: a server's, or that of a local `mlflow ui`."""
        base = self.uri if self.uri.startswith(("http://", "https://")) else "http://127.0.0.1:5000"
        where = f"runs/{run_id}" if run_id else "runs?compareRunsMode=CHART"
        return f"{_without_password(base)}/#/experiments/{self.experiment}/{where}"

    @property
    def ui(self) -> str:
        """The command that shows the experiment, or that none is needed."""
        if self.uri.startswith(SERVERS):
            return "(a server shows them)"
        return f"mlflow ui --host 127.0.0.1 --backend-store-uri {_without_password(self.uri)}"

    @contextmanager
    def _opening(self, database: Path) -> Iterator[None]:
        """What goes wrong with the database itself, in one line."""
        where = _without_password(self.uri)
        try:
            if database.exists():
                with closing(sqlite3.connect(database)) as connection:
                    connection.execute("SELECT name FROM sqlite_master").fetchall()
            yield
        except sqlite3.DatabaseError as error:
            raise StateError(f"{database}: expected MLflow's database, got {error}; restore it, or move it away to "
                             "begin a new one") from error
        except MlflowException as error:
            found = re.search("found version ([^,]+), but expected ([^)]+)", str(error))
            if found is None:
                raise StateError(f"{where}: expected an MLflow that answers, got "
                                 f"{str(error).splitlines()[0][:300]}") from error
            raise StateError(f"{where}: expected the schema of MLflow {mlflow.__version__}, {found[2]}, got {found[1]};"
                             " where a newer MLflow wrote it, install that one; an older one's is brought up to date "
                             f"by `mlflow db upgrade {where}`, once there is a copy of it") from error

    def _experiment(self, name: str, artifacts: str | None) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            return self._client.create_experiment(name, artifact_location=artifacts, tags={
                "mlflow.experimentKind": "custom_model_development",  # else the UI opens on chatbots
                "mlflow.experiment.primaryMetric.name": "map",
                "mlflow.experiment.primaryMetric.greaterIsBetter": "true"})
        if found.lifecycle_stage == LifecycleStage.DELETED:
            raise StateError(f"MLflow's experiment {name}: expected one in use, got one that was deleted; `mlflow "
                             f"experiments restore --experiment-id {found.experiment_id}` with MLFLOW_TRACKING_URI="
                             f"{_without_password(self.uri)} brings it back, or give the study another study.name")
        return found.experiment_id

    def run(self, key: str, name: str, parent: str | None = None, params: Mapping[str, Any] | None = None,
            tags: Mapping[str, str] | None = None, note: str = "", seconds: float = 0.0) -> Run:
        """The run with this key, begun if there is none yet; a failed or killed one goes on.

        `seconds` is how long its work has taken already, where it is written afterwards.
        """
        found = self._with_key(key)
        if found:
            run = self._found(found[0])
        else:  # with its key from the first moment, or a process killed here would leave a run that nobody finds
            labels = {"mgral.key": key, "mlflow.note.content": note, "mlflow.parentRunId": parent, **(tags or {})}
            stored = self._client.create_run(
                self.experiment, start_time=_now() - round(1000 * seconds), run_name=name,
                tags={label: value for label, value in labels.items() if value})
            run = Run(self._client, stored.info.run_id, False)
        missing = {} if run.finished else {k: str(v) for k, v in (params or {}).items()
                                           if not found or k not in found[0].data.params}
        if missing:
            self._client.log_batch(run.run_id, params=[Param(k, v) for k, v in missing.items()])
        return run

    def find(self, key: str) -> Run | None:
        """The run with this key as it is, if there is one."""
        found = self._with_key(key)
        return Run(self._client, found[0].info.run_id, True) if found else None

    def _with_key(self, key: str) -> list[Stored]:
        return self._client.search_runs([self.experiment], f"tags.`mgral.key` = '{key}'", max_results=1)

    def mark(self, parent: str, tag: str, wanted: Callable[[Mapping[str, str]], str | None]) -> None:
        """Sets a tag of each run below another, or takes it away: `wanted` gives its value from the run's tags."""
        found = self._client.search_runs([self.experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
        for run in found:
            value = wanted(run.data.tags)
            if value is not None and run.data.tags.get(tag) != value:
                self._client.set_tag(run.info.run_id, tag, value)
            elif value is None and tag in run.data.tags:
                self._client.delete_tag(run.info.run_id, tag)

    def _found(self, stored: Stored) -> Run:
        finished = stored.info.status == "FINISHED"
        if stored.info.status in ("FAILED", "KILLED"):
            self._client.update_run(stored.info.run_id, status="RUNNING")
        return Run(self._client, stored.info.run_id, finished, continued=True)


def fail_open_runs() -> None:
    """Marks the runs that this process has begun and not finished as failed."""
    for run in list(_open.values()):
        with suppress(MlflowException, OSError):  # what went wrong first is what matters
            run.finish(failed=True)
    _open.clear()


def metric_name(name: str) -> str:
    """`name`, or one like it that MLflow takes; different names stay different.

    >>> metric_name("ap/cat"), metric_name("ap/traffic light (red)")
    ('ap/cat', 'ap/traffic light _red_-6060329f')
    """
    legal = ILLEGAL.sub("_", name)
    if legal == name and len(name) <= LONGEST:
        return name
    return f"{legal[:LONGEST - 9]}-{sha256(name)[:8]}"


def _keep_beside(database: Path, experiment: str, artifacts: str) -> None:
    """Readers (the UI) do not block the writer, and a database that was moved names the artifacts beside it.

    MLflow keeps absolute locations and has no call to change them.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        (old,), = connection.execute("SELECT artifact_location FROM experiments WHERE experiment_id = ?", (experiment,))
        if old != artifacts:
            connection.execute("UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) WHERE experiment_id = ?",
                               (artifacts, len(old) + 1, experiment))
            connection.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
                               (artifacts, experiment))


def _without_password(uri: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", uri)


def _now() -> int:
    return int(time.time() * 1000)
