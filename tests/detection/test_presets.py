import pytest

from mgral.config import DetectorConfig
from mgral.detection.building import build_detector
from mgral.detection.presets import model_config
from mgral.errors import ConfigError


def test_the_tiny_preset_is_small():
    detector = build_detector(DetectorConfig(), ("a", "b"), seed=0)
    assert 0.3e6 < sum(one.numel() for one in detector.parameters()) < 0.9e6
    assert all(one.requires_grad for one in detector.parameters())


def test_classes_are_set_wherever_they_stand(tmp_path):
    path = tmp_path / "model.py"
    path.write_text("model = dict(type='X', roi_head=[dict(num_classes=80), dict(bbox_head=dict(num_classes=80))])")
    made = model_config(DetectorConfig(config=str(path)), ("a", "b", "c"))
    assert made == {"type": "X", "roi_head": [{"num_classes": 3}, {"bbox_head": {"num_classes": 3}}]}


def test_a_config_that_mmdet_ships():
    made = model_config(DetectorConfig(config="mmdet::retinanet/retinanet_r18_fpn_1x_coco.py"), ("a", "b"))
    assert made["type"] == "RetinaNet"
    assert made["bbox_head"]["num_classes"] == 2


def test_an_absent_file_is_named():
    with pytest.raises(ConfigError, match="gone.py: expected an mmdet config file, got no such file"):
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
