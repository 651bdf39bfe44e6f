"""What a detector is to find in an image, as tensors in canvas pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mgral.data.augment import move_boxes
from mgral.data.dataset import Boxes

LEAST_VISIBLE = 0.3
"""Share of a box that must still be seen after a view moved it."""
LEAST_SIDE = 2.0
"""Canvas pixels; a narrower box holds nothing to learn from."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Truth or pseudo labels of one image.

    `xyxy` (n, 4) float32 canvas pixels; `labels` (n,) int64; `ignore` (m, 4) float32: regions that are neither
    object nor background.
    """

    xyxy: Tensor
    labels: Tensor
    ignore: Tensor

    @classmethod
    def of(cls, boxes: Boxes, scale: float, device: torch.device | str = "cpu") -> Target:
        """From boxes in original pixels; `scale` is canvas pixels per original pixel."""
        xyxy = torch.as_tensor(boxes.xyxy, dtype=torch.float32, device=device) * scale
        labels = torch.as_tensor(boxes.labels, dtype=torch.int64, device=device)
        ignore = torch.as_tensor(boxes.ignore, dtype=torch.bool, device=device)
        return cls(xyxy[~ignore], labels[~ignore], xyxy[ignore])

    def __len__(self) -> int:
        return len(self.labels)


def moved(targets: Sequence[Target], matrices: Tensor, canvas: tuple[int, int]) -> list[Target]:
    """The targets where `matrices` (B, 3, 3) take them, clipped to the canvas (H, W); boxes nearly gone are dropped."""
    counts = [len(target) for target in targets]
    xyxy, seen = _visible(torch.cat([target.xyxy for target in targets]), counts, matrices, canvas)
    labels = torch.cat([target.labels for target in targets])
    ignores = [len(target.ignore) for target in targets]
    ignore = _visible(torch.cat([target.ignore for target in targets]), ignores, matrices, canvas)[0]
    parts = zip(xyxy.split(counts), labels.split(counts), seen.split(counts), ignore.split(ignores), strict=True)
    return [Target(corners[keep], classes[keep], regions) for corners, classes, keep, regions in parts]


def _visible(xyxy: Tensor, counts: list[int], matrices: Tensor, canvas: tuple[int, int]) -> tuple[Tensor, Tensor]:
    repeats = torch.tensor(counts, device=matrices.device)
    whole = move_boxes(xyxy, matrices.repeat_interleave(repeats, dim=0, output_size=len(xyxy)))
    height, width = canvas
    clipped = torch.minimum(whole.clamp(min=0), whole.new_tensor([width, height, width, height]))
    sides = clipped[:, 2:] - clipped[:, :2]
    share = sides.prod(dim=1) / (whole[:, 2:] - whole[:, :2]).prod(dim=1).clamp(min=1e-6)
    return clipped, (share >= LEAST_VISIBLE) & (sides >= LEAST_SIDE).all(dim=1)
