"""Detectors that were trained elsewhere: an mmdet checkpoint with the classes it has, and every one of its weights.

The config text that mmengine keeps in a checkpoint is a program too, but is not run: only literals and `dict(...)` are
read, and only models of mmdet's own are built from it, with nothing that loads files or evaluates texts.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mgral.config import DetectorConfig
from mgral.detection.building import built, detector_of, is_own, load_mmdet, try_out
from mgral.detection.detector import Detector
from mgral.detection.presets import forget_pretrained, model_of, read_config_file, set_classes
from mgral.detection.tensors import COUNTER, counted, read_tensors, weights_of
from mgral.errors import ConfigError

IMAGE_SIZE = 640
"""Where a config does not say."""
SIDES = 32, 8192
READ = ("model", "test_pipeline", "test_dataloader", "data")
"""What is read of a config; `data` is where mmdet 2 has its pipelines."""
EXTRA = ("data_preprocessor.",)
"""Weights that a model of ours does not have: it normalises pixels itself."""
REMEDY = "give its config file (--config FILE)"
MODULES = ("mmdet.models.", "mmcv.cnn.", "mmcv.ops.", "mmengine.model.", "mmengine.utils.dl_utils.parrots_wrapper.",
           "torch.nn.")
"""Where the classes are that a config in a checkpoint may name."""
READERS = ("mmdet.models.detectors.d2_wrapper", "mmdet.models.detectors.glip", "mmdet.models.detectors.kd_one_stage",
           "mmdet.models.detectors.lad", "mmdet.models.dense_heads.atss_vlfusion_head",
           "mmdet.models.language_models", "mmdet.models.task_modules.tracking")
"""Those among them that read or fetch files, or evaluate text, when they are made."""


def load_foreign(path: Path, config: Path | None = None, classes: Sequence[str] | None = None,
                 device: torch.device | str = "cpu") -> Detector:
    """The detector of a checkpoint, in evaluation mode; its `config.image_size` is that of its test pipeline.

    `config` is its mmdet config file (or `mmdet::…`), which is executed; without one the text in the checkpoint is
    read. `classes` are needed where the checkpoint does not name them. A checkpoint of `save_checkpoint` is read too.
    What comes out is for looking at images: saved by `save_checkpoint` it could not be built again.

    Raises:
        StateError: no such file, or no file of tensors.
        ConfigError: no usable config or classes; a weight that is missing, unknown or of another shape; or a detector
            of a kind that cannot be used here.
    """
    saved = read_tensors(path)
    if is_own(saved):
        return _own(saved, path, config, classes).to(device)
    source = str(config or path)
    whole = read_config_file(source) if config else _config_within(saved, path)
    names = _class_names(saved, path, classes)
    load_mmdet()
    model = _model(whole, source, len(names))
    if config is None:
        _trusted(model, path)
    weights, size = weights_of(saved, path), image_size_of(whole)
    network, channels = built(model, source, 0, first_weights=False)
    _check_head(network, names, source)
    _load_all(network, weights, path, len(names))
    try:
        detector = Detector(DetectorConfig(config=source, image_size=size), names, network, channels)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error
    try_out(detector, source)
    return detector.to(device).eval()


def image_size_of(config: Mapping[str, Any]) -> int:
    """Longest side, in pixels, to which a config's test pipeline resizes images; 640 where it does not say."""
    for step in _test_steps(config):
        scale = step.get("scale", step.get("img_scale"))
        if _named(step).endswith(("Resize", "MultiScaleFlipAug")) and (sides := [*_numbers(scale)]):
            return min(max(int(max(sides)), SIDES[0]), SIDES[1])
    return IMAGE_SIZE


def _own(saved: dict[str, Any], path: Path, config: Path | None, classes: Sequence[str] | None) -> Detector:
    settings = saved["detector"]
    if isinstance(settings, dict) and settings.get("config") and "::" not in str(settings["config"]):
        if config is None:
            raise ConfigError(f"{path}: expected the config file that it was built from, {settings['config']}, to be "
                              f"named, as it is Python and is executed; {REMEDY}")
        saved = saved | {"detector": settings | {"config": str(config)}}
    detector = detector_of(saved, path)
    if classes is not None and tuple(classes) != detector.classes:
        raise ConfigError(f"{path}: expected its own classes ({', '.join(detector.classes)}), got "
                          f"{', '.join(classes)}; leave them out")
    return detector


def _class_names(saved: Mapping[str, Any], path: Path, given: Sequence[str] | None) -> tuple[str, ...]:
    meta = _meta(saved)
    about = meta.get("dataset_meta")
    about = about if isinstance(about, Mapping) else {}
    own = next((value for value in (about.get("classes"), about.get("CLASSES"), meta.get("CLASSES")) if value), None)
    own = (own,) if isinstance(own, str) else own
    if own is not None and (not isinstance(own, list | tuple) or not all(isinstance(name, str) for name in own)):
        own = None
    if own and given is not None and len(own) != len(given):
        raise ConfigError(f"{path}: expected the names of its {len(own)} classes ({', '.join(own[:3])}…), got "
                          f"{len(given)}; correct them, or leave them out")
    names = tuple(own or () if given is None else given)
    if not names:
        raise ConfigError(f"{path}: expected a checkpoint that names its classes, as mmengine's do, got none; name "
                          "them in order (--classes a,b,c)")
    if len(set(names)) < len(names):
        raise ConfigError(f"{path}: expected each class once, got {', '.join(names)}; name them (--classes a,b,c)")
    return names


def _meta(saved: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = saved.get("meta")
    return meta if isinstance(meta, Mapping) else {}


def _model(whole: Mapping[str, Any], source: str, classes: int) -> dict[str, Any]:
    """The model's settings, made for so many classes if they are not, and with mmdet 2's way to normalise pixels."""
    model = model_of(whole, source)
    if classes not in _class_counts(model):
        set_classes(model, classes)
    if "data_preprocessor" not in model:
        normalise = next((step for step in _test_steps(whole) if _named(step) == "Normalize"), None)
        if normalise:
            model["data_preprocessor"] = {"mean": normalise.get("mean"), "std": normalise.get("std"),
                                          "bgr_to_rgb": normalise.get("to_rgb", True)}
    forget_pretrained(model)
    return model


def _class_counts(node: Any) -> set[int]:
    return {step["num_classes"] for step in _dicts(node) if isinstance(step.get("num_classes"), int)}


def _check_head(network: nn.Module, names: Sequence[str], source: str) -> None:
    """A model may hold counts of other things too, such as those of its proposals."""
    head = getattr(getattr(network, "roi_head", network), "bbox_head", None)
    count = getattr(head, "num_classes", len(names))
    if count != len(names):
        raise ConfigError(f"{source}: expected the names of {count} classes, got {len(names)} ({', '.join(names[:3])}"
                          f"{', …' if len(names) > 3 else ''}); correct num_classes or the names")


def _load_all(network: nn.Module, weights: Mapping[str, Tensor], path: Path, classes: int) -> None:
    own = network.state_dict()
    faults = {"missing": [name for name in own if name not in weights and not name.endswith(COUNTER)],
              "that the model lacks": [name for name in weights if name not in own and not name.startswith(EXTRA)],
              "of another shape": [name for name in own if name in weights and weights[name].shape != own[name].shape]}
    if any(faults.values()):
        found = ", ".join(counted(names, kind) for kind, names in faults.items() if names)
        hint = f" for {classes} class{'es' if classes > 1 else ''}" if faults["of another shape"] else ""
        raise ConfigError(f"{path}: expected every weight of {type(network).__name__}{hint} to fit, got {found}; give "
                          "the config file and the classes that it was trained with")
    network.load_state_dict({name: weights[name] for name in own if name in weights}, strict=False)


def _config_within(saved: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The parts `READ` of the config text that mmengine (or mmcv) put into a checkpoint."""
    meta = _meta(saved)
    text = next((meta[name] for name in ("cfg", "config") if isinstance(meta.get(name), str)), None)
    if text is None:
        raise ConfigError(f"{path}: expected a checkpoint that holds its config, as mmengine's do, got none; {REMEDY}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in its texts
            body = ast.parse(text).body
        return {name: _literal(statement.value, path) for statement in body if isinstance(statement, ast.Assign)
                for name in map(ast.unparse, statement.targets) if name in READ}
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"{path}: expected a config that can be read in the checkpoint, got {type(error).__name__}; "
                          f"{REMEDY}") from error


def _literal(node: ast.expr, path: Path) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List():
            return [_literal(item, path) for item in node.elts]
        case ast.Tuple():
            return tuple(_literal(item, path) for item in node.elts)
        case ast.Dict() if all(isinstance(key, ast.Constant) for key in node.keys):
            return {key.value: _literal(item, path) for key, item in zip(node.keys, node.values, strict=True)}
        case ast.Call(func=ast.Name(id="dict"), args=[]) if all(item.arg for item in node.keywords):
            return {item.arg: _literal(item.value, path) for item in node.keywords}
    raise ConfigError(f"{path}: expected literals and dict(...) only in the config of the checkpoint, got "
                      f"{ast.unparse(node)[:60]!r} in its line {node.lineno}; it is not run, {REMEDY}")


def _trusted(model: dict[str, Any], path: Path) -> None:
    """Refuses types that are not mmdet's own, and leaves out what would only matter before a training."""
    for step in _dicts(model):
        for name in ("init_cfg", "pretrained"):
            step.pop(name, None)
        if "type" in step:
            step["type"] = _trusted_type(step["type"], path)
        if step.pop("_scope_", "mmdet") != "mmdet":
            raise ConfigError(f"{path}: expected models of mmdet in the config of the checkpoint, got another "
                              f"package's; {REMEDY}")


def _trusted_type(given: object, path: Path) -> str:
    # mmengine imports and calls whatever a dotted name says; the last part is what mmdet registers a class by.
    package, _, name = str(given).rpartition(".")
    if package.partition(".")[0] in ("", "mmdet", "mmcv", "mmengine", "torch"):
        home = _home(name)
        if home.startswith(MODULES) and not home.startswith(READERS):
            return name
    raise ConfigError(f"{path}: expected models of mmdet in the config of the checkpoint, got the type "
                      f"{str(given)[:60]!r}; {REMEDY}")


def _home(name: str) -> str:
    """The module of the class that mmdet registered by this name, or of mmcv's operators, or nothing."""
    from mmcv import ops
    from mmdet.registry import MODELS, TASK_UTILS

    if name in ops.__all__:
        return "mmcv.ops."
    for registry in (MODELS, TASK_UTILS):
        while registry is not None:
            if name in registry.module_dict:
                return f"{registry.module_dict[name].__module__}."
            registry = registry.parent
    return ""


def _test_steps(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All dictionaries of the test pipeline, outer ones first."""
    data = config.get("data")
    for place in (config.get("test_pipeline"), config.get("test_dataloader"),
                  data.get("test") if isinstance(data, Mapping) else None):
        yield from _dicts(place)


def _dicts(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list | tuple):
        for item in node:
            yield from _dicts(item)


def _named(step: Mapping[str, Any]) -> str:
    kind = step.get("type")
    return (kind if isinstance(kind, str) else getattr(kind, "__name__", "")).rpartition(".")[2]


def _numbers(node: Any) -> Iterator[float]:
    if isinstance(node, list | tuple):
        for item in node:
            yield from _numbers(item)
    elif isinstance(node, int | float) and not isinstance(node, bool) and 1 < node < 1e9:
        yield node
