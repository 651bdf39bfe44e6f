"""Embeddings of images that another program made: one .npy file, and a text file that names its rows if need be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mgral.data.dataset import ImageId
from mgral.errors import DataError
from mgral.findings import Findings
from mgral.pool.image_names import ImageNames


def read_embeddings(path: Path, ids: Sequence[ImageId]) -> np.ndarray:
    """Embeddings (N, d) float32 of the images, in their order.

    The file's rows are those of all images in the order of their sorted names, unless a text file beside it (`a.txt`
    for `a.npy`) names the image of each row, one a line.

    Raises:
        DataError: not such a file, other rows than images, or numbers that are not finite.
    """
    array, names = _array(path), path.with_suffix(".txt")
    rows = _named_rows(names, len(array), ids) if names.is_file() else np.argsort(np.array(ids, dtype=object)).argsort()
    if len(rows) != len(array) and not names.is_file():
        raise DataError(f"{path}: expected a row for each of the {len(ids)} images, in the order of their sorted "
                        f"names, got {len(array)}; write them all, or name the image of each row in {names}")
    with np.errstate(over="ignore"):
        embedding = np.ascontiguousarray(array[rows], dtype=np.float32)
    faulty = np.flatnonzero(~np.isfinite(embedding).all(axis=1))
    if len(faulty):
        more = f" (and {len(faulty) - 1} more rows like this)" if len(faulty) > 1 else ""
        raise DataError(f"{path}: row {rows[faulty[0]]}: expected finite numbers for {ids[faulty[0]]!r}, got NaN or "
                        f"infinity; embed the image again{more}")
    return embedding


def _array(path: Path) -> np.ndarray:
    try:
        array = np.lib.format.open_memmap(path, mode="r")  # never an archive, never a pickle
    except FileNotFoundError as error:
        raise DataError(f"{path}: expected a .npy file of embeddings, got nothing there; check the path") from error
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: expected a .npy file of numbers, got {' '.join(str(error).split())}; write it by "
                        "numpy.save") from error
    if array.ndim != 2 or array.dtype.kind != "f" or not array.shape[1]:
        got = f"{array.dtype} of shape {array.shape}"
        raise DataError(f"{path}: expected floating-point numbers of shape (images, dimensions), got {got}; save one "
                        "such array")
    return array


def _named_rows(path: Path, count: int, ids: Sequence[ImageId]) -> np.ndarray:
    """The row (N,) of each image."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected the image of each row, got {error}; write UTF-8 text") from error
    if len(lines) != count:
        raise DataError(f"{path}: expected a line for each of the {count} rows, got {len(lines)}; name them all")
    names, findings, rows = ImageNames(ids), Findings(), {}
    for number, line in enumerate(lines):
        found = names.find(line)
        if len(found) > 1 or (found and found[0] in rows):
            findings.problem(f"{path}:{number + 1}: expected a name that means an image of its own, got {line!r}; "
                             "write paths below the folder, each once", "name")
        elif found:
            rows[found[0]] = number
    for image_id in ids if not findings.problems else ():
        if image_id not in rows:
            findings.problem(f"{path}: expected a row for {image_id!r}, got none; embed every image", "no row")
    if findings.problems:
        raise DataError(*findings.problems)
    return np.array([rows[image_id] for image_id in ids], dtype=np.int64)
