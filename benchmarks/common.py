"""What the benchmarks share: images to work on, the tiny preset as users of mmdet would write it down, and clocks."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from mgral.config import Config
from mgral.data.dataset import Dataset
from mgral.data.formats import load_dataset
from mgral.data.synthetic import write_scenes
from mgral.detection.detector import Detector
from mgral.detection.presets import tiny
from mgral.params import read_config

ROOT = Path(__file__).parents[1]
IMAGE_SIZE = 128


def images(data: Path | None, count: int, folder: Path) -> tuple[Config, Dataset]:
    """BCCD where its folder is given, else `count` synthetic scenes; with the settings that this project has for them.

    The detector sees them at 128 pixels.
    """
    config = read_config(ROOT / ("examples/bccd.yaml" if data else "params.yaml"))
    if data is None:
        drawn = config.data.synthetic.model_copy(update={"pool": count, "reward": 1, "test": 1,
                                                         "image_size": IMAGE_SIZE})
        config = config.model_copy(update={"data": config.data.model_copy(update={"synthetic": drawn})})
        write_scenes(drawn, folder / "scenes", config.seed)
    detector = config.detector.model_copy(update={"image_size": IMAGE_SIZE})
    dataset = load_dataset(config.data, data or folder / "scenes").dataset
    return config.model_copy(update={"detector": detector}), dataset


def mmdet_config(classes: Sequence[str], pipeline: list[dict[str, Any]]) -> dict[str, Any]:
    """The tiny preset as a whole mmdet config, with a test pipeline."""
    model = tiny(len(classes))
    model["data_preprocessor"] |= {"pad_size_divisor": 32}
    return {"default_scope": "mmdet", "model": model, "log_level": "ERROR", "test_dataloader": {"dataset": {
        "type": "CocoDataset", "metainfo": {"classes": tuple(classes)}, "pipeline": pipeline}},
        "visualizer": {"type": "DetLocalVisualizer", "vis_backends": [], "name": "benchmark"}}


def save_for_mmdet(detector: Detector, path: Path) -> None:
    """A checkpoint in mmdet's own form."""
    torch.save({"state_dict": detector.model.state_dict(),
                "meta": {"dataset_meta": {"classes": detector.classes}}}, path)


def quiet() -> None:
    """mmengine reports much, and what its libraries deprecate is not what is measured."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)


def register_mmdet() -> None:
    """Makes mmdet's names known, once the binding of its operators is in place (a detector has been built)."""
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=True)


def timed(work: Callable) -> tuple:
    """What it gives, and its seconds."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def hardware() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
