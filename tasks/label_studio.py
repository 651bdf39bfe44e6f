"""A batch to a Label Studio, and its export back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mgral.annotation.label_studio_server import Pictures, Project, Sent, Server, create, find, open_project, send
from mgral.annotation.preannotations.label_studio import label_config
from mgral.errors import DataError, StateError
from mgral.files import write_json
from mgral.study.alone import alone
from mgral.study.batches import batch_files, hand_out
from mgral.study.label_studio import Standing, batch_to_send, mark_of, pulled, standing
from mgral.study.preparation import describe
from mgral.study.sent import Place, place_of
from tasks.job import Job


@dataclass(frozen=True, slots=True)
class Pushed:
    """The address of a batch's project, how many images the batch has, and what became of them."""

    page: str
    images: int
    sent: Sent


@dataclass(frozen=True, slots=True)
class Pulled:
    """Where the export lies, the address of its project, and how far people are."""

    file: Path
    page: str
    standing: Standing


def push_batch(job: Job, url: str, token: str, pictures: Pictures) -> Pushed:
    """Sends what is not there yet of a cycle's batch, to a project of its own; remembers which.

    Raises:
        StateError: no such batch, a batch that was sent elsewhere, or a server that does not take it.
        DataError, ConfigError: a data set or settings that cannot be used.
    """
    space, path = job.workspace, place_of(job.workspace, job.strategy, job.cycle)
    batch_files(space, job.strategy, job.cycle)  # before the data set is opened, which may take long
    with alone(space, f"{path.parent.name} to Label Studio"), Server(url, token) as server:
        described = describe(job.config, space, job.data, detector=False)
        if described.loaded.problems:
            raise DataError(*described.loaded.problems)
        batch = batch_to_send(space, described.dataset, job.strategy, job.cycle)
        mark, title = mark_of(space, job.strategy, job.cycle, batch.ids), _title(job)
        hand_out(space, job.strategy, job.cycle)
        project = _known_project(server, path)
        if project is None:
            project = find(server, title, mark) or create(server, title, label_config(batch.dataset.classes), mark)
            Place(server.url, project.number).write(path)
        return Pushed(project.page, len(batch.ids), send(project, batch, pictures))


def pull_batch(job: Job, url: str | None, token: str) -> Pulled:
    """Fetches the export of a batch's project; `url` where the server has another address now.

    Raises:
        StateError: no such batch, one that was not sent, or a server that does not answer.
    """
    space, path = job.workspace, place_of(job.workspace, job.strategy, job.cycle)
    ids = batch_files(space, job.strategy, job.cycle).choice().ids
    if not path.exists():
        raise StateError(f"{path}: expected where the batch was sent, got no file; `mgral push` first, or fetch "
                         "batches/ from who has pushed it")
    place, file = Place.read(path), pulled(space, job.strategy, job.cycle)
    with Server(url or place.url, token) as server:
        tasks = _opened(server, place.project, path).export()
        now = standing(tasks, ids)
        if now.gone == len(ids):
            raise StateError(f"{server.url}/projects/{place.project}: expected the tasks of this batch, got "
                             f"{len(tasks)} of other images; give the address of the right server, or push again if "
                             "somebody removed them")
        write_json(file, tasks)
        return Pulled(file, f"{server.url}/projects/{place.project}", now)


def _known_project(server: Server, path: Path) -> Project | None:
    """The project that the batch was sent to, if it was."""
    if not path.exists():
        return None
    place = Place.read(path)
    if place.url != server.url:
        raise StateError(f"{path}: expected the batch to be sent to one server, got {server.url} beside {place.url}; "
                         "give that one, correct the file if the server has moved, or delete it to send the batch to "
                         "the other")
    return _opened(server, place.project, path)


def _opened(server: Server, number: int, path: Path) -> Project:
    project = open_project(server, number)
    if project is None:
        raise StateError(f"{server.url}/projects/{number}: expected the project of this batch, got none that the "
                         f"token's user may see; look in Label Studio whether it was deleted: delete {path} then and "
                         "push again")
    return project


def _title(job: Job) -> str:
    study = job.config.study
    seed = f" seed {job.seed}" if len(study.seeds) > 1 else ""
    return f"{study.name} {job.name}" if job.cycle else f"{study.name} first batch{seed}"
