"""The command line as a person meets it: help, and one clear line for each thing that is wrong."""

import hashlib
import json
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def mgral(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "flows.cli", *arguments], cwd=ROOT, capture_output=True, text=True,
                          timeout=300, check=False, **options)


def test_help_names_every_command():
    said = mgral("--help")
    assert said.returncode == 0
    commands = ("run", "select", "check", "prepare", "cycle", "report", "semisup", "import", "dvc", "status",
                "export", "push", "pull")
    assert all(name in said.stdout for name in commands)


def test_faults_of_the_settings_come_before_any_work(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("devise: cpu\nstudy: {cycles: 0}\n")
    said = mgral("run", "--params", str(params), "--workdir", str(tmp_path / "work"))
    assert said.returncode == 2
    assert said.stderr.splitlines() == [
        f"mgral: {params}:2: study.cycles: expected a number greater than or equal to 1, got 0",
        f"mgral: {params}:1: devise: unknown setting; did you mean 'device'?"]
    assert not (tmp_path / "work").exists()


def test_all_that_is_wrong_with_the_options_is_said_at_once():
    said = mgral("semisup", "--fraction", "2,x", "--methods", "fixmatch", "--folds", "0")
    assert said.returncode == 2
    assert [line.split(", got")[1] for line in said.stderr.splitlines()] == [" 'fixmatch'", " 2", " 'x'", " 0"]


def test_a_budget_larger_than_the_pool_is_refused(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("data: {format: synthetic, labelled: 10,\n"
                      "       synthetic: {pool: 20, reward: 5, test: 5, image_size: 32}}\n"
                      "detector: {image_size: 32}\nstudy: {name: s, cycles: 3, budget: 5}\n")
    said = mgral("check", "--params", str(params), "--workdir", str(tmp_path / "work"))
    assert said.returncode == 2
    assert "expected cycles × budget to be at most the 10 images" in said.stderr
    assert "Traceback" not in said.stderr


def test_a_data_set_of_another_folder_needs_that_folder(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("data: {format: voc}\n")
    said = mgral("check", "--params", str(params), "--workdir", str(tmp_path))
    assert "data.root: expected the data set's folder, got nothing; set it, or give --data" in said.stderr


@pytest.mark.parametrize(("arguments", "line"), [
    (("--strategy", "entropy"), "--strategy: expected one of"),
    (("--cycle", "9"), "--cycle: expected 1 to 2"),
    (("--seed", "9"), "--seed: expected one of 0"),
])
def test_a_cycle_that_the_study_does_not_have_is_refused(arguments, line):
    said = mgral("cycle", "--params", "examples/quick.yaml", *arguments)
    assert said.returncode == 2
    assert line in said.stderr


def test_a_cycle_before_the_one_it_builds_on_is_refused(tmp_path):
    said = mgral("cycle", "--params", "examples/quick.yaml", "--workdir", str(tmp_path), "--cycle", "2")
    assert said.returncode == 2
    assert said.stderr.splitlines()[-1].endswith("run cycle 1 of mgral first")


def test_splits_are_never_redrawn(tmp_path):
    first = mgral("prepare", "--params", "examples/quick.yaml", "--workdir", str(tmp_path))
    assert first.returncode == 0
    splits = (tmp_path / "runs/quick/seed-0/prepared/splits.json").read_bytes()
    other = tmp_path / "other.yaml"
    other.write_text((ROOT / "examples/quick.yaml").read_text().replace("labelled: 24", "labelled: 25"))
    said = mgral("check", "--params", str(other), "--workdir", str(tmp_path))
    assert said.returncode == 2
    assert "splits are never redrawn" in said.stderr
    assert (tmp_path / "runs/quick/seed-0/prepared/splits.json").read_bytes() == splits
    assert json.loads(splits)["sha256"]


def test_corrected_annotations_make_a_new_version(quick, tmp_path):
    """A person moves one box of the last batch; the snapshot changes, and back with the box moved back."""
    workdir = tmp_path / "work"
    shutil.copytree(quick.workdir, workdir)
    original = workdir / "runs/quick/seed-0/mgral/2/annotations.json"
    content = json.loads(original.read_text())
    first = json.dumps(content)
    content["annotations"][0]["bbox"][2] -= 1
    before = (workdir / "runs/quick/seed-0/mgral/2/snapshot.json").read_bytes()
    for text, same in ((json.dumps(content), False), (first, True)):
        (tmp_path / "corrected.json").write_text(text)
        said = mgral("import", "--params", "examples/quick.yaml", "--workdir", str(workdir), "--cycle", "2",
                     str(tmp_path / "corrected.json"))
        assert said.returncode == 0, said.stderr
        assert ((workdir / "runs/quick/seed-0/mgral/2/snapshot.json").read_bytes() == before) is same


def test_what_a_person_corrected_is_never_overwritten(quick, tmp_path):
    """Import, the next cycle, and all of it again: the corrected box is still there, and cycle 2 is built on it."""
    workdir = tmp_path / "work"
    shutil.copytree(quick.workdir, workdir)
    folder = workdir / "runs/quick/seed-0/mgral"
    shutil.rmtree(folder / "2")
    content = json.loads((folder / "1/annotations.json").read_text())
    content["annotations"][0]["bbox"][2] -= 1
    corrected = tmp_path / "corrected.json"
    corrected.write_text(json.dumps(content))
    where = ("--params", "examples/quick.yaml", "--workdir", str(workdir), "--cycle")
    assert mgral("import", *where, "1", str(corrected)).returncode == 0
    imported = (folder / "1/annotations.json").read_bytes()
    snapshot = (folder / "1/snapshot.json").read_bytes()
    assert imported != (quick.workdir / "runs/quick/seed-0/mgral/1/annotations.json").read_bytes()
    said = mgral("run", *where[:-1])
    assert said.returncode == 0, said.stderr
    assert (folder / "1/annotations.json").read_bytes() == imported
    assert (folder / "1/snapshot.json").read_bytes() == snapshot
    parent = json.loads((folder / "2/snapshot.json").read_text())["parent"]
    assert parent == hashlib.md5(snapshot, usedforsecurity=False).hexdigest()


def test_data_of_ones_own_with_synthetic_settings_is_refused(tmp_path):
    said = mgral("check", "--params", "examples/quick.yaml", "--data", str(tmp_path))
    assert said.returncode == 2
    assert "--data: expected none, as data.format in examples/quick.yaml is synthetic" in said.stderr
