"""EfficientNet-Lite0, a network for small machines, as a backbone: no squeeze and excitation, ReLU6, no swish.

Tan and Le 2019 (EfficientNet-B0's widths and depths); the changes are those of TensorFlow's release of the Lite models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEM, HEAD = 32, 1280
"""Channels before the first stage and after the last."""
EPSILON = 1e-3
PIXELS = {"mean": [127.0] * 3, "std": [128.0] * 3, "bgr_to_rgb": True}
"""How its RGB pixels are normalised."""


class Stage(NamedTuple):
    """Blocks of one shape; the first of them has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (Stage(1, 3, 1, 1, 16), Stage(2, 3, 2, 6, 24), Stage(2, 5, 2, 6, 40), Stage(3, 3, 2, 6, 80),
          Stage(3, 5, 1, 6, 112), Stage(4, 5, 2, 6, 192), Stage(1, 3, 1, 6, 320))
TAPS = (2, 3, 5, 7)
"""The stages, counted from 1, that are the last at their stride: 4, 8, 16 and 32 pixels a cell."""
CHANNELS = tuple(STAGES[stage - 1].channels for stage in TAPS)


class Convolution(nn.Module):
    """A convolution padded as TensorFlow pads, and batch norm that stays in evaluation: one affine map.

    Its statistics never change, so they are folded into the weights of the convolution, which still may learn.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=EPSILON)

    def forward(self, maps: Tensor) -> Tensor:
        conv, norm = self.conv, self.norm
        factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
        weight, bias = conv.weight * factor[:, None, None, None], norm.bias - norm.running_mean * factor
        if conv.kernel_size == (1, 1):  # which on one thread of a CPU torch has in a slow form only
            return F.linear(maps.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
        maps, padding = padded_same(maps, conv.kernel_size[0], conv.stride[0])
        return F.conv2d(maps, weight, bias, conv.stride, padding, groups=conv.groups)


class Block(nn.Module):
    """MBConv: one map of every `expansion`-fold channel is filtered on its own, then they are mixed to fewer."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = Convolution(inputs, inner, 1) if expansion > 1 else None
        self.depthwise = Convolution(inner, inner, kernel, stride, groups=inner)
        self.project = Convolution(inner, outputs, 1)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, maps: Tensor) -> Tensor:
        inner = maps if self.expand is None else F.relu6(self.expand(maps))
        outcome = self.project(F.relu6(self.depthwise(inner)))
        return maps + outcome if self.adds else outcome


class Lite0(nn.Module):
    """Gives the maps of `TAPS`, finest first: (B, D, h, w) with D of `CHANNELS`. Takes pixels normalised by `PIXELS`.

    `frozen_stages` as mmdet counts: -1 none, 0 the stem, n the first n stages too; they do not learn. Batch norm stays
    in evaluation everywhere. `init_cfg`, which mmdet passes on, may hold `load`, a function that gives first weights.
    """

    def __init__(self, frozen_stages: int = -1, init_cfg: dict[str, Any] | None = None) -> None:
        super().__init__()
        if not -1 <= frozen_stages <= len(STAGES):
            raise ValueError(f"expected frozen_stages from -1 to {len(STAGES)}, got {frozen_stages}")
        self.frozen_stages, self.init_cfg = frozen_stages, init_cfg
        self.stem = Convolution(3, STEM, 3, 2)
        self.stages = nn.ModuleList()
        inputs = STEM
        for blocks, kernel, stride, expansion, outputs in STAGES:
            stage = [Block(inputs if row == 0 else outputs, outputs, kernel, stride if row == 0 else 1, expansion)
                     for row in range(blocks)]
            self.stages.append(nn.Sequential(*stage))
            inputs = outputs
        for module in self.frozen_modules:
            module.requires_grad_(False)

    @property
    def frozen_modules(self) -> Sequence[nn.Module]:
        return () if self.frozen_stages < 0 else (self.stem, *self.stages[:self.frozen_stages])

    def init_weights(self) -> None:
        """mmdet calls it of a new model; the weights are random without `init_cfg`. Raises what `load` raises."""
        if self.init_cfg is not None:
            self.load_state_dict(self.init_cfg["load"]())

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        return self.learning(self.frozen(pixels))

    def frozen(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """What the stages that do not learn make of normalised pixels: the taps among them, and the last one's map.

        The pixels themselves where all stages learn. Rounded to half precision, in which they may be kept: so they are
        the same whether they were kept or not.
        """
        if self.frozen_stages < 0:
            return (pixels,)
        with torch.no_grad():
            taps, maps = self._through(F.relu6(self.stem(pixels)), 0, self.frozen_stages)
        if self.frozen_stages not in TAPS:
            taps.append(maps)
        return tuple(each.half().float() for each in taps)

    def learning(self, kept: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The maps of all taps, from what `frozen` gave."""
        maps, start = kept[-1], max(0, self.frozen_stages)
        if self.frozen_stages < 0:
            maps = F.relu6(self.stem(maps))
        before = list(kept[:sum(tap <= self.frozen_stages for tap in TAPS)])
        return (*before, *self._through(maps, start, len(STAGES))[0])

    def kept_shapes(self, canvas: tuple[int, int]) -> list[tuple[int, int, int]]:
        """Heights, widths and channels of the maps that `frozen` gives of an image; none where all stages learn."""
        return shapes_kept(self.frozen_stages, canvas)

    def _through(self, maps: Tensor, start: int, end: int) -> tuple[list[Tensor], Tensor]:
        """The taps among stages start + 1 to end, and the last map."""
        taps = []
        for number in range(start, end):
            maps = self.stages[number](maps)
            if number + 1 in TAPS:
                taps.append(maps)
        return taps, maps


def shapes_kept(frozen_stages: int, canvas: tuple[int, int]) -> list[tuple[int, int, int]]:
    """`Lite0.kept_shapes` without building one."""
    if frozen_stages < 0:
        return []
    sides, shapes = [-(-side // 2) for side in canvas], []
    for number, stage in enumerate((Stage(1, 3, 1, 1, STEM), *STAGES[:frozen_stages])):
        sides = [-(-side // stage.stride) for side in sides]
        if number in TAPS or number == frozen_stages:
            shapes.append((sides[0], sides[1], stage.channels))
    return shapes


def padded_same(maps: Tensor, kernel: int, stride: int) -> tuple[Tensor, int]:
    """TensorFlow's padding: as many cells as ⌈side / stride⌉, an odd cell more at the bottom and right.

    Gives the maps, and what the convolution is to add on both sides itself.
    """
    missing = [max(0, (-(-side // stride) - 1) * stride + kernel - side) for side in maps.shape[-2:]]
    if missing[0] == missing[1] and missing[0] % 2 == 0:
        return maps, missing[0] // 2
    down, across = missing
    return F.pad(maps, (across // 2, across - across // 2, down // 2, down - down // 2)), 0
