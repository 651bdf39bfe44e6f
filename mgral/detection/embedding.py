"""The image embedding Φ(I): 256 numbers from the maps of a detector's neck (MGRAL, section IV-A)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from mgral.pool.inspection import EMBEDDING
from mgral.randomness import stream


def embed(features: Sequence[Tensor], contents: Sequence[tuple[int, int]], canvas: tuple[int, int]) -> Tensor:
    """(B, 256) from maps (B, D, h, w), pooled over the cells whose centre shows the image and not the padding.

    The paper pools a neck 256 wide and leaves the levels open. Here:

    - every level 256 wide (RetinaNet, Faster R-CNN): the mean over levels of the global average;
    - otherwise means and standard deviations of all levels one after another, two for each channel: 256 numbers for
      `tiny`; fewer are filled up with zeros; more (5,632 for SSD300, whose six levels are 512, 1024, 512 and three
      times 256 wide) go through a fixed random projection with orthonormal columns.
    """
    pooled = [_pool(level, contents, canvas) for level in features]
    if all(level.shape[1] == EMBEDDING for level in features):
        return torch.stack([mean for mean, _ in pooled]).mean(dim=0)
    whole = torch.cat([statistic for level in pooled for statistic in level], dim=1)
    if whole.shape[1] <= EMBEDDING:
        return torch.nn.functional.pad(whole, (0, EMBEDDING - whole.shape[1]))
    return whole @ _projection(whole.shape[1]).to(whole)


def _pool(level: Tensor, contents: Sequence[tuple[int, int]], canvas: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (B, D) over the cells inside the content, always at least the first cell."""
    sides = torch.as_tensor(contents, dtype=torch.float32, device=level.device)
    inside = []
    for axis in (0, 1):
        count = level.shape[2 + axis]
        centre = (torch.arange(count, device=level.device) + 0.5) * canvas[axis] / count
        row = centre < sides[:, axis:axis + 1]
        row[:, 0] = True
        inside.append(row)
    mask = (inside[0][:, :, None] & inside[1][:, None, :])[:, None].to(level.dtype)
    number = mask.sum(dim=(2, 3))
    mean = (level * mask).sum(dim=(2, 3)) / number
    variance = ((level - mean[:, :, None, None]).square() * mask).sum(dim=(2, 3)) / number
    return mean, variance.sqrt()


@cache
def _projection(width: int) -> Tensor:
    """(width, 256) with orthonormal columns, the same in every process."""
    return torch.linalg.qr(torch.randn(width, EMBEDDING, generator=stream("embedding", width)))[0]
