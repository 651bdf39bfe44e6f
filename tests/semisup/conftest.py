import pytest

from mgral.config import DetectorConfig, TrainingConfig
from mgral.detection.building import build_detector
from mgral.detection.training import train
from tests.detection.scenes import CLASSES, Scenes


@pytest.fixture(scope="session")
def scenes():
    return Scenes(24)


@pytest.fixture(scope="session")
def start(scenes):
    """A detector after a short training on eight images; nobody changes it."""
    detector = build_detector(DetectorConfig(image_size=64), CLASSES, seed=0)
    list(train(detector, scenes, scenes.boxes, scenes.ids[:8], TrainingConfig(steps=60, lr=5e-3), 0))
    return detector


@pytest.fixture
def labelled(scenes):
    return {image_id: scenes.boxes[image_id] for image_id in scenes.ids[:8]}


@pytest.fixture
def reward(scenes):
    return {image_id: scenes.boxes[image_id] for image_id in scenes.ids[16:]}
