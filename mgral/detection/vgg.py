"""SSD's backbone with settings that mmdet's own lacks. Imports mmdet: to be imported where that is wanted only."""

from __future__ import annotations

from mmdet.models.backbones import SSDVGG
from torch import nn


class ScaledVGG(SSDVGG):
    """mmdet's `SSDVGG`, all layers `width` times as wide, whose first `frozen_stages` stages do not learn."""

    def __init__(self, width: float = 1.0, frozen_stages: int = -1, **settings) -> None:
        super().__init__(**settings)
        self.frozen_stages = frozen_stages
        for row, layer in enumerate(self.features):
            if isinstance(layer, nn.Conv2d) and width != 1.0:
                inputs = layer.in_channels if row == 0 else int(layer.in_channels * width)
                self.features[row] = nn.Conv2d(inputs, int(layer.out_channels * width), layer.kernel_size,
                                               padding=layer.padding, dilation=layer.dilation)
        self.train()  # where VGG freezes
