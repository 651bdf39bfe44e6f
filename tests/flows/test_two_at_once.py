"""Three processes that begin at once in one empty folder, two of them on one study; and the folder moved afterwards."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

TINY = {"data": {"format": "synthetic", "labelled": 16,
                 "synthetic": {"pool": 40, "reward": 8, "test": 8, "image_size": 32, "duplicates": 0.35,
                           "empty": 0.15}},
        "detector": {"image_size": 32}, "training": {"steps": 4, "batch_size": 4},
        "semisup": {"steps": 2, "labelled_per_step": 2, "unlabelled_per_step": 2},
        "pool": {"near_duplicates": "allow"},
        "table": {"records": 4, "repeats": 0, "fallback_cap": 0, "at_once": 1},
        "search": {"iterations": 4, "trust": "always", "check": False}}
STUDIES = {"first": ["mgral", "random"], "other": ["random"]}


def started(folder: Path, command: str, study: str) -> subprocess.Popen:
    """`mgral COMMAND` as someone types it in `folder`."""
    return subprocess.Popen([sys.executable, "-m", "flows.cli", command, "--params", f"{study}.yaml"], cwd=folder,
                            env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def done(process: subprocess.Popen) -> tuple[str, int]:
    said, _ = process.communicate(timeout=600)
    return said, process.returncode


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("project") / "old"
    made.mkdir()
    for name, strategies in STUDIES.items():
        study = {"name": name, "strategies": strategies, "cycles": 1, "budget": 6}
        (made / f"{name}.yaml").write_text(yaml.safe_dump(TINY | {"study": study}))
    return made


@pytest.fixture(scope="module")
def ended(folder) -> list[tuple[str, int]]:
    """What the three said, and how they ended."""
    return [done(process) for process in [started(folder, "run", name) for name in ("first", "first", "other")]]


def test_all_succeed_and_who_waits_says_so(folder, ended):
    assert [status for _, status in ended] == [0, 0, 0], "\n".join(said for said, _ in ended)
    assert not any("Traceback" in said for said, _ in ended)
    waited = ["another mgral (process " in said for said, _ in ended]
    assert any(waited[:2])
    assert not waited[2]


def test_nothing_is_done_or_recorded_twice(folder, ended):
    with closing(sqlite3.connect(folder / "runs/table.db")) as connection:
        assert connection.execute("SELECT count(*), count(DISTINCT fingerprint) FROM experiment").fetchone() == (4, 4)
    with closing(sqlite3.connect(folder / "mlruns/mlflow.db")) as connection:
        counts = connection.execute("SELECT count(*), count(DISTINCT t.value) FROM runs r JOIN tags t ON t.run_uuid = "
                                    "r.run_uuid WHERE t.key = 'mgral.key'").fetchone()
        left = connection.execute("SELECT count(*) FROM runs WHERE status != 'FINISHED'").fetchone()
    assert counts[0] == counts[1] == 3 + 3 + 4  # a run each for studies, cycles and experiments
    assert left == (0,)
    assert not [name for name in files(folder) if ".part" in name or name.endswith(".old")]


@pytest.fixture(scope="module")
def moved(folder, ended) -> Path:
    return shutil.move(folder, folder.with_name("new"))


@pytest.mark.parametrize("command", ["report", "run"])
def test_a_moved_folder_goes_on_in_its_new_place_alone(folder, moved, command):
    images = {path: path.stat().st_mtime_ns for path in moved.rglob("*.pth")}
    said, status = done(started(moved, command, "first"))
    assert status == 0, said
    assert not folder.exists(), "nothing is written where it was"
    assert {path: path.stat().st_mtime_ns for path in moved.rglob("*.pth")} == images, "nothing is trained again"
    assert str(folder) not in said
    assert {path.name for path in moved.iterdir()} == {"first.yaml", "other.yaml", "runs", "mlruns"}


def test_a_newer_ones_table_ends_in_one_line(moved, tmp_path):
    project = shutil.copytree(moved, tmp_path / "project")
    with closing(sqlite3.connect(project / "runs/table.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    shutil.rmtree(project / "runs/first/seed-0/mgral/1")
    said, status = done(started(project, "run", "first"))
    assert status == 2, said
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("mgral: sqlite:///")
    assert said.splitlines()[-1].endswith("got 9999; it was written by a newer mgral, update this one")
