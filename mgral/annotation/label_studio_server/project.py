"""One project of a server: its tasks, the files that were uploaded to it, the folders that it may show, its export."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mgral.annotation.label_studio_server.server import Server

LONGEST_TITLE = 50
PAGE = 500
"""Tasks that are listed at once."""
PORTION = 900_000
"""Bytes of tasks that are sent at once: many a proxy takes no more than a megabyte."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it stands on the server: `path` names its image, empty where it is not one of ours."""

    id: int
    path: str
    finished: bool
    skipped: bool


class Project:
    """A project that is there."""

    def __init__(self, server: Server, number: int) -> None:
        self.server, self.number = server, number

    @property
    def page(self) -> str:
        """Where people find it."""
        return f"{self.server.url}/projects/{self.number}"

    def tasks(self) -> list[Task]:
        """All tasks, by id."""
        found: dict[int, Task] = {}
        for page in range(1, 1_000_000):
            entries, total = self._listed(page)
            before = len(found)
            found |= {entry["id"]: _task(entry) for entry in entries}
            if len(found) >= total or len(found) == before:
                break
        return [found[number] for number in sorted(found)]

    def add(self, tasks: Iterable[Mapping[str, Any]]) -> Iterator[int]:
        """Imports tasks in portions; gives how many each had. A portion is there whole or not at all."""
        for portion in _portions(tasks):
            self.server.json("POST", f"/api/projects/{self.number}/import", "tasks to be taken", content=portion.bytes,
                             headers={"Content-Type": "application/json"})
            yield portion.count

    def upload(self, files: Sequence[tuple[str, bytes]]) -> list[str]:
        """Uploads files, each by its name and content; gives the addresses by which tasks show them."""
        numbers = [self._upload(*file) for file in files]
        listed = self.server.json("GET", f"/api/projects/{self.number}/file-uploads", "the files that were uploaded",
                                  params={"ids": json.dumps(numbers)})
        try:
            names = {entry["id"]: entry["file"] for entry in listed}
            return [f"/data/{names[number]}" for number in numbers]
        except (KeyError, TypeError) as error:
            raise self.server.fault("the files that were uploaded", "a list without them",
                                    "show pictures in another way: --images-url or --document-root") from error

    def show_folder(self, path: str, title: str) -> None:
        """Lets the project's members see a folder of the server's local files; its pictures do not become tasks."""
        what = f"the server to show its folder {path}"
        known = self.server.json("GET", "/api/storages/localfiles", what, params={"project": self.number})
        if not any(isinstance(entry, dict) and entry.get("path") == path for entry in known):
            self.server.json("POST", "/api/storages/localfiles", what, json={
                "project": self.number, "path": path, "title": title, "use_blob_urls": True})

    def shows(self, address: str) -> bool:
        """Whether the server itself shows a picture of a task."""
        return self.server.ask("GET", address, "a picture", missing_is_fault=False).is_success

    def remove(self, task: Task) -> None:
        self.server.ask("DELETE", f"/api/tasks/{task.id}/", "a task to be removed", missing_is_fault=False)

    def is_begun(self, task: Task) -> bool:
        """Whether anybody has done anything with a task, a draft that was not submitted included."""
        entry = self.server.json("GET", f"/api/tasks/{task.id}/", "a task")
        return bool(entry.get("annotations") or entry.get("drafts") or entry.get("draft_exists"))

    def export(self) -> list[dict[str, Any]]:
        """All tasks with all that was done to them, as Label Studio exports them in its own JSON.

        One question: 3,000 tasks of twenty boxes take five seconds on one core. Page by page takes longer, and the
        server's snapshots leave files there that somebody has to remove.
        """
        what = "the project's export"
        tasks = self.server.json("GET", f"/api/projects/{self.number}/export", what,
                                 params={"exportType": "JSON", "download_all_tasks": "true"})
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise self.server.fault(what, "no list of tasks", "export it by hand as JSON, and `mgral import` the file")
        return tasks

    def _listed(self, page: int) -> tuple[list[dict[str, Any]], int]:
        what = f"the tasks of project {self.number}"
        fields = "id,data,total_annotations,cancelled_annotations"
        response = self.server.ask("GET", "/api/tasks/", what, missing_is_fault=page == 1, params={
            "project": self.number, "page": page, "page_size": PAGE, "include": fields, "resolve_uri": "false"})
        if response.status_code == 404:
            return [], 0  # somebody has removed tasks meanwhile
        try:
            answer = response.json()
            return [entry for entry in answer["tasks"] if isinstance(entry["id"], int)], int(answer["total"])
        except (ValueError, KeyError, TypeError) as error:
            raise self.server.fault(what, "no list of tasks", "look whether this Label Studio is 1.7 or newer"
                                    ) from error

    def _upload(self, name: str, content: bytes) -> int:
        what = f"{name} ({len(content) / 1e6:.1f} MB) to be taken"
        answer = self.server.json("POST", f"/api/projects/{self.number}/import", what,
                                  params={"commit_to_project": "false"}, files={"file": (name, content)})
        try:
            number, = answer["file_upload_ids"]
            return int(number)
        except (ValueError, KeyError, TypeError) as error:
            raise self.server.fault(what, "an answer that does not say where it is",
                                    "show pictures in another way: --images-url or --document-root") from error


def create(server: Server, title: str, config: str, mark: str) -> Project:
    """A new project of this labelling interface; `mark`, in its description, is what it is found by."""
    made = server.json("POST", "/api/projects/", "a new project", json={
        "title": title[-LONGEST_TITLE:].strip(), "label_config": config, "description": mark})
    if not isinstance(made, dict) or not isinstance(made.get("id"), int):
        raise server.fault("a new project", "none", "look into the server's log")
    return Project(server, made["id"])


def find(server: Server, title: str, mark: str) -> Project | None:
    """The project that was created with this title and mark; the first, where there are several."""
    what, found = "the list of projects", []
    for page in range(1, 1_000):
        answer = server.json("GET", "/api/projects/", what, params={
            "title": title[-LONGEST_TITLE:].strip(), "page": page, "page_size": 100})
        if not isinstance(answer, dict) or not isinstance(answer.get("results"), list):
            raise server.fault(what, "something else", "look whether this Label Studio is 1.7 or newer")
        found += [entry["id"] for entry in answer["results"] if mark in str(entry.get("description"))]
        if not answer.get("next"):
            break
    return Project(server, min(found)) if found else None


def open_project(server: Server, number: int) -> Project | None:
    """The project of this number, or None if there is none that the token's user may see."""
    response = server.ask("GET", f"/api/projects/{number}/", f"project {number}", missing_is_fault=False)
    return Project(server, number) if response.is_success else None


@dataclass(frozen=True, slots=True)
class _Portion:
    bytes: bytes
    count: int


def _portions(tasks: Iterable[Mapping[str, Any]]) -> Iterator[_Portion]:
    texts: list[bytes] = []
    for text in (json.dumps(task).encode() for task in tasks):
        if texts and sum(map(len, texts)) + len(text) > PORTION:
            yield _Portion(b"[" + b",".join(texts) + b"]", len(texts))
            texts = []
        texts.append(text)
    if texts:
        yield _Portion(b"[" + b",".join(texts) + b"]", len(texts))


def _task(entry: Mapping[str, Any]) -> Task:
    data = entry.get("data")
    path = data.get("path") if isinstance(data, dict) else None
    return Task(entry["id"], path if isinstance(path, str) else "", bool(entry.get("total_annotations")),
                bool(entry.get("cancelled_annotations")))
