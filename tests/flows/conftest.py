"""One undisturbed quick study, and one Prefect server, for all tests that need them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT

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


@pytest.fixture(scope="session")
def quick(tmp_path_factory) -> Finished:
    return finish(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory):
    """A real server of its own, with its own home, for the whole session."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield
    patch.undo()
