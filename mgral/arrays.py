"""Arrays that may be larger than memory: a folder of .npy files, written part by part and read as memory maps."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mgral.files import writing_folder

ROWS = 256
"""Rows of a memory map copied before its pages are given back: each may have brought two megabytes with it."""


def write_arrays(path: Path, parts: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Writes a folder with one .npy file a name: that name's arrays of all parts, joined along their first axis.

    The folder is whole or absent. Only one part is in memory at a time.

    Raises:
        ValueError: no part, or one whose names, types or shapes beyond the first axis differ from the first part's.
    """
    columns: dict[str, _Column] = {}
    with writing_folder(path) as folder, ExitStack() as files:
        for part in parts:
            if not columns:
                columns = {name: _Column(files.enter_context((folder / f"{name}.npy").open("wb+")), array)
                           for name, array in part.items()}
            if set(part) != set(columns):
                raise ValueError(f"expected the arrays {', '.join(columns)} in every part, got {', '.join(part)}")
            for name, array in part.items():
                columns[name].append(array)
        if not columns:
            raise ValueError(f"{path}: expected at least one part to write, got none")
        for column in columns.values():
            column.close()


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """What `write_arrays` wrote, read-only; what is looked at is read from disk, and may be dropped again."""
    return {file.stem: np.asarray(np.load(file, mmap_mode="r", allow_pickle=False)) for file in path.glob("*.npy")}


def copied(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Some rows, in the order asked for, in memory; a memory map is left with no page of its own there."""
    if _map_of(array) is None:
        return array[rows]
    copy = np.empty((len(rows), *array.shape[1:]), array.dtype)
    for start in range(0, len(rows), ROWS):
        copy[start:start + ROWS] = array[rows[start:start + ROWS]]
        forget(array)
    return copy


def forget(array: np.ndarray) -> None:
    """Gives back the memory of a memory map's pages; they are read again when looked at. Other arrays stay."""
    mapped = _map_of(array)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _map_of(array: np.ndarray) -> mmap.mmap | None:
    """The read-only file that an array is a view of."""
    base = array
    while isinstance(base, np.ndarray):
        if base.flags.writeable:
            return None
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


class _Column:
    """An .npy file that grows along its first axis; numpy pads the header so that this length can be changed in it."""

    def __init__(self, file: BinaryIO, like: np.ndarray) -> None:
        self.file, self.dtype, self.shape, self.length = file, like.dtype, like.shape[1:], 0
        self._header()

    def append(self, array: np.ndarray) -> None:
        if (array.dtype, array.shape[1:]) != (self.dtype, self.shape):
            raise ValueError(f"expected {self.dtype} of shape (n, {', '.join(map(str, self.shape))}), got "
                             f"{array.dtype} of shape {array.shape}")
        self.file.write(np.ascontiguousarray(array).data)
        self.length += len(array)

    def close(self) -> None:
        self.file.seek(0)
        self._header()
        self.file.flush()
        os.fsync(self.file.fileno())

    def _header(self) -> None:
        np.lib.format.write_array_header_1_0(self.file, {
            "descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False,
            "shape": (self.length, *self.shape)})
