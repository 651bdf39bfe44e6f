import numpy as np
import pytest
import torch

from mgral.config import DetectorConfig, TrainingConfig
from mgral.detection.building import build_detector
from mgral.detection.inspecting import detect, evaluating, inspect
from tests.detection.scenes import CLASSES, Scenes, learn_by_heart


@pytest.fixture(scope="module")
def scenes():
    return Scenes(8)


@pytest.fixture(scope="module")
def learned(scenes):
    detector = build_detector(DetectorConfig(image_size=64), CLASSES, seed=0)
    learn_by_heart(detector, scenes, TrainingConfig(steps=60, batch_size=8, lr=5e-3))
    return detector


def test_results_are_in_original_pixels(learned, scenes):
    seen = inspect(learned, scenes, scenes.ids)
    for image_id, detections in zip(seen.ids, seen.detections, strict=True):
        assert detections.xyxy.max(initial=0) <= 32  # the canvas has 64, at two pixels for one
        assert (np.diff(detections.scores) <= 0).all()
        for box in scenes.boxes[image_id].xyxy:
            assert np.abs(detections.above(0.2).xyxy - box).max(axis=1).min() < 4


def test_shapes_and_types(learned, scenes):
    seen = inspect(learned, scenes, scenes.ids[:5], batch_size=2, locations=9)
    assert seen.ids == scenes.ids[:5]
    assert seen.embedding.shape == (5, 256)
    assert seen.class_scores.shape == (5, 9, 3)
    assert seen.embedding.dtype == seen.class_scores.dtype == np.float32
    assert all((image.xyxy.dtype, image.scores.dtype, image.labels.dtype) == (np.float32, np.float32, np.int64)
               for image in seen.detections)


def test_order_and_batches_change_nothing(learned, scenes):
    together = inspect(learned, scenes, scenes.ids)
    apart = inspect(learned, scenes, scenes.ids[::-1], batch_size=3).of(scenes.ids)
    np.testing.assert_allclose(together.embedding, apart.embedding, atol=1e-5)
    np.testing.assert_allclose(together.class_scores, apart.class_scores, atol=1e-5)


def test_detections_alone_are_the_same(learned, scenes):
    seen, detections = inspect(learned, scenes, scenes.ids), detect(learned, scenes, scenes.ids)
    assert list(detections) == list(scenes.ids)
    for image, twin in zip(seen.detections, detections.values(), strict=True):
        np.testing.assert_array_equal(image.scores, twin.scores)


def test_the_detector_is_given_back_in_its_mode(detector):
    for mode in (True, False):
        detector.train(mode)
        with evaluating(detector):
            assert not detector.training
            assert torch.is_inference_mode_enabled()
        assert detector.training is mode


def test_no_images_are_refused(detector):
    with pytest.raises(ValueError, match="expected at least one image to inspect, got none"):
        inspect(detector, Scenes(1), ())
