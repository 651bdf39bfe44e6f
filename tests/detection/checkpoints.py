"""Checkpoints as mmengine's runner saves them, with all that is in them beside weights."""

from __future__ import annotations

import collections
from pathlib import Path

import numpy as np
import torch

from mgral.detection.building import load_mmdet


def message_hub() -> dict:
    """As mmengine's runner keeps it: histories of scalars, and whatever hooks remember."""
    load_mmdet()
    from mmengine.logging import MessageHub

    hub = MessageHub("test")
    for step in range(5):
        hub.update_scalar("train/loss", step / 2)
        hub.update_scalar("train/time", np.float32(step).item())
    hub.update_info_dict({"epoch": 3, "best": np.float64(0.5), "matrix": np.eye(3), "device": torch.device("cpu"),
                          "seen": collections.defaultdict(list, a=[1]), "last": np.int64(4), "flag": np.bool_(True)})
    return hub.state_dict()


def write_mmengine(path: Path, weights: dict, **meta) -> None:
    """A checkpoint as mmengine's runner saves it."""
    torch.save({"meta": {"epoch": 12, "iter": 500, "mmengine_version": "0.10.7", "seed": None, "hook_msgs": {}, **meta},
                "state_dict": collections.OrderedDict(weights), "message_hub": message_hub(),
                "optimizer": {"state": {}, "param_groups": [{"lr": np.float64(1e-3)}]},
                "param_schedulers": [{"last_step": 3}]}, path)
