"""Making a detector from its settings, and keeping it in a file."""

from __future__ import annotations

import importlib
import logging
import pickle
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mgral.config import DetectorConfig
from mgral.detection import operators
from mgral.detection.detector import Channels, Detector
from mgral.detection.presets import forget_pretrained, model_config
from mgral.errors import ConfigError, StateError
from mgral.files import writing
from mgral.randomness import isolated

CPU = torch.device("cpu")
NAMED = ("torchvision://", "open-mmlab://")
"""How names of published backbone weights begin."""


def build_detector(config: DetectorConfig, classes: Sequence[str], seed: int,
                   device: torch.device | str = "cpu") -> Detector:
    """A new detector; the same seed gives the same weights, and no global generator is touched.

    `config.weights` is a file whose tensors fit by name and shape (those of other shapes, such as the layers of other
    classes, keep their random values), or `torchvision://resnet50` or `open-mmlab://vgg16_caffe` for the backbone,
    fetched and cached by mmengine. Without it an mmdet config file decides for itself (most ask for a pretrained
    backbone) and the presets start from random weights.

    Raises:
        ConfigError: a config or weights that cannot be used.
        ValueError: no classes.
    """
    if not classes:
        raise ValueError("expected at least one class, got none")
    load_mmdet()
    settings = model_config(config, classes)
    weights = config.weights
    by_name = weights is not None and weights.startswith(NAMED)
    if weights is not None:
        forget_pretrained(settings)
    if by_name:
        if config.width != 1.0:
            raise ConfigError(f"detector.weights: expected a checkpoint of this width ({config.width}), got {weights}; "
                              "published weights fit detector.width 1.0 only")
        settings["backbone"]["init_cfg"] = {"type": "Pretrained", "checkpoint": weights}
    detector = Detector(config, classes, *_built(settings, weights or config.config or config.preset, seed))
    if weights is not None and not by_name:
        _load_fitting(detector.model, Path(weights))
    return detector.to(device)


def check_detector(config: DetectorConfig, device: str) -> None:
    """Finds what would stop `build_detector` later: files that are missing or hold something else, no such device.

    A config file is executed for it, as it is by every command that builds the detector.

    Raises:
        ConfigError: all of these faults, one line each.
    """
    faults = []
    if device == "cuda" and not torch.cuda.is_available():
        faults.append("device: expected a GPU that PyTorch can use, got none; set device to auto or cpu")
    if config.weights is not None and not config.weights.startswith(NAMED):
        try:
            read_tensors(Path(config.weights))
        except StateError as error:
            faults.append(f"detector.weights: {error}")
    if config.config is not None:
        load_mmdet()
        try:
            model_config(config, ("object",))
        except ConfigError as error:
            faults.append(f"detector.config: {error}")
    if faults:
        raise ConfigError(*(" ".join(fault.split()) for fault in faults))


def save_checkpoint(path: Path, detector: Detector) -> None:
    """Writes settings, classes and weights; the file is whole or absent."""
    with writing(path) as temporary:
        torch.save({"detector": detector.config.model_dump(), "classes": list(detector.classes),
                    "state": detector.state_dict()}, temporary)


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> Detector:
    """The detector that `save_checkpoint` wrote, in evaluation mode. Only tensors and plain values are unpickled.

    Raises:
        StateError: no such file, or not one of ours.
        ConfigError: the mmdet config file that it was built from is gone or has changed.
    """
    saved = read_tensors(path)
    if not {"detector", "classes", "state"} <= set(saved):
        raise StateError(f"{path}: expected a detector's checkpoint, got {', '.join(map(str, saved)) or 'nothing'}")
    config = DetectorConfig.model_validate(saved["detector"])
    load_mmdet()
    settings = model_config(config, saved["classes"])
    forget_pretrained(settings)
    detector = Detector(config, saved["classes"], *_built(settings, str(path), 0))
    try:
        detector.load_state_dict(saved["state"])
    except RuntimeError as error:
        raise ConfigError(f"{path}: expected the weights of {config.config or config.preset}, got others: "
                          f"{' '.join(str(error).split())}") from error
    return detector.to(device).eval()


def read_tensors(path: Path) -> dict[str, Any]:
    """What `torch.save` wrote, without running any code that the file may hold.

    Raises:
        StateError: no such file, damaged, or holding more than tensors and plain values.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise StateError(f"{path}: expected a file of tensors, got {type(error).__name__}: {error}") from error
    if not isinstance(saved, dict):
        raise StateError(f"{path}: expected a dictionary of tensors, got {type(saved).__name__}")
    return saved


def load_mmdet() -> None:
    """Imports mmdet with its operators bound and its registry filled; what it deprecates on the way is not our news."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        operators.bind()
        importlib.import_module("mmdet.models")
        importlib.import_module("mmengine.hub")


def _built(settings: dict[str, Any], name: str, seed: int) -> tuple[nn.Module, Channels]:
    from mmdet.registry import MODELS
    from mmengine.config import ConfigDict

    channels = Channels(settings.pop("data_preprocessor", None) or {})
    with isolated(CPU, seed, "weights"), _quiet():
        with _naming(f"{name}: expected a model that mmdet can build"):
            model = MODELS.build(ConfigDict(settings))
        with _naming(f"{name}: expected first weights that can be fetched and loaded"):
            model.init_weights()
    return model, channels


def _load_fitting(model: nn.Module, path: Path) -> None:
    saved = read_tensors(path)
    saved = saved.get("state_dict", saved.get("state", saved))
    own = model.state_dict()
    saved = {name.removeprefix("model."): value for name, value in saved.items()}
    fitting = {name: saved[name] for name in own if name in saved and saved[name].shape == own[name].shape}
    if not fitting:
        raise ConfigError(f"{path}: expected weights of {type(model).__name__}, got none that fit by name and shape")
    model.load_state_dict(fitting, strict=False)


@contextmanager
def _naming(expected: str) -> Iterator[None]:
    """mmdet's registry wraps whatever its classes raise, and a download may fail in many ways: all on one line."""
    try:
        yield
    except Exception as error:
        raise ConfigError(f"{expected}, got {type(error).__name__}: {' '.join(str(error).split())}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """mmengine reports how it initialised each parameter: hundreds of lines."""
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
