"""All images of a data set at training resolution, decoded once and kept in a memory-mapped file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mgral.data.dataset import Dataset, ImageId
from mgral.data.decoding import decode, each
from mgral.errors import DataError
from mgral.files import canonical_json, read_json, sha256, sha256_of, write_json, writing

if TYPE_CHECKING:
    import torch

PADDING = 114
"""Grey value outside an image, close to the mean of natural images."""
CANVAS_MULTIPLE = 32
"""Coarsest stride of the usual detectors."""
_VERSION = "2"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class ImageStore:
    """Every image scaled to a longest side of `image_size`, at the top left of one common canvas.

    The pixels lie in a file that all processes map: opening is quick and costs no memory. `ids` in row order.
    """

    ids: tuple[ImageId, ...]
    image_size: int
    contents: tuple[tuple[int, int], ...]
    scales: tuple[float, ...]
    array: np.ndarray
    """(N, 3, H, W) uint8, mapped read-only."""
    hashes: tuple[str, ...]
    """Of each file's bytes, 16 hex digits of their sha256."""
    resident: torch.Tensor | None = None
    """The same in a GPU's memory."""
    views: int | None = None
    """How many random views of an image trainings draw from (`training.views`); None: each draw is a new one."""

    @classmethod
    def open(cls, dataset: Dataset, image_size: int, folder: Path, progress: Progress | None = None) -> ImageStore:
        """Opens the store of these images at this size, building it first when it is absent.

        Args:
            folder: where `<key>.npy` and `<key>.json` are kept; the key changes with any image file's size or time
                of writing. Files that were touched in another way are hashed, and decoded again if they differ.
            progress: called with (images done, images in all) while building.

        Raises:
            DataError: images that are missing, damaged or cut short, all of them; or too little room on the disk.
        """
        ids = tuple(dataset.images)
        contents = tuple(_content(dataset, image_id, image_size) for image_id in ids)
        images = (dataset.images[image_id] for image_id in ids)
        scales = tuple(image_size / max(image.width, image.height) for image in images)
        key, changed = _key(dataset, image_size)
        path = folder / f"{key}.npy"
        shape = (len(ids), 3, *_canvas(contents))
        hashes = _kept_hashes(path, dataset, shape, changed)
        if hashes is None:
            hashes = _build(path, dataset, contents, shape, progress)
            write_json(path.with_suffix(".json"), {"image_size": image_size, "shape": list(shape), "digests": hashes})
        return cls(ids, image_size, contents, scales, np.load(path, mmap_mode="r"), tuple(hashes))

    def __len__(self) -> int:
        return len(self.ids)

    def __getstate__(self) -> dict:
        """Another process maps the same file instead of receiving the pixels."""
        return {**vars(self), "array": self.path, "resident": None}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state, array=np.load(state["array"], mmap_mode="r"))

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width in pixels of every image in the store, padding included; multiples of 32."""
        return self.array.shape[2], self.array.shape[3]

    @cached_property
    def row(self) -> dict[ImageId, int]:
        return {image_id: row for row, image_id in enumerate(self.ids)}

    @property
    def digests(self) -> dict[ImageId, str]:
        """What each image's file held when it was decoded: 16 hex digits of the sha256 of its bytes."""
        return dict(zip(self.ids, self.hashes, strict=True))

    def pixels(self, ids: Sequence[ImageId]) -> torch.Tensor:
        """(B, 3, H, W) uint8 RGB, a copy; on the GPU where all pixels are.

        Raises:
            ValueError: an id that the store does not hold.
        """
        import torch

        rows = [self._row(image_id) for image_id in ids]
        return torch.from_numpy(np.array(self.array[rows])) if self.resident is None else self.resident[rows]

    def on(self, device: str) -> ImageStore:
        """The store with its pixels on a GPU, if they take at most a quarter of its free memory; else as it is."""
        import torch

        if not device.startswith("cuda") or self.array.nbytes > torch.cuda.mem_get_info(device)[0] / 4:
            return self
        return replace(self, resident=torch.from_numpy(np.array(self.array)).to(device))

    def with_views(self, views: int | None) -> ImageStore:
        """The same images, of which trainings draw from so many views."""
        return replace(self, views=views)

    @property
    def path(self) -> Path:
        """The file of the pixels."""
        return Path(self.array.filename)

    def scale(self, image_id: ImageId) -> float:
        """Canvas pixels a pixel of the original image."""
        return self.scales[self._row(image_id)]

    def content(self, image_id: ImageId) -> tuple[int, int]:
        """Height and width in canvas pixels of the image itself; the rest is padding."""
        return self.contents[self._row(image_id)]

    def _row(self, image_id: ImageId) -> int:
        if image_id not in self.row:
            raise ValueError(f"expected an image of the store, got {image_id!r}")
        return self.row[image_id]


def canvas_of(dataset: Dataset, image_size: int) -> tuple[int, int]:
    """The `canvas` of a store of these images, before there is one."""
    return _canvas([_content(dataset, image_id, image_size) for image_id in dataset.images])


def _content(dataset: Dataset, image_id: ImageId, image_size: int) -> tuple[int, int]:
    image = dataset.images[image_id]
    scale = image_size / max(image.width, image.height)
    return max(1, round(image.height * scale)), max(1, round(image.width * scale))


def _canvas(contents: Sequence[tuple[int, int]]) -> tuple[int, int]:
    if not contents:
        raise ValueError("expected a data set with at least one image, got none")
    height, width = (max(side) for side in zip(*contents, strict=True))
    return _rounded_up(height), _rounded_up(width)


def _rounded_up(side: int) -> int:
    return -(-side // CANVAS_MULTIPLE) * CANVAS_MULTIPLE


def _key(dataset: Dataset, image_size: int) -> tuple[str, list[int]]:
    """The key, and when each file was last changed, in its metadata too, in nanoseconds."""
    problems, facts, changed = [], [], []
    for image_id, image in dataset.images.items():
        try:
            stat = dataset.path(image_id).stat()
        except OSError:
            problems.append(f"{dataset.path(image_id)}: expected an image file, got nothing there; restore it")
            continue
        facts.append([image_id, image.file_name, image.width, image.height, stat.st_size, stat.st_mtime_ns])
        changed.append(stat.st_ctime_ns)
    if problems:
        raise DataError(*problems)
    return sha256(_VERSION, str(image_size), str(dataset.white), canonical_json(facts)), changed


def _kept_hashes(path: Path, dataset: Dataset, shape: tuple[int, ...], changed: Sequence[int]) -> list[str] | None:
    """Of a store that is whole and that of these files, the hashes of their bytes; None if it has to be built."""
    # The index is written last: with it, the pixels are complete.
    index = path.with_suffix(".json")
    try:
        kept = read_json(index)
        hashes, since = kept["digests"], index.stat().st_mtime_ns
        if kept["shape"] != list(shape) or path.stat().st_size <= np.prod(shape) or len(hashes) != len(changed):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    touched = [(image_id, before) for image_id, before, when in zip(dataset.images, hashes, changed, strict=True)
               if when > since]
    if any(sha256_of(dataset.path(image_id)) != before for image_id, before in touched):
        return None
    if touched:
        os.utime(index)
    return hashes


def _build(path: Path, dataset: Dataset, contents: Sequence[tuple[int, int]], shape: tuple[int, ...],
           progress: Progress | None) -> list[str]:
    """Decodes all images into the file; the hashes of their bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _check_room(path.parent, int(np.prod(shape)))
    problems, hashes = [], []
    with writing(path) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)

        def draw(row_id: tuple[int, ImageId]) -> str:
            row, image_id = row_id
            source = dataset.path(image_id)
            height, width = contents[row]
            array[row] = PADDING
            array[row, :, :height, :width] = decode(source, width, height, dataset.white).transpose(2, 0, 1)
            return sha256_of(source)

        for done, (digest, faults) in enumerate(each(draw, enumerate(dataset.images)), start=1):
            problems += faults
            hashes.append(digest)
            if progress:
                progress(done, shape[0])
        if problems:
            raise DataError(*problems)
        array.flush()
    return hashes


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(f"{folder}: expected {needed / 2**30:.1f} GiB of free disk for the decoded images, "
                        f"got {free / 2**30:.1f}; make room or lower detector.image_size")
