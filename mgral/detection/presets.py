"""Which mmdet model a detector is: a preset, or any config file of mmdet."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mgral.config import DetectorConfig
from mgral.detection.imagenet import backbone_weights
from mgral.detection.lite0 import CHANNELS, PIXELS, Lite0
from mgral.errors import ConfigError
from mgral.files import why_unreadable

FROZEN = 7
"""Stages of `lite0` that do not learn unless `detector.frozen_stages` says so: all."""
IMAGENET = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "bgr_to_rgb": True}


def tiny(classes: int) -> dict[str, Any]:
    """A RetinaNet of 0.8 M parameters for images of about 64 to 320 pixels, meant to be trained from scratch.

    ResNet-18 with 16 base channels, FPN of 32 channels on strides 4 to 32, three anchors a cell (areas of 16, 32, 64
    and 128 pixels squared). What makes a short training work, measured at equal steps: batch norm that learns in the
    backbone and on each level of the neck, group norm in the head that the levels share, more positives (IoU from .4)
    and a GIoU loss.
    """
    norm = {"type": "BN", "requires_grad": True}
    return {
        "type": "RetinaNet",
        "data_preprocessor": {"type": "DetDataPreprocessor", **IMAGENET},
        "backbone": {"type": "ResNet", "depth": 18, "base_channels": 16, "stem_channels": 16, "num_stages": 4,
                     "out_indices": (0, 1, 2, 3), "frozen_stages": -1, "norm_cfg": norm, "norm_eval": False,
                     "avg_down": True},
        "neck": {"type": "FPN", "in_channels": [16, 32, 64, 128], "out_channels": 32, "num_outs": 4, "norm_cfg": norm},
        "bbox_head": {
            "type": "RetinaHead", "num_classes": classes, "in_channels": 32, "feat_channels": 32, "stacked_convs": 1,
            "norm_cfg": {"type": "GN", "num_groups": 8}, "reg_decoded_bbox": True,
            "anchor_generator": {"type": "AnchorGenerator", "octave_base_scale": 4, "scales_per_octave": 1,
                                 "ratios": [0.5, 1.0, 2.0], "strides": [4, 8, 16, 32]},
            "bbox_coder": {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0] * 4,
                           "target_stds": [0.1, 0.1, 0.2, 0.2]},
            "loss_cls": {"type": "FocalLoss", "use_sigmoid": True, "gamma": 2.0, "alpha": 0.25, "loss_weight": 1.0},
            "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0}},
        "train_cfg": {"assigner": {"type": "MaxIoUAssigner", "pos_iou_thr": 0.4, "neg_iou_thr": 0.3,
                                   "min_pos_iou": 0.01, "ignore_iof_thr": 0.5},
                      "sampler": {"type": "PseudoSampler"}, "allowed_border": -1, "pos_weight": -1, "debug": False},
        "test_cfg": {"nms_pre": 1000, "min_bbox_size": 0, "score_thr": 0.05,
                     "nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 100},
    }


def lite0(classes: int) -> dict[str, Any]:
    """`tiny` on EfficientNet-Lite0 (`mgral.detection.lite0`) as ImageNet taught it, 3.1 M parameters.

    Neck and head alone learn; what it costs and gains to freeze fewer stages is in docs/detectors.md.
    """
    model = tiny(classes)
    model["data_preprocessor"] |= PIXELS
    model["backbone"] = {"type": Lite0, "frozen_stages": FROZEN, 
                         "init_cfg": {"type": "Pretrained", "load": backbone_weights}}
    model["neck"] |= {"in_channels": list(CHANNELS)}
    return model


PRESETS: dict[str, Callable[[int], dict[str, Any]] | str] = {
    "tiny": tiny,
    "lite0": lite0,
    "ssd300": "mmdet::ssd/ssd300_coco.py",
    "retinanet_r50": "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py",
    "faster_rcnn_r50": "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
}
"""Functions of the number of classes, or configs that mmdet ships."""
WIDTHS = {"base_channels", "stem_channels", "in_channels", "out_channels", "feat_channels", "fc_out_channels"}
"""Settings that `detector.width` multiplies, wherever they stand in a preset."""


def model_config(config: DetectorConfig, classes: Sequence[str]) -> dict[str, Any]:
    """The `model` section for mmdet, made for these classes.

    A preset without weights loads none and freezes nothing: a random stem that stays as it is, or batch norm that keeps
    the statistics of no images, would stand in the way of learning. With weights it is as mmdet publishes it.

    `config.config` names a file, or `mmdet::retinanet/retinanet_r50_fpn_1x_coco.py` for one that mmdet ships. A config
    file is Python and is executed, with whatever it imports: use files that you trust.

    Raises:
        ConfigError: the file is missing, cannot be read or has no `model` section; or stages are to be frozen in a
            backbone that knows none.
    """
    preset = config.config or PRESETS[config.preset]
    if isinstance(preset, str):
        model = model_of(read_config_file(preset), preset)
        set_classes(model, len(classes))
        if config.config is None and config.weights is None:
            _unfreeze(model)
    else:
        model = preset(len(classes))
    if config.width != 1.0:
        _narrow(model, config.width)
    if config.frozen_stages is not None:
        _freeze(model, config.frozen_stages)
    return model


def forget_pretrained(node: Any) -> None:
    """Takes every `init_cfg` of type Pretrained out of a model's settings."""
    if isinstance(node, dict):
        if isinstance(node.get("init_cfg"), dict) and node["init_cfg"].get("type") == "Pretrained":
            del node["init_cfg"]
        node = list(node.values())
    if isinstance(node, list | tuple):
        for value in node:
            forget_pretrained(value)


def _unfreeze(model: dict[str, Any]) -> None:
    forget_pretrained(model)
    if "frozen_stages" in model["backbone"]:
        model["backbone"] |= {"frozen_stages": -1, "norm_eval": False}


def _narrow(model: dict[str, Any], width: float) -> None:
    backbone = model["backbone"]
    if backbone["type"] == "ResNet":
        backbone.setdefault("base_channels", 64)
        backbone.setdefault("stem_channels", 64)
    else:
        backbone |= {"type": _vgg(), "width": width}
    if model["type"] == "RetinaNet" and backbone.get("depth") == 50:
        # Four convolutions without norm: at mmdet's 0.01, made for 256 channels, fewer would let the signal vanish.
        model["bbox_head"]["init_cfg"] = {
            "type": "Normal", "layer": "Conv2d", "std": 0.01 / width ** 0.5,
            "override": {"type": "Normal", "name": "retina_cls", "std": 0.01, "bias_prob": 0.01}}
    _scale(model, width)


def _scale(node: Any, width: float) -> None:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in WIDTHS:
                # Exact: the width is in eighths, and every one of these counts a multiple of eight.
                node[key] = (int(value * width) if isinstance(value, int)
                             else type(value)(int(channels * width) for channels in value))
            else:
                _scale(value, width)


def _freeze(model: dict[str, Any], stages: int) -> None:
    from mmdet.registry import MODELS

    backbone = model.get("backbone") or {"type": None}
    if backbone["type"] == "SSDVGG":
        backbone["type"] = _vgg()
    kind = backbone["type"] if isinstance(backbone["type"], type | None) else MODELS.get(backbone["type"])
    if not kind or not any("frozen_stages" in inspect.signature(base).parameters for base in kind.__mro__[:-1]):
        raise ConfigError(f"detector.frozen_stages: expected a backbone with stages to freeze, got {backbone['type']}; "
                          "leave the setting out")
    backbone["frozen_stages"] = stages


def _vgg() -> type:
    from mgral.detection.vgg import ScaledVGG

    return ScaledVGG


def read_config_file(name: str) -> dict[str, Any]:
    """The whole of a config file, which is executed, or of `mmdet::…`.

    Raises:
        ConfigError: no such file, or whatever it raised, in one line.
    """
    from mmengine.config import Config
    from mmengine.hub import get_config

    reason = None if "::" in name else why_unreadable(Path(name))
    if reason:
        raise ConfigError(f"{name}: expected an mmdet config file, got {reason}")
    try:
        config = get_config(name) if "::" in name else Config.fromfile(name)
        return config.to_dict()
    except (Exception, SystemExit) as error:  # a config file is a program: anything may come out of it
        raise ConfigError(f"{name}: expected an mmdet config file, got {type(error).__name__}: "
                          f"{' '.join(str(error).split())}") from error


def model_of(config: dict[str, Any], name: str) -> dict[str, Any]:
    """The `model` section of a whole config; `name` is where it stands."""
    model = config.get("model")
    if not isinstance(model, dict):
        raise ConfigError(f"{name}: expected a `model` section, got "
                          f"{', '.join(map(str, config)) if model is None and config else 'nothing of the kind'}")
    return model


def set_classes(node: Any, count: int) -> None:
    """Writes the number of classes wherever a model's settings hold one."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "num_classes":
                node[key] = count
            else:
                set_classes(value, count)
    elif isinstance(node, list | tuple):
        for value in node:
            set_classes(value, count)
