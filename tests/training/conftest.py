import pytest

from mgral.config import DetectorConfig, TrainingConfig
from mgral.detection import build_detector
from mgral.training.supervised import supervised_training
from tests.detection.conftest import detector, foreign  # noqa: F401  (fixtures)
from tests.detection.scenes import CLASSES, Scenes


@pytest.fixture(scope="session")
def scenes():
    return Scenes(24)


@pytest.fixture(scope="session")
def start(scenes):
    """A detector after a short training on eight images; nobody changes it."""
    new = build_detector(DetectorConfig(image_size=64), CLASSES, seed=0)
    config = TrainingConfig(steps=60, batch_size=8, lr=5e-3)
    supervised_training(new, scenes, scenes.boxes, scenes.ids[:8], config, 0).run()
    return new


@pytest.fixture
def labelled(scenes):
    return {image_id: scenes.boxes[image_id] for image_id in scenes.ids[:8]}


