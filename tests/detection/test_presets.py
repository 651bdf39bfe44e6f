import copy

import pytest
import torch
from pydantic import ValidationError

from mgral.config import DetectorConfig
from mgral.detection.building import build_detector, load_mmdet
from mgral.detection.presets import PRESETS, model_config
from mgral.errors import ConfigError
from tests.detection.scenes import CLASSES

COCO = tuple(f"class {row}" for row in range(80))
OF_MMDET = {"ssd300": 34.3, "retinanet_r50": 38.0, "faster_rcnn_r50": 41.8}
"""Presets that mmdet ships, and their millions of parameters with 80 classes."""


def built(settings):
    from mmdet.registry import MODELS
    from mmengine.config import ConfigDict

    settings = ConfigDict(copy.deepcopy(settings))
    settings.pop("data_preprocessor")
    with torch.device("meta"):
        return MODELS.build(settings)


def shapes(model):
    return {name: value.shape for name, value in model.state_dict().items()}


def test_the_tiny_preset_is_small():
    detector = build_detector(DetectorConfig(), ("a", "b"), seed=0)
    assert 0.3e6 < sum(weight.numel() for weight in detector.parameters()) < 0.9e6
    assert all(weight.requires_grad for weight in detector.parameters())


def test_classes_are_set_wherever_they_stand(tmp_path):
    path = tmp_path / "model.py"
    path.write_text("model = dict(type='X', roi_head=[dict(num_classes=80), dict(bbox_head=dict(num_classes=80))])")
    settings = model_config(DetectorConfig(config=str(path)), ("a", "b", "c"))
    assert settings == {"type": "X", "roi_head": [{"num_classes": 3}, {"bbox_head": {"num_classes": 3}}]}


def test_a_config_that_mmdet_ships():
    settings = model_config(DetectorConfig(config="mmdet::retinanet/retinanet_r18_fpn_1x_coco.py"), ("a", "b"))
    assert settings["type"] == "RetinaNet"
    assert settings["bbox_head"]["num_classes"] == 2


def test_an_absent_file_is_named():
    with pytest.raises(ConfigError, match="gone.py: expected an mmdet config file, got No such file"):
        model_config(DetectorConfig(config="gone.py"), ("a",))


def test_a_file_that_fails_is_named(tmp_path):
    path = tmp_path / "model.py"
    path.write_text("model = 1 / 0")
    with pytest.raises(ConfigError, match="model.py: expected an mmdet config file, got ZeroDivisionError"):
        model_config(DetectorConfig(config=str(path)), ("a",))


def test_a_file_without_model_is_refused(tmp_path):
    path = tmp_path / "model.py"
    path.write_text("data = dict(a=1)")
    with pytest.raises(ConfigError, match="expected a `model` section, got data"):
        model_config(DetectorConfig(config=str(path)), ("a",))


@pytest.mark.parametrize("changes", [{}, {"frozen_stages": 1}, {"weights": "torchvision://any"}])
@pytest.mark.parametrize("preset", OF_MMDET)
def test_at_full_width_a_preset_is_the_model_of_mmdet(preset, changes):
    from mmengine.hub import get_config

    load_mmdet()
    ours = built(model_config(DetectorConfig(preset=preset, **changes), COCO))
    assert shapes(ours) == shapes(built(get_config(PRESETS[preset]).model))
    assert sum(weight.numel() for weight in ours.parameters()) / 1e6 == pytest.approx(OF_MMDET[preset], abs=0.05)


@pytest.mark.parametrize("width", [0.125, 0.375, 0.5])
@pytest.mark.parametrize("preset", OF_MMDET)
def test_width_multiplies_all_channels(preset, width):
    """All of the backbone's filters but for the three colours; what a head says of a place is not a width."""
    load_mmdet()
    whole, narrow = (shapes(built(model_config(DetectorConfig(preset=preset, width=share), CLASSES)))
                     for share in (1.0, width))
    assert list(narrow) == list(whole)
    for name, shape in whole.items():
        if name.startswith("backbone") and len(shape) == 4:
            inputs = shape[1] if shape[1] == 3 else shape[1] * width
            assert narrow[name] == (shape[0] * width, inputs, *shape[2:])


@pytest.mark.parametrize("width", [0.0, 0.3, 0.0625, 1.125])
def test_other_widths_than_eighths_are_refused(width):
    with pytest.raises(ValidationError, match="width"):
        DetectorConfig(preset="ssd300", width=width)


def test_a_config_file_cannot_be_narrowed():
    with pytest.raises(ValidationError, match="expected width 1.0 with a config, got 0.5; only presets can"):
        DetectorConfig(config="model.py", width=0.5)


@pytest.mark.parametrize(("preset", "stages", "frozen"), [
    ("ssd300", -1, ()),
    ("ssd300", 2, tuple(f"backbone.features.{row}." for row in (0, 2, 5, 7))),
    ("retinanet_r50", 0, ("backbone.conv1.", "backbone.bn1.")),
    ("faster_rcnn_r50", 1, ("backbone.conv1.", "backbone.bn1.", "backbone.layer1.")),
    ("faster_rcnn_r50", None, ()),
    ("ssd300", None, ()),
])
def test_frozen_stages_do_not_learn(preset, stages, frozen):
    config = DetectorConfig(preset=preset, width=0.125, image_size=300, frozen_stages=stages)
    model = build_detector(config, CLASSES, seed=0).train().model
    still = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    assert still == {name for name, _ in model.named_parameters() if name.startswith(frozen)}
    assert len(still) >= len(frozen)


def test_with_weights_a_preset_freezes_what_mmdet_freezes():
    given = model_config(DetectorConfig(preset="retinanet_r50", weights="torchvision://resnet50"), CLASSES)
    random = model_config(DetectorConfig(preset="retinanet_r50"), CLASSES)
    assert (given["backbone"]["frozen_stages"], given["backbone"]["norm_eval"]) == (1, True)
    assert (random["backbone"]["frozen_stages"], random["backbone"]["norm_eval"]) == (-1, False)


@pytest.mark.parametrize("settings", ["type='X', backbone=dict(type='HourglassNet')", "type='X'"])
def test_stages_of_a_backbone_without_stages_are_refused(tmp_path, settings):
    load_mmdet()
    path = tmp_path / "model.py"
    path.write_text(f"model = dict({settings})")
    with pytest.raises(ConfigError, match="frozen_stages: expected a backbone with stages to freeze, got (Hourg|None)"):
        model_config(DetectorConfig(config=str(path), frozen_stages=1), CLASSES)


def test_a_canvas_too_small_for_ssd_is_refused():
    config = DetectorConfig(preset="ssd300", width=0.125, image_size=256)
    with pytest.raises(ConfigError, match="image_size: expected at least 257 for ssd300, got 256; raise it"):
        build_detector(config, CLASSES, seed=0)
