"""A fake device, without any hardware: its tensors hold values, and refuse to be mixed with those of the CPU.

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


class FakeTensor(Tensor):
    """A tensor of the fake device; `here` is the one of the CPU that holds its values."""

    @staticmethod
    def __new__(cls, here: Tensor) -> FakeTensor:
        return Tensor._make_wrapper_subclass(cls, here.size(), strides=here.stride(), dtype=here.dtype, device=DEVICE,
                                             storage_offset=here.storage_offset())

    def __init__(self, here: Tensor) -> None:
        self.here = here

    def __repr__(self, **_) -> str:
        return f"fake({self.here})"

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
        if function is Tensor.tolist and isinstance(args[0], FakeTensor):
            return args[0].here.tolist()
        return function(*args, **(kwargs or {}))


def _done(operation, args: tuple, kwargs: dict):
    device = kwargs.get("device")
    fakes = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, FakeTensor)]
    on_device = bool(fakes) if device is None else torch.device(device).type == DEVICE.type
    if operation is aten.copy_.default:
        on_device = isinstance(args[0], FakeTensor)
    if operation not in COPIES:
        _check(operation, args, kwargs, on_device)
    if device is not None and on_device:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    result = operation(*tree_map(_here, args), **tree_map(_here, kwargs))
    if not on_device:
        return result
    # An operation in place gives what it was given.
    given = {id(tensor.here): tensor for tensor in fakes}

    def there_too(leaf):
        return given[id(leaf)] if id(leaf) in given else FakeTensor(leaf) if type(leaf) is Tensor else leaf

    return tree_map(there_too, result)


def _check(operation, args: tuple, kwargs: dict, on_device: bool) -> None:
    """Raises RuntimeError where CUDA would. Numbers, tensors of no dimension, may be anywhere."""
    if on_device and isinstance(kwargs.get("generator"), torch.Generator):
        raise RuntimeError(f"{operation}: expected a generator of {DEVICE}, got one of the CPU")
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and leaf.dim()]
    if operation in INDEXED and isinstance(args[0], FakeTensor):
        tensors = [args[0], *(values for values in args[2:3] if values.dim())]
    if len({isinstance(tensor, FakeTensor) for tensor in tensors}) > 1:
        raise RuntimeError(f"{operation}: expected all tensors on one device, got " + ", ".join(
            f"{tuple(tensor.shape)} on {tensor.device}" for tensor in tensors))


def _here(leaf):
    return leaf.here if isinstance(leaf, FakeTensor) else leaf


@contextlib.contextmanager
def fake_device() -> Iterator[torch.device]:
    """Where `DEVICE` is a device like any other."""
    with pytest.MonkeyPatch.context() as patch:
        fused, autocast = optimizers._get_fused_kernels_supported_devices(), torch.autocast
        patch.setattr(optimizers, "_get_fused_kernels_supported_devices", lambda: [*fused, DEVICE.type])
        patch.setattr(torch, "autocast", lambda kind, *args, **kwargs: (
            autocast("cpu" if kind == DEVICE.type else kind, *args, **kwargs)))
        patch.setattr(instance_data, "IndexType", instance_data.IndexType | FakeTensor)
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
