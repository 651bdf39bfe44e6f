"""One undisturbed quick study, and one Prefect server with its worker, for all tests that need them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows import cli
from tests.conftest import ROOT

EAGER = {"PREFECT_WORKER_QUERY_SECONDS": "1"}
"""A worker that asks each second what there is to do, and not only every ten."""
QUICK = ROOT / "examples" / "quick.yaml"


@dataclass(frozen=True)
class Finished:
    """A run that went through: its folder, its results and what it said."""

    workdir: Path
    results: dict
    said: str


def start(workdir: Path, *more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "run", "--params", str(QUICK), "--workdir", str(workdir),
         "--json", str(workdir / "results.json"), *more],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"})


def finish(workdir: Path) -> Finished:
    process = start(workdir)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return Finished(workdir, json.loads((workdir / "results.json").read_text()), said)


def main_cycles(finished: Finished) -> list[dict]:
    """The cycles of the study's first strategy."""
    return finished.results["runs"][0]["cycles"]


@pytest.fixture(scope="session")
def quick(tmp_path_factory) -> Finished:
    return finish(tmp_path_factory.mktemp("undisturbed"))


@dataclass(frozen=True)
class Services:
    """A copy of this project whose `make up` was given: its folder, its server's address and password."""

    root: Path
    address: str
    password: str


def copy_of_project(folder: Path) -> Path:
    for name in ("mgral", "tasks", "flows"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("prefect.yaml", "prefect.toml", "params.yaml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def command(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess:
    """`python -m WORDS` as someone gives it in `folder`, who has set nothing of Prefect's."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return subprocess.run([sys.executable, "-m", *words], cwd=folder, env=environment | {"COLUMNS": "400"} | more,
                          capture_output=True, text=True, timeout=600, check=False)


def restart_worker(folder: Path) -> None:
    """Stops the worker of a folder's `make up` and starts another."""
    code = ("from flows import services; assert services._stop('worker'); "
            "services._start_worker(services._environment(services._dotenv()))")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment | EAGER, check=True, timeout=60)


def free_port() -> int:
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        return some.getsockname()[1]


@pytest.fixture(scope="session")
def services(tmp_path_factory):
    """A real server and worker for the whole session."""
    root, port = copy_of_project(tmp_path_factory.mktemp("services")), free_port()
    try:
        done = command(root, "flows.services", "up", "--port", str(port), **EAGER)
        assert done.returncode == 0, done.stderr
        settings = dict(line.split("=", 1) for line in (root / ".env").read_text().splitlines())
        assert settings["PREFECT_API_URL"] == f"http://127.0.0.1:{port}/api"
        assert settings["PREFECT_API_AUTH_STRING"] in done.stdout, "what to type in the browser"
        yield Services(root, f"http://127.0.0.1:{port}", settings["PREFECT_API_AUTH_STRING"])
    finally:
        command(root, "flows.services", "down")


@pytest.fixture
def mgral(tmp_path, monkeypatch, capsys):
    """Gives a command as somebody types it in an empty folder; what it printed and its exit status come back."""
    from tasks.opened import forget_studies

    monkeypatch.chdir(tmp_path)

    def typed(*words: str) -> tuple[str, int]:
        monkeypatch.setattr(sys, "argv", ["mgral", *words])
        forget_studies()  # as another process would begin
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = end.code
        captured = capsys.readouterr()
        return captured.out if not status else captured.err, status

    return typed
