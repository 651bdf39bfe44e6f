"""DVC on a project of its own: a study of one cycle a strategy, whose stages `mgral dvc` made."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mgral.study.results import CycleResult
from tests.conftest import ROOT

BIN = Path(sys.executable).parent
PARAMS = {
    "data": {"format": "synthetic", "labelled": 16,
             "synthetic": {"pool": 56, "reward": 8, "test": 8, "image_size": 32, "duplicates": 0.35,
                           "empty": 0.15}},
    "detector": {"image_size": 32}, "training": {"steps": 4, "batch_size": 4},
    "semisup": {"steps": 2, "labelled_per_step": 2, "unlabelled_per_step": 2},
    "table": {"records": 4, "repeats": 0, "fallback_cap": 0, "at_once": 1},
    "search": {"iterations": 4, "trust": "always"},
    "study": {"name": "small", "strategies": ["mgral", "random"], "cycles": 1, "budget": 6}}
MGRAL, RANDOM = "runs/small/seed-0/mgral/1", "runs/small/seed-0/random/1"


def run(project: Path, *command: str) -> str:
    settings = {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(project), "GIT_AUTHOR_NAME": "a",
                "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
                "DVC_NO_ANALYTICS": "1"}
    said = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=600, check=False,
                          env=os.environ | settings)
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout + said.stderr


def dvc(project: Path, *arguments: str) -> str:
    return run(project, sys.executable, "-m", "dvc", *arguments)


def mgral(project: Path, *arguments: str) -> str:
    return run(project, sys.executable, "-m", "flows.cli", *arguments)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project under git, with a local remote; one cycle was run without DVC, the rest by it."""
    folder = tmp_path_factory.mktemp("project")
    for package in ("mgral", "tasks", "flows"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".dvcignore", folder)
    shutil.copy(ROOT / ".gitignore", folder)
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    run(folder, "git", "init", "--quiet")
    dvc(folder, "init", "--quiet")
    dvc(folder, "remote", "add", "--default", "store", str(tmp_path_factory.mktemp("remote")))
    mgral(folder, "dvc")
    mgral(folder, "cycle")
    return folder


@pytest.fixture(scope="module")
def done(project) -> str:
    """What `dvc repro` said; its outcome is committed and pushed."""
    said = dvc(project, "repro")
    run(project, "git", "add", ".")
    run(project, "git", "commit", "--quiet", "--message", "done")
    dvc(project, "push")
    return said


def test_one_lock_whichever_way(project, done):
    """A cycle done without DVC counts as done, and `dvc repro` does only the rest; then nothing."""
    assert "Stage 'prepare' didn't change, skipping" in done
    assert "Stage 'mgral-1' didn't change, skipping" in done
    assert all(f"Running stage '{name}'" in done for name in ("random-1", "report"))
    assert "up to date" in dvc(project, "status")


def test_the_snapshot_is_the_version_that_dvc_locks(project, done):
    lock = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    for name, folder in (("mgral-1", MGRAL), ("random-1", RANDOM)):
        outs = {out["path"]: out["md5"] for out in lock[name]["outs"]}
        assert outs[f"{folder}/snapshot.json"] == CycleResult.read(project / folder / "result.json").snapshot
        made = {str(path.relative_to(project)) for path in (project / folder).iterdir()}
        assert made == set(outs), "every file of a cycle is an output"


def test_metrics_are_a_few_numbers(project, done):
    shown = json.loads(dvc(project, "metrics", "show", "--json"))[""]["data"]
    assert set(shown[f"{MGRAL}/metrics.json"]["data"]) == {"labelled", "map", "ap50"}
    assert set(shown["runs/small/report/metrics.json"]["data"]) == {"mgral", "random"}
    assert len(shown) == 3


def test_plots_have_one_line_a_strategy(project, done, tmp_path):
    plots = json.loads(dvc(project, "plots", "show", "--json", "--out", str(tmp_path)))
    plots = plots.get("data", plots)
    (curves,) = plots["learning curves"]
    content = curves["content"] if isinstance(curves["content"], dict) else json.loads(curves["content"])
    lines = {}
    for point in content["data"]["values"]:
        lines.setdefault(point["filename"], []).append(point["labelled"])
    assert [[int(labelled) for labelled in line] for line in lines.values()] == [[16, 22]] * 2
    assert any(name.endswith("random.csv") for name in lines)
    assert "filename" in json.dumps(content["encoding"] if "encoding" in content else content["layer"])
    with (project / "runs/small/report/curves/random.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2


def test_a_clone_goes_on(project, done, tmp_path):
    """Pulled, nothing is run again; with other settings the work goes on from what was pulled."""
    run(tmp_path, "git", "clone", "--quiet", str(project), "clone")
    clone = tmp_path / "clone"
    dvc(clone, "pull")
    assert "Running" not in dvc(clone, "repro")
    params = clone / "params.yaml"
    params.write_text(params.read_text().replace("batch_size: 4", "batch_size: 3"))
    said = dvc(clone, "repro", "report", "--single-item")
    assert "Running stage 'report'" in said
    assert "random  " in said
    assert "map" in dvc(clone, "metrics", "diff")


def test_experiments_change_a_setting_and_the_name(project, done):
    dvc(project, "exp", "run", "--set-param", "search.iterations=5", "--set-param", "study.name=other", "mgral-1")
    with (project / "runs/other/seed-0/mgral/1/search.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 5
    assert "runs/other/seed-0/mgral/1/metrics.json:map" in dvc(project, "exp", "show", "--csv")
    run(project, "git", "checkout", "--quiet", ".")


def test_more_cycles_need_other_stages(project, done):
    path = project / "params.yaml"
    text = path.read_text()
    path.write_text(text.replace("cycles: 1", "cycles: 2"))
    said = subprocess.run([sys.executable, "-m", "flows.cli", "check"], cwd=project, capture_output=True, text=True,
                          check=False, timeout=600)
    path.write_text(text)
    assert said.returncode == 2
    assert said.stderr.splitlines()[-1] == ("mgral: dvc.yaml: expected the stages of params.yaml, got others; type "
                                            "`mgral dvc` to write them anew")


def test_an_import_is_what_dvc_knows(project, done):
    """`dvc repro` neither runs the cycle again nor checks its old boxes out; what was built on them is made anew."""
    annotations = project / MGRAL / "annotations.json"
    content = json.loads(annotations.read_text())
    image = content["images"][0]
    content["annotations"].append({"id": 999, "image_id": image["id"], "category_id": content["categories"][0]["id"],
                                   "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0})
    (project / "corrected.json").write_text(json.dumps(content))
    mgral(project, "import", "corrected.json")
    imported = annotations.read_bytes()
    said = dvc(project, "repro")
    assert "Stage 'mgral-1' didn't change, skipping" in said
    assert "Running stage 'report'" in said
    assert annotations.read_bytes() == imported
    assert len(json.loads(imported)["annotations"]) == len(content["annotations"])
