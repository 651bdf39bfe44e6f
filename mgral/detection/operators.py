"""mmcv's compiled operators, bound to torchvision where mmcv was installed without a compiler.

Plain `pip install` of mmcv leaves out its C++ operators, yet every mmdet model imports `mmcv.ops`, which asks for them
by name. `bind` puts a module in their place: the few operators that the detectors in use do call are torchvision's
kernels or the same formula in torch; any other says its name when it is called.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType

import torch
import torchvision  # noqa: F401  (registers torch.ops.torchvision)
from torch import Tensor

EXTENSION = "mmcv._ext"
MAX, AVERAGE = 0, 1
"""The pool modes of RoIAlign, as mmcv numbers them."""


class UnboundOperatorError(NotImplementedError):
    """An operator of mmcv that has no counterpart here was called."""


class TorchvisionOperators(ModuleType):
    """Stands in for `mmcv._ext`: has every name, can do those of `BOUND`."""

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("__"):
            raise AttributeError(name)
        return BOUND.get(name) or _unbound(name)


def bind() -> ModuleType:
    """Makes `mmcv.ops` importable, and gives the operators in use: mmcv's compiled ones wherever they load."""
    if EXTENSION not in sys.modules:
        try:
            importlib.import_module(EXTENSION)
        except (ImportError, OSError):  # absent, or built for another torch
            sys.modules[EXTENSION] = module = TorchvisionOperators(EXTENSION, __doc__)
            module.__spec__ = ModuleSpec(EXTENSION, None)  # mmengine looks for it with find_spec
    return sys.modules[EXTENSION]


def _unbound(name: str) -> Callable:
    def operator(*args, **kwargs):
        raise UnboundOperatorError(
            f"mmcv operator {name!r}: expected mmcv with compiled operators, got the binding to torchvision, which has "
            f"{', '.join(sorted(BOUND))}; build onedl-mmcv where torch is installed (pip --no-build-isolation)")
    return operator


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Rows of the boxes kept, best first. `offset` 1 counts pixels: a box from 3 to 3 is one wide."""
    if offset:
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
    return torch.ops.torchvision.nms(boxes, scores, iou_threshold)


def roi_align_forward(input: Tensor, rois: Tensor, output: Tensor, argmax_y: Tensor, argmax_x: Tensor,
                      aligned_height: int, aligned_width: int, spatial_scale: float, sampling_ratio: int,
                      pool_mode: int, aligned: bool) -> None:
    """Fills `output` (R, C, h, w). In max mode also `argmax_y`: which of a bin's samples was the largest.

    Every bin is sampled on a grid; average mode is torchvision's kernel, and max mode is the same kernel with one
    sample a bin on a finer output, then max pooling over the samples of each bin.
    """
    if pool_mode == AVERAGE:
        output.copy_(torch.ops.torchvision.roi_align(
            input, rois, spatial_scale, aligned_height, aligned_width, sampling_ratio, aligned))
        return
    for rows, grid in _grids(rois, aligned_height, aligned_width, spatial_scale, sampling_ratio, aligned):
        samples = torch.ops.torchvision.roi_align(
            input, rois[rows], spatial_scale, aligned_height * grid[0], aligned_width * grid[1], 1, aligned)
        output[rows], where = torch.nn.functional.max_pool2d(samples, grid, return_indices=True)
        argmax_y[rows] = where.to(argmax_y.dtype)


def roi_align_backward(grad_output: Tensor, rois: Tensor, argmax_y: Tensor, argmax_x: Tensor, grad_input: Tensor,
                       aligned_height: int, aligned_width: int, spatial_scale: float, sampling_ratio: int,
                       pool_mode: int, aligned: bool) -> None:
    """Adds to `grad_input` (B, C, H, W) the gradient of `roi_align_forward`."""
    if pool_mode == AVERAGE:
        grad_input += torch.ops.torchvision._roi_align_backward(
            grad_output, rois, spatial_scale, aligned_height, aligned_width, *grad_input.shape, sampling_ratio,
            aligned)
        return
    for rows, grid in _grids(rois, aligned_height, aligned_width, spatial_scale, sampling_ratio, aligned):
        size = aligned_height * grid[0], aligned_width * grid[1]
        spread = torch.nn.functional.max_unpool2d(grad_output[rows], argmax_y[rows].long(), grid, output_size=size)
        grad_input += torch.ops.torchvision._roi_align_backward(
            spread, rois[rows], spatial_scale, *size, *grad_input.shape, 1, aligned)


def _grids(rois: Tensor, height: int, width: int, scale: float, ratio: int,
           aligned: bool) -> list[tuple[Tensor, tuple[int, int]]]:
    """RoIs with the same number of samples a bin, and that number (rows, columns).

    A fixed `ratio` serves all; 0 means one sample for each feature cell that the bin spans, at least one.
    """
    if ratio > 0:
        return [(torch.arange(len(rois), device=rois.device), (ratio, ratio))] if len(rois) else []
    sides = (rois[:, 3:5] - rois[:, 1:3]) * scale
    sides = sides if aligned else sides.clamp(min=1.0)
    bins = torch.ceil(sides / sides.new_tensor([width, height])).long().clamp(min=1)
    return [((bins == pair).all(dim=1).nonzero().flatten(), (int(pair[1]), int(pair[0])))
            for pair in bins.unique(dim=0)]


def sigmoid_focal_loss_forward(input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float,
                               alpha: float) -> None:
    """Fills `output` (N, C) with the focal loss (Lin et al. 2017, eq. 5) of logits `input` and classes `target` (N,).

    Class C is background. `weight` (C,) or empty weighs the rows of each class; background rows weigh 1.
    """
    output.copy_(_focal(input, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float,
                                alpha: float) -> None:
    """Fills `grad_input` (N, C) with the derivative of each loss by its own logit."""
    with torch.enable_grad():
        logits = input.detach().requires_grad_()
        total = _focal(logits, target, weight, gamma, alpha).sum()
    grad_input.copy_(torch.autograd.grad(total, logits)[0])


def _focal(logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float) -> Tensor:
    classes = torch.arange(logits.shape[1], device=logits.device)
    hit = target[:, None] == classes
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, hit.to(logits.dtype), reduction="none")
    miss = torch.where(hit, torch.sigmoid(-logits), torch.sigmoid(logits))
    loss = loss * miss ** gamma * torch.where(hit, alpha, 1 - alpha)
    if weight.numel():
        loss = loss * torch.cat([weight, weight.new_ones(1)])[target][:, None]
    return loss


BOUND: dict[str, Callable] = {function.__name__: function for function in (
    nms, roi_align_forward, roi_align_backward, sigmoid_focal_loss_forward, sigmoid_focal_loss_backward)}
