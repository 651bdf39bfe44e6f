"""One training over two processes, started by torchrun as a user would."""

import json
import os
import subprocess
import sys
from itertools import islice

import pytest
import torch

from mgral.config import DetectorConfig, TrainingConfig
from mgral.data.augment import STRONGEST, TRAIN, view
from mgral.detection import World, build_detector, joined
from mgral.errors import ConfigError
from mgral.training.supervised import supervised_training
from tests.conftest import ROOT
from tests.detection.scenes import CLASSES, Scenes

CONFIG = TrainingConfig(steps=6, batch_size=8, lr=5e-3)


def run(world=None, still=True, checkpoint=None, ids=None, until=CONFIG.steps):
    """Losses and last weights of a short training; `still` norms do not learn statistics."""
    scenes = Scenes(12)
    detector = build_detector(DetectorConfig(image_size=64), CLASSES, seed=0)
    if still:
        for module in detector.eval().modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.train = lambda mode=True: None  # stays in eval mode
    extra = {"world": world} if world else {}
    training = supervised_training(detector, scenes, scenes.boxes, ids or scenes.ids, CONFIG, 0, checkpoint, every=3,
                                   **extra)
    losses = [step.loss for step in islice(training, until)]
    return losses, torch.cat([value.detach().flatten() for value in detector.parameters()])


def of_two_processes(tmp_path, case):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               ROOT / "tests" / "training" / "one_of_two.py", tmp_path, case]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    return of_two_processes(tmp_path_factory.mktemp("still"), "still")


def test_the_losses_and_weights_are_those_of_one_process(halves):
    losses, weights = run()
    assert halves[0]["losses"] == halves[1]["losses"] == pytest.approx(losses, rel=1e-4)
    for half in halves:
        torch.testing.assert_close(torch.tensor(half["weights"]), weights[::997], atol=2e-4, rtol=1e-3)
    assert halves[0]["weights"] == halves[1]["weights"]


def test_with_norms_that_learn_the_curve_stays_close(tmp_path):
    """Each process norms its own four images of eight: another network each step, the same descent."""
    outcomes = of_two_processes(tmp_path, "learning")
    losses, _ = run(still=False)
    assert outcomes[0]["losses"] == outcomes[1]["losses"]
    assert outcomes[0]["losses"] == pytest.approx(losses, rel=0.25)
    assert outcomes[0]["losses"][-1] < outcomes[0]["losses"][0]


def test_only_the_first_writes_and_all_go_on_from_it(halves, tmp_path):
    assert halves[0]["continued"] == halves[1]["continued"] == pytest.approx(halves[0]["losses"][3:], rel=1e-5)
    assert halves[0]["files"] == ["part.pth"]


def test_processes_that_see_other_images_are_refused(tmp_path):
    outcomes = of_two_processes(tmp_path, "other")
    for outcome in outcomes:
        assert "expected the same images, settings and seed in every process" in outcome["fault"]


@pytest.mark.parametrize("strength", [TRAIN, STRONGEST])
def test_a_share_is_seen_as_in_the_whole_batch(strength):
    pixels = Scenes(6).pixels(Scenes(6).ids)
    contents = torch.tensor([[64, 48]] * 6)
    whole = view(pixels, contents, strength, torch.Generator().manual_seed(0))
    shares = [view(pixels[part], contents, strength, torch.Generator().manual_seed(0), part)
              for part in (World(rank, 3).share(6) for rank in range(3))]
    torch.testing.assert_close(torch.cat([share.pixels for share in shares]), whole.pixels, atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.cat([share.matrices for share in shares]), whole.matrices)


def test_a_batch_is_shared_evenly_or_not_at_all():
    assert [World(rank, 2).share(8) for rank in (0, 1)] == [slice(0, 4), slice(4, 8)]
    with pytest.raises(ConfigError, match="training.batch_size: expected a multiple of the 3 processes, got 8"):
        World(0, 3).share(8)


def test_only_torchrun_starts_it():
    with pytest.raises(ConfigError, match="expected to be started by torchrun"), joined("cpu"):
        pass
