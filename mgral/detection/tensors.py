"""Files of tensors, whoever wrote them: read without running anything that they hold, and what is wrong with them."""

from __future__ import annotations

import re
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mgral.errors import ConfigError, StateError
from mgral.files import why_unreadable

LFS = b"version https://git-lfs.github.com/spec/"
COUNTER = "num_batches_tracked"
"""Of batch norm: no weight, and older checkpoints have none."""
PREFIXES = ("module.", "model.")
"""What wrappers put before the name of every weight: data parallel training, and our own `Detector`."""


class Forgotten:
    """Stands for an object of a checkpoint that nobody asks for, such as mmengine's history of losses."""

    def __init__(self, *args: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _mapping(*_: object) -> OrderedDict:
    return OrderedDict()


FORGOTTEN = [
    (Forgotten, "mmengine.logging.history_buffer.HistoryBuffer"), (Forgotten, "builtins.getattr"),
    (Forgotten, "builtins.list"), (Forgotten, "numpy.ndarray"), (Forgotten, "numpy.dtype"),
    *((Forgotten, f"numpy.{core}.multiarray.{name}") for core in ("core", "_core")
      for name in ("_reconstruct", "scalar")),
    (_mapping, "collections.defaultdict")]
"""Names of mmengine's own checkpoints beside tensors and plain values, and what is made in place of them: the message
hub holds histories with their methods, numpy's numbers and arrays. None of the named functions is ever called."""


def read_tensors(path: Path) -> dict[str, Any]:
    """What `torch.save` wrote, without running any code that the file may hold; objects of `FORGOTTEN` are left out.

    Raises:
        StateError: no such file, damaged, or holding more than tensors and plain values.
    """
    reason = why_unreadable(path) or _kind(path)
    if reason:
        raise StateError(f"{path}: expected a file of tensors, got {reason}")
    try:
        with _letting_through(FORGOTTEN), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the age of the format
            saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes of any kind are read as instructions: anything may come out
        raise StateError(f"{path}: expected a file of tensors, got {_in_words(error)}") from error
    if not isinstance(saved, dict):
        raise StateError(f"{path}: expected a dictionary of tensors, got {type(saved).__name__}")
    return saved


def weights_of(saved: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """The weights in what `read_tensors` gave, by their names in the model: those of mmengine, of ours, or bare ones.

    Raises:
        ConfigError: none, or some that are not finite.
    """
    inner = next((saved[name] for name in ("state_dict", "state", "model") if name in saved), saved)
    weights = {name: value for name, value in inner.items() if isinstance(name, str) and _is_weight(value)
               } if isinstance(inner, Mapping) else {}
    if not weights:
        raise ConfigError(f"{path}: expected weights, got a file without a tensor under a name; save the model's "
                          "state_dict")
    broken = [name for name, value in weights.items()
              if value.is_floating_point() and not value.float().isfinite().all()]
    if broken:
        raise ConfigError(f"{path}: expected finite weights, got NaN or infinity in {counted(broken)}; take an "
                          "earlier checkpoint")
    while prefix := next((each for each in PREFIXES if all(name.startswith(each) for name in weights)), None):
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights


@contextmanager
def _letting_through(names: list) -> Iterator[None]:
    """torch makes objects of these names and of no others, not even of those that other packages have allowed."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(names)
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _is_weight(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"


def counted(names: list[str], kind: str = "") -> str:
    """How many of a kind there are, and the first three."""
    return f"{len(names)}{kind and ' '}{kind} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"


def _kind(path: Path) -> str | None:
    """What a file is that begins as no file of tensors does."""
    try:
        with path.open("rb") as file:
            start = file.read(len(LFS))
    except OSError as error:
        return error.strerror
    if not start:
        return "an empty file"
    if start == LFS:
        return "a pointer of Git LFS in its place; fetch it with `git lfs pull`"
    return "a web page; download the file itself" if start.lower().startswith((b"<!doctype", b"<html")) else None


def _in_words(error: Exception) -> str:
    text = " ".join(re.sub(r"\x1b\[\d*m", "", str(error)).split())
    code = re.search(r"GLOBAL (\S+)", text)
    if code:
        return (f"an object of {code[1]}, which could run code and was not made; save the model's state_dict, or use "
                "the checkpoint that mmengine wrote")
    if "TorchScript" in text:
        return "a TorchScript program; save the model's state_dict"
    return f"a damaged file or one of another kind ({type(error).__name__}: {text[:100]})"
