import copy

import pytest
import torch

from mgral.config import DetectorConfig
from mgral.detection.building import build_detector
from mgral.detection.detector import Channels
from tests.detection.scenes import Scenes, target


def test_uint8_and_float_pixels_are_the_same(detector):
    pixels = Scenes(2).pixels(["scene-0", "scene-1"])
    with torch.inference_mode():
        first, second = (detector.eval().features(batch) for batch in (pixels, pixels.float()))
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))


def test_half_precision_stays_close_and_learns(detector):
    """Eight bits of mantissa: maps within a few percent of their size, the loss within one."""
    half = build_detector(DetectorConfig(image_size=64, precision="bfloat16"), detector.classes, 0)
    half.load_state_dict(detector.state_dict())
    scenes = Scenes(4)
    pixels, targets = scenes.pixels(scenes.ids), [target(2, side=64, seed=seed) for seed in range(4)]
    whole = copy.deepcopy(detector)
    for level, rounded in zip(whole.train().features(pixels), half.train().features(pixels), strict=True):
        assert rounded.dtype == torch.float32
        assert (level - rounded).norm() < 0.05 * level.norm()
    losses = [torch.stack(list(model.losses(pixels, targets).values())).sum() for model in (whole, half)]
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=0.01)
    losses[1].backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in half.parameters())


def test_channels_normalise_in_the_order_of_the_model():
    pixels = torch.tensor([10.0, 20, 30])[None, :, None, None]
    rgb = Channels({"mean": [1, 2, 3], "std": [1, 1, 2], "bgr_to_rgb": True})(pixels).flatten()
    bgr = Channels({"mean": [1, 2, 3], "std": [1, 1, 2], "bgr_to_rgb": False})(pixels).flatten()
    assert rgb.tolist() == [9, 18, 13.5]
    assert bgr.tolist() == [29, 18, 3.5]
    assert Channels({"bgr_to_rgb": True})(pixels).flatten().tolist() == [10, 20, 30]


def test_inspecting_gives_what_predicting_gives(detector):
    scenes = Scenes(3)
    pixels, contents = scenes.pixels(scenes.ids), [scenes.canvas] * 3
    with torch.inference_mode():
        reading, predicted = detector.eval().inspect(pixels, contents, 7), detector.predict(pixels, contents)
        assessed = detector.assess(pixels, contents, [target(1, side=64)] * 3)[0]
    assert reading.embedding.shape == (3, 256)
    assert reading.class_scores.shape == (3, 7, 3)
    for detections in (predicted, assessed):
        torch.testing.assert_close([list(image) for image in reading.found], [list(image) for image in detections])


def test_one_pass_serves_inspection(detector, monkeypatch):
    calls = []
    backbone = detector.model.backbone.forward
    monkeypatch.setattr(detector.model.backbone, "forward", lambda x: calls.append(1) or backbone(x))
    detector.eval().inspect(torch.zeros(2, 3, 64, 64), [(64, 64)] * 2)
    assert calls == [1]


def test_a_copy_learns_for_itself(detector):
    twin = copy.deepcopy(detector)
    pixels, targets = Scenes(2).pixels(["scene-0", "scene-1"]), [target(1, side=64)] * 2
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    sum(twin.train().losses(pixels, targets).values()).backward()
    torch.optim.SGD(twin.parameters(), 1.0).step()
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())
    assert twin._head.head is twin.model.bbox_head
    assert twin.losses(pixels, targets)["loss_cls"] != detector.train().losses(pixels, targets)["loss_cls"]


def test_every_image_needs_a_target(detector):
    with pytest.raises(ValueError, match="expected a target an image, got 1 for 2 images"):
        detector.losses(torch.zeros(2, 3, 64, 64), [target(0)])
