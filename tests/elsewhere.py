"""A second device without any hardware: its tensors hold values, and refuse to be mixed with those of the CPU.

No machine that builds this project has a GPU. What can go wrong there without one's noticing is where things are: a
mask made on the CPU, an index left on the GPU. Tensors of `DEVICE` are wrappers around tensors of the CPU, so every
result is that of the CPU, or an error where CUDA would raise one. `DEVICE` is PyTorch's `lazy`: of the devices that
need no hardware the one whose tensors are made and differentiated like those of a GPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch
import torch._lazy.ts_backend
import torch.optim.optimizer as optimizers
from mmengine.structures import instance_data
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

torch._lazy.ts_backend.init()  # once a process

DEVICE = torch.device("lazy", 0)
aten = torch.ops.aten
COPIES = {aten._to_copy.default, aten.copy_.default}
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
"""Tensors of a GPU may be indexed from the CPU, not the other way round."""


class Elsewhere(Tensor):
    """A tensor of the second device; `here` is the one of the CPU that holds its values."""

    @staticmethod
    def __new__(cls, here: Tensor) -> Elsewhere:
        return Tensor._make_wrapper_subclass(cls, here.size(), strides=here.stride(), dtype=here.dtype, device=DEVICE,
                                             storage_offset=here.storage_offset())

    def __init__(self, here: Tensor) -> None:
        self.here = here

    def __repr__(self, **_) -> str:
        return f"elsewhere({self.here})"

    def __reduce_ex__(self, protocol):
        return self.here.__reduce_ex__(protocol)  # checkpoints are read into the CPU's memory

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _done(operation, args, kwargs or {})


class _Operations(TorchDispatchMode):
    """Operations that no tensor of the device takes part in, such as those that make the first."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return _done(operation, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """PyTorch gives no lists of wrapped tensors."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is Tensor.tolist and isinstance(args[0], Elsewhere):
            return args[0].here.tolist()
        return function(*args, **(kwargs or {}))


def _done(operation, args: tuple, kwargs: dict):
    device, theirs = kwargs.get("device"), [one for one in tree_leaves((args, kwargs)) if isinstance(one, Elsewhere)]
    there = bool(theirs) if device is None else torch.device(device).type == DEVICE.type
    if operation is aten.copy_.default:
        there = isinstance(args[0], Elsewhere)
    if operation not in COPIES:
        _check(operation, args, kwargs, there)
    if device is not None and there:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    result = operation(*tree_map(_here, args), **tree_map(_here, kwargs))
    if not there:
        return result
    # An operation in place gives what it was given.
    given = {id(one.here): one for one in theirs}

    def there_too(one):
        return given[id(one)] if id(one) in given else Elsewhere(one) if type(one) is Tensor else one

    return tree_map(there_too, result)


def _check(operation, args: tuple, kwargs: dict, there: bool) -> None:
    """Raises RuntimeError where CUDA would. Numbers, tensors of no dimension, may be anywhere."""
    if there and isinstance(kwargs.get("generator"), torch.Generator):
        raise RuntimeError(f"{operation}: expected a generator of {DEVICE}, got one of the CPU")
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor) and one.dim()]
    if operation in INDEXED and isinstance(args[0], Elsewhere):
        tensors = [args[0], *(one for one in args[2:3] if one.dim())]
    if len({isinstance(one, Elsewhere) for one in tensors}) > 1:
        raise RuntimeError(f"{operation}: expected all tensors on one device, got " + ", ".join(
            f"{tuple(one.shape)} on {one.device}" for one in tensors))


def _here(one):
    return one.here if isinstance(one, Elsewhere) else one


@contextlib.contextmanager
def second_device() -> Iterator[torch.device]:
    """Where `DEVICE` is a device like any other."""
    with pytest.MonkeyPatch.context() as patch:
        fused, autocast = optimizers._get_fused_kernels_supported_devices(), torch.autocast
        patch.setattr(optimizers, "_get_fused_kernels_supported_devices", lambda: [*fused, DEVICE.type])
        patch.setattr(torch, "autocast", lambda kind, *args, **kwargs: (
            autocast("cpu" if kind == DEVICE.type else kind, *args, **kwargs)))
        patch.setattr(instance_data, "IndexType", instance_data.IndexType | Elsewhere)
        # Wrapped tensors know no inference mode.
        patch.setattr(torch, "inference_mode",
                      lambda mode=True: torch.no_grad() if mode else contextlib.nullcontext())
        before = torch._C._only_lift_cpu_tensors()
        with _Functions(), _Operations():
            # Tensors of Python's numbers are then made on the CPU and moved, which the mode sees.
            torch._C._set_only_lift_cpu_tensors(True)
            try:
                yield DEVICE
            finally:
                torch._C._set_only_lift_cpu_tensors(before)
