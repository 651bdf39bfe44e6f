"""Making a detector from its settings, and keeping it in a file."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from mgral.config import DetectorConfig
from mgral.data.images import PADDING
from mgral.detection import operators
from mgral.detection.detector import Channels, Detector
from mgral.detection.imagenet import check_package
from mgral.detection.presets import forget_pretrained, model_config
from mgral.detection.targets import Target
from mgral.detection.tensors import COUNTER, counted, read_tensors, weights_of
from mgral.errors import ConfigError, MgralError, StateError
from mgral.files import writing
from mgral.progress import current
from mgral.randomness import isolated

CPU = torch.device("cpu")
NAMED = ("torchvision://", "open-mmlab://")
"""How names of published backbone weights begin."""
TRIAL = 128
"""Pixels a side of the image that a detector is tried on."""


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
    settings, weights = _settings(config, classes), config.weights
    source = weights or config.config or config.preset
    detector = Detector(config, classes, *built(settings, source, seed, first_weights=True))
    if weights is not None and not weights.startswith(NAMED):
        path = Path(weights)
        detector.model.load_state_dict(_fitting(detector.model, weights_of(read_tensors(path), path), path),
                                       strict=False)
    return detector.to(device)


def check_detector(config: DetectorConfig, device: str, classes: Sequence[str] = ("object",)) -> None:
    """Finds what would stop `build_detector` later: files that are missing or hold something else, no such device.

    The detector is built for it, tried on an image and dropped; nothing is downloaded. A config file is executed, as
    it is by every command that builds the detector. What weights a checkpoint lacks is noted, for instance those of
    the last layers where its classes are others.

    Raises:
        ConfigError: all of these faults, one line each.
    """
    faults, weights, model, path = [], None, None, Path(config.weights or "")
    if device == "cuda" and not torch.cuda.is_available():
        faults.append("device: expected a GPU that PyTorch can use, got none; set device to auto or cpu")
    if config.weights is not None and not config.weights.startswith(NAMED):
        try:
            weights = weights_of(read_tensors(path), path)
        except MgralError as error:
            faults.append(f"detector.weights: {error}")
    if config.model_copy(update={"image_size": 256}) != DetectorConfig():  # our own, which is sound
        try:
            model = _without_weights(config, classes)
        except ConfigError as error:
            faults.append(_named(str(error), config))
    if config.config is None and config.preset == "lite0" and config.weights is None:
        try:
            check_package()
        except ConfigError as error:
            faults.append(str(error))
    if weights is not None and model is not None:
        try:
            fitting = _fitting(model, weights, path)
            _note_rest([name for name in model.state_dict() if name not in fitting], len(fitting), path)
        except ConfigError as error:
            faults.append(f"detector.weights: {error}")
    if faults:
        raise ConfigError(*(" ".join(fault.split()) for fault in faults))


def _note_rest(rest: list[str], taken: int, path: Path) -> None:
    rest = [name for name in rest if not name.endswith(COUNTER)]
    if rest:
        current.get().note(f"detector.weights: {taken} tensors of {path} are taken; {counted(rest)} have another name "
                           "or shape there and start at random")


def _without_weights(config: DetectorConfig, classes: Sequence[str]) -> nn.Module:
    load_mmdet()
    settings = _settings(config, classes)
    name = config.config or config.preset
    detector = Detector(config, classes, *built(settings, name, 0, first_weights=False))
    try_out(detector, name, training=True)
    return detector.model


def _named(fault: str, config: DetectorConfig) -> str:
    if fault.startswith("detector."):
        return fault
    return f"detector.{'preset' if config.config is None else 'config'}: {fault}"


def _settings(config: DetectorConfig, classes: Sequence[str]) -> dict[str, Any]:
    """The model's settings, which ask for those pretrained weights that `config.weights` names and for no others."""
    settings, weights = model_config(config, classes), config.weights
    if weights is None:
        return settings
    forget_pretrained(settings)
    if weights.startswith(NAMED):
        if config.config is None and config.preset == "lite0":
            raise ConfigError("detector.weights: expected a checkpoint file or nothing, as lite0 has ImageNet weights "
                              f"of its own, got {weights}; leave it out")
        if config.width != 1.0:
            raise ConfigError(f"detector.weights: expected a checkpoint of this width ({config.width}), got {weights}; "
                              "published weights fit detector.width 1.0 only")
        if not isinstance(settings.get("backbone"), dict):
            raise ConfigError(f"detector.weights: expected a checkpoint file of the whole model, as {config.config} "
                              f"has no backbone of its own, got {weights}; name a file, or leave weights out")
        settings["backbone"]["init_cfg"] = {"type": "Pretrained", "checkpoint": weights}
    return settings


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
    return detector_of(read_tensors(path), path).to(device)


def is_own(saved: dict[str, Any]) -> bool:
    """Whether `save_checkpoint` wrote it."""
    return {"detector", "classes", "state"} <= set(saved)


def detector_of(saved: dict[str, Any], path: Path) -> Detector:
    """The detector in what `read_tensors` gave of `path`, in evaluation mode; raises as `load_checkpoint` does."""
    if not is_own(saved):
        raise StateError(f"{path}: expected a detector's checkpoint, got "
                         f"{', '.join(map(str, list(saved)[:5])) or 'nothing'}")
    classes = saved["classes"]
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise StateError(f"{path}: expected a detector's checkpoint with the names of its classes, got others")
    try:
        config = DetectorConfig.model_validate(saved["detector"])
    except ValidationError as error:
        raise StateError(f"{path}: expected a detector's settings, got {error.error_count()} that are none") from error
    load_mmdet()
    settings = model_config(config, classes)
    forget_pretrained(settings)
    detector = Detector(config, classes, *built(settings, str(path), 0, first_weights=False))
    try:
        detector.load_state_dict(saved["state"])
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"{path}: expected the weights of {config.config or config.preset}, got others: "
                          f"{' '.join(str(error).split())}") from error
    return detector.eval()


def load_mmdet() -> None:
    """Imports mmdet with its operators bound and its registry filled; what it deprecates on the way is not our news."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        operators.bind()
        importlib.import_module("mmdet.models")
        importlib.import_module("mmengine.hub")


def built(settings: dict[str, Any], name: str, seed: int, first_weights: bool) -> tuple[nn.Module, Channels]:
    """mmdet's model, and what normalises its pixels; without `first_weights` for who loads all of its weights.

    Raises:
        ConfigError: mmdet cannot build it, or first weights cannot be fetched; `name` says what was to be built.
    """
    from mmdet.registry import MODELS
    from mmengine.config import ConfigDict

    with isolated(CPU, seed, "weights"), _quiet():
        with _naming(f"{name}: expected a model that mmdet can build"):
            channels = Channels(settings.pop("data_preprocessor", None) or {})
            model = MODELS.build(ConfigDict(settings))
        if first_weights:
            with _naming(f"{name}: expected first weights that can be fetched and loaded"):
                model.init_weights()
    return model, channels


def try_out(detector: Detector, name: str, training: bool = False) -> None:
    """Has a detector look at a grey image, for `training` also with a box in it.

    Raises:
        ConfigError: it cannot: a model of a kind that is not known here, or one of operators that are not there.
    """
    pixels = torch.full((1, 3, TRIAL, TRIAL), float(PADDING))
    box = torch.tensor([[TRIAL / 8, TRIAL / 8, TRIAL / 2, TRIAL / 2]])
    with (torch.no_grad(), isolated(CPU, 0, "trial"), warnings.catch_warnings(),
          _naming(f"{name}: expected a detector that mgral can {'train' if training else 'look at images with'}")):
        warnings.simplefilter("ignore")
        detector.eval().inspect(pixels, [(TRIAL, TRIAL)])
        if training:
            detector.losses(pixels, [Target(box, torch.tensor([0]), torch.zeros(0, 4))])


def _fitting(model: nn.Module, weights: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    own = model.state_dict()
    fitting = {name: weights[name] for name in own if name in weights and weights[name].shape == own[name].shape}
    if not fitting:
        raise ConfigError(f"{path}: expected weights of {type(model).__name__}, got none that fit by name and shape")
    return fitting


@contextmanager
def _naming(expected: str) -> Iterator[None]:
    """mmdet's registry wraps whatever its classes raise, and a download may fail in many ways: all on one line."""
    try:
        yield
    except MgralError:
        raise
    except Exception as error:
        raise ConfigError(f"{expected}, got {type(error).__name__}: {' '.join(str(error).split())}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """mmengine reports how it initialised each parameter, hundreds of lines, and what mmdet should not use any more."""
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
