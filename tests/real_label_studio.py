"""A real Label Studio for the tests: started here, on 127.0.0.1, with an empty database."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.conftest import ROOT
from tests.flows.conftest import free_port

PROGRAM = Path(os.environ.get("MGRAL_LABEL_STUDIO", ROOT / ".label-studio" / "bin" / "label-studio"))
LEGACY = "0123456789abcdef0123456789abcdef01234567"
PATIENCE = 180
"""Seconds that its first start may take."""


@dataclass(frozen=True)
class Studio:
    """Its address, the folder whose pictures it may show, and its user's personal access token."""

    url: str
    root: Path
    token: str
    client: httpx.Client

    def tasks(self, number: int) -> dict[str, dict]:
        """Tasks with all that belongs to them, by the path of their image; none is there twice."""
        listed = self.client.get("/api/tasks/", params={"project": number, "fields": "all", "page_size": 1000}).json()
        assert len({task["data"]["path"] for task in listed["tasks"]}) == len(listed["tasks"]) == listed["total"]
        return {task["data"]["path"]: task for task in listed["tasks"]}

    def annotate(self, task: dict, what: str = "annotations/", **more) -> None:
        self.client.post(f"/api/tasks/{task['id']}/{what}", json={"lead_time": 9.5, **more}).raise_for_status()


@contextmanager
def running(home: Path) -> Iterator[Studio]:
    """A server whose data lie in `home`, and that may show pictures of `home`/pictures."""
    port = free_port()
    (home / "pictures").mkdir(parents=True)
    environment = os.environ | {
        "LABEL_STUDIO_BASE_DATA_DIR": str(home / "data"), "COLLECT_ANALYTICS": "false", "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "", "LATEST_VERSION_CHECK": "false", "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(home / "pictures")}
    environment.pop("PYTHONPATH", None)
    command = [str(PROGRAM), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port), "--username",
               "me@example.com", "--password", "Secret-123", "--user-token", LEGACY, "--enable-legacy-api-token"]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(url, process, home / "log")
        with httpx.Client(base_url=url, headers={"Authorization": f"Token {LEGACY}"}, timeout=60) as client:
            yield Studio(url, home / "pictures", client.post("/api/token/").json()["token"], client)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    for _ in range(PATIENCE):
        try:
            if httpx.get(f"{url}/health", timeout=2).is_success:
                return
        except httpx.HTTPError:
            assert process.poll() is None, log.read_text()[-2000:]
        time.sleep(1)
    raise AssertionError(log.read_text()[-2000:])
