"""A Label Studio that answers as version 1.23.2 was seen to answer, as far as mgral asks it, and that can be told to
misbehave."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LEGACY = "0123456789abcdef0123456789abcdef01234567"
PERSONAL = "eyJoZWFk.eyJib2R5.c2lnbmF0dXJl"
VERSION = {"release": "1.23.2", "label-studio-os-package": {"version": "1.23.2"}, "edition": "Community"}
PAGE = b"<!doctype html><html><title>404 | Label Studio</title></html>"
PICTURE = b"\xff\xd8\xff picture"


class FakeLabelStudio:
    """Its projects, tasks, uploads and storages, all questions that it was asked, and what it is to do wrong."""

    def __init__(self) -> None:
        self.url = ""
        self.legacy_allowed, self.answers_until_access_ends = True, 1_000_000
        self.root, self.pictures, self.headers_of_pictures = "", set(), {"Access-Control-Allow-Origin": "*"}
        self.projects: dict[int, dict] = {}
        self.tasks: dict[int, dict] = {}
        self.uploads: dict[int, dict] = {}
        self.storages: list[dict] = []
        self.asked: list[tuple[str, str, dict]] = []
        """Method, path and headers of each question."""
        self.wrong: dict[str, list] = {}
        """By "METHOD path", what comes in place of the next answers: (status, headers, body), or None for the usual."""
        self.refreshed = 0

    def answer(self, method: str, target: str, headers: dict, body: bytes) -> tuple[int, dict, bytes]:
        parts = urlsplit(target)
        path, query = unquote(parts.path), {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.asked.append((method, path, headers))
        waiting = self.wrong.get(f"{method} {path}")
        instead = waiting.pop(0) if waiting else None
        if instead is not None:
            return instead
        if path.endswith("/api/version"):  # pages answer for it too
            return good(VERSION)
        if path == "/api/token/refresh/":
            return self._refresh(json.loads(body))
        if path in self.pictures:
            return 200, {"Content-Type": "image/jpeg", **self.headers_of_pictures}, PICTURE
        if not path.startswith(("/api/", "/data/")):
            return 404, {"Content-Type": "text/html; charset=utf-8"}, PAGE
        return self._refusal(headers) or self._known(method, path, query, headers, body)

    def annotate(self, path: str, **annotation) -> None:
        """What a person does to the first task of an image."""
        task = next(task for task in self.tasks.values() if task["data"]["path"] == path)
        task["annotations"].append({"id": 100 + len(task["annotations"]), "result": [], "was_cancelled": False,
                                    "created_at": "2026-11-25T19:06:39.674270Z", "lead_time": 12.5} | annotation)

    def _refresh(self, given: dict) -> tuple[int, dict, bytes]:
        if given.get("refresh") != PERSONAL:
            return bad(401, "Token is invalid")
        self.refreshed += 1
        return good({"access": f"eyJhY2Nlc3M.{self.refreshed}.{self.answers_until_access_ends}"})

    def _refusal(self, headers: dict) -> tuple[int, dict, bytes] | None:
        kind, _, token = headers.get("Authorization", "").partition(" ")
        if kind == "Token" and token == LEGACY:
            return None if self.legacy_allowed else bad(401, "Authentication token no longer valid: legacy token "
                                                        "authentication has been disabled for this organization")
        if kind == "Token":
            return bad(401, "Invalid token.")
        number = token.split(".")[1] if token.startswith("eyJhY2Nlc3M.") else "0"
        used = sum(asked.get("Authorization") == f"Bearer {token}" for _, _, asked in self.asked)
        if kind != "Bearer" or number != str(self.refreshed) or used > self.answers_until_access_ends:
            return bad(401, "Authentication credentials were not provided.")
        return None

    def _known(self, method: str, path: str, query: dict, headers: dict, body: bytes) -> tuple[int, dict, bytes]:
        if path == "/api/current-user/whoami":
            return good({"id": 1, "email": "me@example.com"})
        if path == "/api/projects/":
            return self._create(json.loads(body)) if method == "POST" else self._list(query)
        if path == "/api/tasks/":
            return self._page_of_tasks(query)
        if path == "/api/storages/localfiles":
            return self._storage(json.loads(body)) if method == "POST" else good(self.storages)
        if path.startswith("/data/"):
            return self._file(path, query)
        if found := re.fullmatch(r"/api/tasks/(\d+)/", path):
            return self._task(method, int(found[1]))
        found = re.fullmatch(r"/api/projects/(\d+)/(import|file-uploads|export|)", path)
        number = int(found[1]) if found else 0
        if number not in self.projects:
            return bad(404, "No Project matches the given query.") if found and not found[2] else (
                404, {"Content-Type": "text/html; charset=utf-8"}, PAGE)
        return {"": lambda: good(self.projects[number]), "export": lambda: good(self._tasks_of(number)),
                "file-uploads": lambda: good([self.uploads[key] for key in json.loads(query.get("ids", "[]"))]),
                "import": lambda: self._import(number, query, headers, body)}[found[2]]()

    def _create(self, given: dict) -> tuple[int, dict, bytes]:
        if not 3 <= len(given["title"]) <= 50:
            return bad(400, "Validation error", {"title": ["Ensure this field has no more than 50 characters."]})
        number = len(self.projects) + 1
        self.projects[number] = {"id": number, **given}
        return good(self.projects[number], 201)

    def _list(self, query: dict) -> tuple[int, dict, bytes]:
        found = [project for project in self.projects.values() if query.get("title", "") in project["title"]]
        return good({"count": len(found), "next": None, "previous": None, "results": found})

    def _tasks_of(self, number: int) -> list[dict]:
        return [task for task in self.tasks.values() if task["project"] == number]

    def _page_of_tasks(self, query: dict) -> tuple[int, dict, bytes]:
        if int(query["project"]) not in self.projects:
            return bad(404, "No Project matches the given query.")
        tasks, size = self._tasks_of(int(query["project"])), min(int(query["page_size"]), 7)
        first = (int(query["page"]) - 1) * size
        if first and first >= len(tasks):
            return bad(404, "Invalid page.")
        cancelled = [sum(entry["was_cancelled"] for entry in task["annotations"]) for task in tasks]
        listed = [{"id": task["id"], "data": task["data"], "cancelled_annotations": skipped,
                   "total_annotations": len(task["annotations"]) - skipped}
                  for task, skipped in zip(tasks, cancelled, strict=True)]
        return good({"total_annotations": 0, "total_predictions": 0, "total": len(tasks),
                     "tasks": listed[first:first + size]})

    def _task(self, method: str, number: int) -> tuple[int, dict, bytes]:
        if number not in self.tasks:
            return bad(404, "No Task matches the given query.")
        if method == "DELETE":
            del self.tasks[number]
            return 204, {}, b""
        return good(self.tasks[number])

    def _import(self, number: int, query: dict, headers: dict, body: bytes) -> tuple[int, dict, bytes]:
        if query.get("commit_to_project") == "false":
            head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
            message = BytesParser().parsebytes(head + body)
            part = message.get_payload()[0]
            name, key = part.get_filename(), len(self.uploads) + 1
            if not name.endswith((".jpg", ".png", ".gif", ".bmp", ".webp")):
                return bad(400, "Validation error", {"non_field_errors": [".tif extension is not supported"]})
            self.uploads[key] = {"id": key, "file": f"upload/{number}/{key:08x}-{re.sub(r'[^-.A-Za-z0-9_]', '', name)}",
                                 "content": part.get_payload(decode=True).hex()}
            return good({"task_count": 1, "file_upload_ids": [key], "found_formats": {".jpg": 1}}, 201)
        for task in json.loads(body):
            key = max(self.tasks, default=0) + 1
            self.tasks[key] = {"id": key, "project": number, "annotations": [], "drafts": [], **task}
        return good({"task_count": len(json.loads(body)), "file_upload_ids": []}, 201)

    def _storage(self, given: dict) -> tuple[int, dict, bytes]:
        if not given["path"].startswith(f"{self.root}/"):
            return bad(400, "Validation error", {"non_field_errors": [
                f'Absolute local path "{given["path"]}" must be a subdirectory of '
                f'LOCAL_FILES_DOCUMENT_ROOT="{self.root}" by security reasons.']})
        self.storages.append(given)
        return good(given, 201)

    def _file(self, path: str, query: dict) -> tuple[int, dict, bytes]:
        shown = f"{self.root}/{query['d']}" if path == "/data/local-files/" else ""
        if not any(shown.startswith(f"{storage['path']}/") for storage in self.storages):
            return 404, {"Content-Type": "text/html"}, b""
        return 200, {"Content-Type": "image/jpeg"}, PICTURE


def good(answer: object, status: int = 200) -> tuple[int, dict, bytes]:
    return status, {"Content-Type": "application/json"}, json.dumps(answer).encode()


def bad(status: int, detail: str, faults: dict | None = None) -> tuple[int, dict, bytes]:
    said = {"id": "74b1", "status_code": status, "version": "1.23.2", "detail": detail, "exc_info": None}
    return good(said | ({"validation_errors": faults} if faults else {}), status)


@contextmanager
def running() -> Iterator[FakeLabelStudio]:
    """It listens on 127.0.0.1 while the block lasts."""
    fake = FakeLabelStudio()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, content = fake.answer(self.command, self.path, dict(self.headers.items()), body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = handle_any

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients that go away, or speak TLS
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
