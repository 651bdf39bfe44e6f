"""What methods need to know that compare two views place by place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mgral.detection import Dense, Detector, evaluating
from mgral.errors import ConfigError


def looked_at(detector: Detector, side: int) -> Dense | None:
    """What the detector says of one black image of `side` pixels a side; None for one without anchors."""
    try:
        with evaluating(detector):
            return detector.dense(torch.zeros(1, 3, side, side, device=detector.device))
    except ConfigError:
        return None


def counts(dense: Dense) -> list[int]:
    """Places of each level."""
    return [height * width * each for (height, width), each in zip(dense.sizes, dense.each, strict=True)]


def mirrored(sizes: Sequence[tuple[int, int]], each: Sequence[int]) -> Tensor:
    """(N,) rows of the places that look at the same content once the canvas is flipped from left to right.

    On each level columns change ends, and an anchor keeps its number in the cell, hence its shape. Where a level's
    stride does not divide the canvas's width the two anchors' centres are mirror images up to that remainder (on 300
    pixels SSD's ten cells of 32 reach to 320); the reference code, which flips the maps, does the same.
    """
    rows, start = [], 0
    for (height, width), count in zip(sizes, each, strict=True):
        places = height * width * count
        rows.append(start + torch.arange(places).reshape(height, width, count).flip(1).flatten())
        start += places
    return torch.cat(rows)
