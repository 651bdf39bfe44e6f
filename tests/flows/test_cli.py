"""The command line as a person meets it: help, and one clear line for each thing that is wrong."""

import json
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
    assert all(name in said.stdout for name in ("run", "check", "cycle", "import"))


def test_faults_of_the_settings_come_before_any_work(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("sed: 1\nstudy: {cycles: 0}\n")
    said = mgral("run", "--params", str(params), "--workdir", str(tmp_path / "work"))
    assert said.returncode == 2
    assert said.stderr.splitlines() == [
        f"mgral: {params}:2: study.cycles: expected a number greater than or equal to 1, got 0",
        f"mgral: {params}:1: sed: unknown setting; did you mean 'seed'?"]
    assert not (tmp_path / "work").exists()


def test_a_budget_larger_than_the_pool_is_refused(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("data: {labelled: 10, synthetic: {pool: 20, reward: 5, test: 5, image_size: 32}}\n"
                      "detector: {image_size: 32}\nstudy: {name: s, cycles: 3, budget: 5}\n")
    said = mgral("check", "--params", str(params), "--workdir", str(tmp_path / "work"))
    assert said.returncode == 2
    assert "expected cycles × budget to be at most the 10 images" in said.stderr
    assert "Traceback" not in said.stderr


def test_a_data_set_of_another_folder_needs_that_folder(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("data: {format: voc}\n")
    said = mgral("check", "--params", str(params), "--workdir", str(tmp_path))
    assert "data.root: expected the folder of the voc data set, got nothing" in said.stderr


@pytest.mark.parametrize(("arguments", "line"), [
    (("--strategy", "entropy"), "--strategy: expected one of"),
    (("--cycle", "9"), "--cycle: expected 1 to 2"),
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
    first = mgral("check", "--params", "examples/quick.yaml", "--workdir", str(tmp_path))
    assert first.returncode == 0
    splits = (tmp_path / "runs/quick/prepared/splits.json").read_bytes()
    other = tmp_path / "other.yaml"
    other.write_text((ROOT / "examples/quick.yaml").read_text().replace("labelled: 24", "labelled: 25"))
    said = mgral("check", "--params", str(other), "--workdir", str(tmp_path))
    assert said.returncode == 2
    assert "splits are never redrawn" in said.stderr
    assert (tmp_path / "runs/quick/prepared/splits.json").read_bytes() == splits
    assert json.loads(splits)["sha256"]
