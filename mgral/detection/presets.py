"""Which mmdet model a detector is: a preset of ours, or any config file of mmdet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mgral.config import DetectorConfig
from mgral.errors import ConfigError

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


PRESETS: dict[str, Callable[[int], dict[str, Any]]] = {"tiny": tiny}


def model_config(config: DetectorConfig, classes: Sequence[str]) -> dict[str, Any]:
    """The `model` section for mmdet, made for these classes.

    `config.config` names a file, or `mmdet::retinanet/retinanet_r50_fpn_1x_coco.py` for one that mmdet ships. A config
    file is Python and is executed, with whatever it imports: use files that you trust.

    Raises:
        ConfigError: the file is missing, cannot be read or has no `model` section.
    """
    if config.config is None:
        return PRESETS[config.preset](len(classes))
    model = _read(config.config)
    _set_classes(model, len(classes))
    return model


def _read(name: str) -> dict[str, Any]:
    from mmengine.config import Config
    from mmengine.hub import get_config

    if "::" not in name and not Path(name).is_file():
        raise ConfigError(f"{name}: expected an mmdet config file, got no such file")
    try:
        config = get_config(name) if "::" in name else Config.fromfile(name)
    except Exception as error:  # a config file is a program: anything may come out of it
        raise ConfigError(f"{name}: expected an mmdet config file, got {type(error).__name__}: {error}") from error
    if "model" not in config:
        raise ConfigError(f"{name}: expected a `model` section, got {', '.join(config) or 'nothing'}")
    return config.model.to_dict()


def _set_classes(node: Any, count: int) -> None:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "num_classes":
                node[key] = count
            else:
                _set_classes(value, count)
    elif isinstance(node, list | tuple):
        for value in node:
            _set_classes(value, count)
