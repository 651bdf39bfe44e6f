import logging
import re
import subprocess
import sys

import pytest
import torch

from mgral.config import DetectorConfig
from mgral.detection.building import (
    build_detector,
    check_detector,
    load_checkpoint,
    save_checkpoint,
)
from mgral.errors import ConfigError, StateError
from tests.detection.conftest import DENSE, TWO_STAGE
from tests.detection.scenes import CLASSES, Scenes


def states_equal(first, second):
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(name == twin_name and torch.equal(value, twin) for (name, value), (twin_name, twin) in pairs)


def test_same_seed_same_weights_and_no_global_seed():
    before = torch.random.get_rng_state()
    first, second, third = (build_detector(DetectorConfig(), CLASSES, seed) for seed in (1, 1, 2))
    assert states_equal(first, second)
    assert not states_equal(first, third)
    assert torch.equal(before, torch.random.get_rng_state())


def test_building_is_silent(capsys, caplog):
    with caplog.at_level(logging.DEBUG):
        build_detector(DetectorConfig(), CLASSES, 0)
    assert capsys.readouterr() == ("", "")


def test_importing_the_package_does_not_load_mmdet():
    code = "import sys, mgral.detection, mgral.training; sys.exit(bool({'mmdet', 'mmcv'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_checkpoint_gives_the_same_detector_back(detector, tmp_path):
    path = tmp_path / "detector.pt"
    save_checkpoint(path, detector)
    loaded = load_checkpoint(path)
    assert not loaded.training
    assert loaded.classes == CLASSES
    assert loaded.config == detector.config
    assert states_equal(loaded, detector)
    scenes = Scenes(2)
    with torch.inference_mode():
        first, second = (model.eval().inspect(scenes.pixels(scenes.ids), [scenes.canvas] * 2)
                         for model in (detector, loaded))
    assert torch.equal(first.embedding, second.embedding)
    assert torch.equal(first.class_scores, second.class_scores)


def test_weights_that_fit_are_taken(detector, tmp_path):
    path = tmp_path / "detector.pt"
    save_checkpoint(path, detector)
    wider = build_detector(DetectorConfig(weights=str(path)), (*CLASSES, "more"), seed=5)
    own, given = wider.model.state_dict(), detector.model.state_dict()
    assert torch.equal(own["backbone.conv1.weight"], given["backbone.conv1.weight"])
    assert torch.equal(own["bbox_head.retina_reg.weight"], given["bbox_head.retina_reg.weight"])
    assert own["bbox_head.retina_cls.weight"].shape != given["bbox_head.retina_cls.weight"].shape


def test_weights_in_mmdet_form_are_taken(detector, tmp_path):
    path = tmp_path / "detector.pth"
    torch.save({"state_dict": detector.model.state_dict(), "meta": {}}, path)
    assert states_equal(build_detector(DetectorConfig(weights=str(path)), CLASSES, seed=5), detector)


def test_weights_of_another_model_are_refused(tmp_path):
    path = tmp_path / "other.pt"
    torch.save({"layer": torch.zeros(2)}, path)
    with pytest.raises(ConfigError, match="other.pt: expected weights of RetinaNet, got none that fit"):
        build_detector(DetectorConfig(weights=str(path)), CLASSES, seed=0)


def test_torchvision_weights_go_to_the_backbone(monkeypatch):
    import mgral.detection.building as building

    seen = {}
    built = building.built

    def without_download(settings, *more, **named):
        seen.update(settings["backbone"])
        settings["backbone"].pop("init_cfg")
        return built(settings, *more, **named)

    monkeypatch.setattr(building, "built", without_download)
    build_detector(DetectorConfig(weights="torchvision://resnet18"), CLASSES, seed=0)
    assert seen["init_cfg"] == {"type": "Pretrained", "checkpoint": "torchvision://resnet18"}


@pytest.mark.parametrize(("preset", "weights"), [("ssd300", "open-mmlab://vgg16_caffe"),
                                                 ("retinanet_r50", "torchvision://resnet50")])
def test_a_failed_download_is_one_line(monkeypatch, preset, weights):
    """The name reaches mmengine's loader, from the backbone, and what that raises is told in one line."""
    import mmengine.runner.checkpoint as checkpoint

    def load(module, name, *args, **kwargs):
        raise OSError(f"no network\nfor {type(module).__name__} {name}")

    monkeypatch.setattr(checkpoint, "load_checkpoint", load)
    with pytest.raises(ConfigError) as raised:
        build_detector(DetectorConfig(preset=preset, weights=weights, image_size=300), CLASSES, seed=0)
    backbone = "SSDVGG" if preset == "ssd300" else "ResNet"
    assert str(raised.value) == (f"{weights}: expected first weights that can be fetched and loaded, got OSError: "
                                 f"no network for {backbone} {weights}")


def test_published_weights_fit_the_published_width_only():
    config = DetectorConfig(preset="ssd300", width=0.5, weights="open-mmlab://vgg16_caffe", image_size=300)
    with pytest.raises(ConfigError, match=r"expected a checkpoint of this width \(0.5\), got open-mmlab://vgg16_caffe"):
        build_detector(config, CLASSES, seed=0)


def test_weights_replace_those_that_a_config_file_asks_for(tmp_path):
    from mgral.detection.presets import forget_pretrained

    settings = {"backbone": {"init_cfg": {"type": "Pretrained", "checkpoint": "x"}, "depth": 1},
                "heads": [{"init_cfg": {"type": "Normal"}}, {"init_cfg": {"type": "Pretrained"}}]}
    forget_pretrained(settings)
    assert settings == {"backbone": {"depth": 1}, "heads": [{"init_cfg": {"type": "Normal"}}, {}]}


def test_a_model_that_cannot_be_built_is_named(tmp_path):
    path = tmp_path / "model.py"
    path.write_text("model = dict(type='NoSuchDetector')")
    with pytest.raises(ConfigError, match="model.py: expected a model that mmdet can build, got KeyError.*NoSuch"):
        build_detector(DetectorConfig(config=str(path)), CLASSES, seed=0)


def test_no_classes_are_refused():
    with pytest.raises(ValueError, match="expected at least one class, got none"):
        build_detector(DetectorConfig(), (), seed=0)


@pytest.mark.parametrize("content", [b"", b"no checkpoint"])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "detector.pt"
    path.write_bytes(content)
    with pytest.raises(StateError, match="detector.pt: expected a file of tensors, got"):
        load_checkpoint(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(StateError, match="gone.pt: expected a file of tensors, got No such file or directory"):
        load_checkpoint(tmp_path / "gone.pt")


@pytest.mark.parametrize(("saved", "message"), [
    ([1, 2], "expected a dictionary of tensors, got list"),
    ({"a": 1}, "expected a detector's checkpoint, got a"),
])
def test_files_of_another_kind_are_refused(tmp_path, saved, message):
    path = tmp_path / "detector.pt"
    torch.save(saved, path)
    with pytest.raises(StateError, match=message):
        load_checkpoint(path)


def test_weights_that_no_longer_fit_the_config_are_refused(detector, tmp_path):
    path = tmp_path / "detector.pt"
    save_checkpoint(path, detector)
    saved = torch.load(path, weights_only=True)
    saved["state"].pop("model.backbone.conv1.weight")
    torch.save(saved, path)
    with pytest.raises(ConfigError, match=r"detector.pt: expected the weights of tiny, got others.*conv1\.weight"):
        load_checkpoint(path)


def test_all_faults_of_a_detector_are_found_before_it_is_built(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (tmp_path / "bad.pth").write_bytes(b"not tensors")
    faults = DetectorConfig(config=str(tmp_path / "none.py"), weights=str(tmp_path / "bad.pth"), image_size=64)
    with pytest.raises(ConfigError) as caught:
        check_detector(faults, "cuda")
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "device", "detector.weights", "detector.config"]
    assert not any("\n" in problem for problem in caught.value.problems)


@pytest.mark.parametrize(("config", "line"), [
    ({"weights": "none.pth"}, "detector.weights: none.pth: expected a file of tensors, got No such file or directory"),
    ({"weights": "."}, "detector.weights: .: expected a file of tensors, got a folder"),
    ({"weights": "other.pth"}, "detector.weights: other.pth: expected weights of RetinaNet, got none that fit by name "
                               "and shape"),
    ({"config": "none.py"}, "detector.config: none.py: expected an mmdet config file, got No such file or directory"),
    ({"config": "."}, "detector.config: .: expected an mmdet config file, got a folder"),
    ({"config": "mmdet::gone.py"}, "detector.config: mmdet::gone.py: expected an mmdet config file, got "),
    ({"config": "syntax.py"}, "detector.config: syntax.py: expected an mmdet config file, got SyntaxError: "),
    ({"config": "exit.py"}, "detector.config: exit.py: expected an mmdet config file, got SystemExit: 0"),
    ({"config": "empty.py"}, "detector.config: empty.py: expected a `model` section, got nothing of the kind"),
    ({"config": "number.py"}, "detector.config: number.py: expected a `model` section, got nothing of the kind"),
    ({"config": "unknown.py"}, "detector.config: unknown.py: expected a model that mmdet can build, got KeyError: "),
    ({"config": "half.py"}, "detector.config: half.py: expected a model that mmdet can build, got TypeError: "),
    ({"config": "pixels.py"}, "detector.config: pixels.py: expected a model that mmdet can build, got AttributeError"),
    ({"config": "detr.py"}, "detector.config: expected a one-stage or two-stage detector, got ResNet"),
    ({"config": "detr.py", "weights": "torchvision://resnet50"}, "detector.weights: expected a checkpoint file of the "
     "whole model, as detr.py has no backbone of its own, got torchvision://resnet50"),
    ({"config": "mmdet::detr/detr_r50_8xb2-150e_coco.py"}, "detector.config: mmdet::detr/detr_r50_8xb2-150e_coco.py: "
     "expected a detector that mgral can train, got TypeError: "),
    ({"config": "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"}, "detector.config: mmdet::mask_rcnn/mask-rcnn_r50_fpn_"
     "1x_coco.py: expected a detector that mgral can train, got AttributeError: 'InstanceData' object has no"),
    ({"preset": "ssd300", "image_size": 64}, "detector.image_size: expected at least 257 for ssd300, got 64; raise it"),
    ({"frozen_stages": 5}, "detector.preset: tiny: expected a model that mmdet can build, got "),
    ({"width": 0.5, "weights": "torchvision://resnet18"}, "detector.weights: expected a checkpoint of this width (0.5"),
], ids=str)
def test_what_would_stop_a_run_is_found(tmp_path, monkeypatch, config, line):
    monkeypatch.chdir(tmp_path)
    torch.save({"layer": torch.zeros(2)}, "other.pth")
    for name, text in {"syntax": "model = (", "exit": "import sys; sys.exit(0)", "empty": "", "number": "model = 3",
                       "unknown": "model = dict(type='NoSuch')", "half": "model = dict(type='FCOS')",
                       "pixels": "model = dict(type='FCOS', data_preprocessor=3)",
                       "detr": "model = dict(type='ResNet', depth=18)"}.items():
        (tmp_path / f"{name}.py").write_text(text)
    with pytest.raises(ConfigError) as caught:
        check_detector(DetectorConfig(**config), "cpu")
    assert [problem[:len(line)] for problem in caught.value.problems] == [line]
    assert "\n" not in str(caught.value)


def test_a_detector_without_faults_passes(detector, tmp_path, monkeypatch):
    monkeypatch.setattr("mmengine.runner.checkpoint.load_checkpoint", lambda *_, **__: pytest.fail("a download"))
    save_checkpoint(tmp_path / "detector.pt", detector)
    (tmp_path / "model.py").write_text(DENSE)
    check_detector(DetectorConfig(config=str(tmp_path / "model.py")), "auto")
    check_detector(DetectorConfig(weights=str(tmp_path / "detector.pt")), "cpu", ("other", "classes"))
    check_detector(DetectorConfig(weights="torchvision://resnet18"), "cpu")
    before = torch.random.get_rng_state()
    for preset in ("ssd300", "retinanet_r50", "faster_rcnn_r50"):
        check_detector(DetectorConfig(preset=preset, width=0.125, image_size=300), "cpu")
    (tmp_path / "model.py").write_text(TWO_STAGE)
    check_detector(DetectorConfig(config=str(tmp_path / "model.py")), "auto")
    assert torch.equal(before, torch.random.get_rng_state())


def test_weights_that_start_at_random_are_noted(detector, tmp_path, heard):
    path = tmp_path / "detector.pt"
    save_checkpoint(path, detector)
    check_detector(DetectorConfig(weights=str(path)), "cpu", CLASSES)
    assert heard.notes == []
    check_detector(DetectorConfig(weights=str(path)), "cpu", (*CLASSES, "more"))
    (note,) = heard.notes
    assert re.fullmatch(rf"detector\.weights: \d+ tensors of {path} are taken; 2 \(bbox_head\.retina_cls\.weight, "
                        r"bbox_head\.retina_cls\.bias\) have another name or shape there and start at random", note)


def test_a_checkpoint_of_ours_with_other_settings_is_refused(detector, tmp_path):
    path = tmp_path / "detector.pt"
    save_checkpoint(path, detector)
    saved = torch.load(path, weights_only=True)
    torch.save(saved | {"detector": {"preset": "huge", "colour": 1}}, path)
    with pytest.raises(StateError, match="detector.pt: expected a detector's settings, got 2 that are none"):
        load_checkpoint(path)
