"""The tiny preset as users of mmdet would write it down, and images for both sides to work on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from harness import benchmark_parser, quiet

from mgral.config import Config
from mgral.data.dataset import Dataset
from mgral.detection import Detector
from mgral.detection.presets import tiny
from mgral.params import read_config
from mgral.study.preparation import load_data
from mgral.study.workspace import Workspace

ROOT = Path(__file__).parents[1]
IMAGE_SIZE = 128


def images(data: Path | None, count: int, folder: Path) -> tuple[Config, Dataset]:
    """BCCD where its folder is given, else `count` synthetic scenes; with the settings that this project has for them.

    The detector sees them at 128 pixels.
    """
    config = read_config(ROOT / ("examples/bccd.yaml" if data else "params.yaml"))
    drawn = config.data.synthetic.model_copy(update={"pool": count, "reward": 1, "test": 1, "image_size": IMAGE_SIZE})
    config = config.model_copy(update={
        "data": config.data.model_copy(update={"synthetic": drawn}),
        "detector": config.detector.model_copy(update={"image_size": IMAGE_SIZE})})
    return config, load_data(config.data, Workspace(folder, "benchmark", 0), data).dataset


def image_options(doc: str, images: int, steps: int, repeats: int) -> argparse.Namespace:
    """The options of a benchmark on images, with these defaults; and no reports of mmengine's."""
    parser = benchmark_parser(doc)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--images", type=int, default=images, help="synthetic scenes, where no data is given")
    parser.add_argument("--steps", type=int, default=steps, help="of training")
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of torch, to choose from")
    quiet()
    return parser.parse_args()


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


def register_mmdet() -> None:
    """Makes mmdet's names known, once the binding of its operators is in place (a detector has been built)."""
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=True)
