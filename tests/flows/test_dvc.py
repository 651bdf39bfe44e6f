"""dvc repro on a project of its own: the shipped dvc.yaml with the quick study."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.flows.conftest import QUICK

BIN = Path(sys.executable).parent


def dvc(project: Path, *arguments: str) -> str:
    said = subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=project, capture_output=True, text=True,
                          timeout=600, check=False, env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"})
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout + said.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project with two cycles and no baseline."""
    folder = tmp_path_factory.mktemp("project")
    for package in ("mgral", "tasks", "flows"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".dvcignore", folder)
    params = yaml.safe_load(QUICK.read_text())
    params["study"] |= {"baselines": []}
    (folder / "params.yaml").write_text(yaml.safe_dump(params | {"device": "cpu"}))
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    del stages["stages"]["baseline"], stages["stages"]["cycle"]["foreach"][3]
    report = stages["stages"]["report"]
    report["deps"] = [one.replace("/3/", "/2/") for one in report["deps"] if "random" not in one]
    (folder / "dvc.yaml").write_text(yaml.safe_dump(stages))
    dvc(folder, "init", "--no-scm", "--quiet")
    return folder


def test_one_lock_whichever_way(project):
    """A cycle done by the plain flow counts as done, and `dvc repro` does only the rest; then nothing."""
    subprocess.run([sys.executable, "-m", "flows.cycle", "--cycle", "1"], cwd=project, check=True, timeout=600,
                   capture_output=True, env=os.environ | {"PYTHONPATH": str(project)})
    assert "cycle@1" not in dvc(project, "status", "prepare", "cycle@1")
    lock = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    said = dvc(project, "repro")
    assert "Stage 'prepare' didn't change, skipping" in said
    assert "Stage 'cycle@1' didn't change, skipping" in said
    assert "Running stage 'cycle@2'" in said
    assert "up to date" in dvc(project, "status")
    assert "Running" not in dvc(project, "repro")
    dvc(project, "repro", "--force", "--single-item", "cycle@1")
    assert yaml.safe_load((project / "dvc.lock").read_text())["stages"]["cycle@1"] == lock["cycle@1"]


def test_the_snapshot_is_the_version_that_dvc_locks(project):
    from mgral.study.results import CycleResult

    lock = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    for cycle in (1, 2):
        outs = {one["path"]: one["md5"] for one in lock[f"cycle@{cycle}"]["outs"]}
        folder = f"runs/quick/mgral/{cycle}"
        assert outs[f"{folder}/snapshot.json"] == CycleResult.read(project / folder / "result.json").snapshot


def test_other_search_settings_search_again_with_the_experiments_there_are(project):
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("iterations: 20", "iterations: 25"))
    said = dvc(project, "repro", "cycle@1")
    assert "Stage 'prepare' didn't change, skipping" in said
    assert "Running stage 'cycle@1'" in said
    assert "reused 7, run 0" in said
