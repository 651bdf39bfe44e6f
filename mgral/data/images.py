"""All images of a data set at training resolution, decoded once and kept in a memory-mapped file."""

from __future__ import annotations

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
from mgral.files import canonical_json, read_json, sha256, write_json, writing

if TYPE_CHECKING:
    import torch

PADDING = 114
"""Grey value outside an image, close to the mean of natural images."""
CANVAS_MULTIPLE = 32
"""Coarsest stride of the usual detectors."""
_VERSION = "1"

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
    resident: torch.Tensor | None = None
    """The same in a GPU's memory."""

    @classmethod
    def open(cls, dataset: Dataset, image_size: int, folder: Path, progress: Progress | None = None) -> ImageStore:
        """Opens the store of these images at this size, building it first when it is absent.

        Args:
            folder: where `<key>.npy` and `<key>.json` are kept; the key changes with any image file.
            progress: called with (images done, images in all) while building.

        Raises:
            DataError: images that are missing, damaged or cut short, all of them; or too little room on the disk.
        """
        ids = tuple(dataset.images)
        contents = tuple(_content(dataset, image_id, image_size) for image_id in ids)
        images = (dataset.images[image_id] for image_id in ids)
        scales = tuple(image_size / max(image.width, image.height) for image in images)
        path = folder / f"{_key(dataset, image_size)}.npy"
        shape = (len(ids), 3, *_canvas(contents))
        if not _whole(path, shape):
            _build(path, dataset, contents, shape, progress)
            write_json(path.with_suffix(".json"), {"image_size": image_size, "shape": list(shape)})
        return cls(ids, image_size, contents, scales, np.load(path, mmap_mode="r"))

    def __len__(self) -> int:
        return len(self.ids)

    def __getstate__(self) -> dict:
        """Another process maps the same file instead of receiving the pixels."""
        return {**vars(self), "array": Path(self.array.filename), "resident": None}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state, array=np.load(state["array"], mmap_mode="r"))

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width in pixels of every image in the store, padding included; multiples of 32."""
        return self.array.shape[2], self.array.shape[3]

    @cached_property
    def row(self) -> dict[ImageId, int]:
        return {image_id: row for row, image_id in enumerate(self.ids)}

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


def _key(dataset: Dataset, image_size: int) -> str:
    problems, facts = [], []
    for image_id, image in dataset.images.items():
        try:
            stat = dataset.path(image_id).stat()
        except OSError:
            problems.append(f"{dataset.path(image_id)}: expected an image file, got nothing there; restore it")
            continue
        facts.append([image_id, image.file_name, image.width, image.height, stat.st_size, stat.st_mtime_ns])
    if problems:
        raise DataError(*problems)
    return sha256(_VERSION, str(image_size), canonical_json(facts))


def _whole(path: Path, shape: tuple[int, ...]) -> bool:
    # The index is written last: with it, the pixels are complete.
    index = path.with_suffix(".json")
    return (index.exists() and read_json(index)["shape"] == list(shape)
            and path.exists() and path.stat().st_size > np.prod(shape))


def _build(path: Path, dataset: Dataset, contents: Sequence[tuple[int, int]], shape: tuple[int, ...],
           progress: Progress | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _check_room(path.parent, int(np.prod(shape)))
    problems = []
    with writing(path) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)

        def draw(row_id: tuple[int, ImageId]) -> None:
            row, image_id = row_id
            height, width = contents[row]
            array[row] = PADDING
            array[row, :, :height, :width] = decode(dataset.path(image_id), width, height).transpose(2, 0, 1)

        for done, (_, faults) in enumerate(each(draw, enumerate(dataset.images)), start=1):
            problems += faults
            if progress:
                progress(done, shape[0])
        if problems:
            raise DataError(*problems)
        array.flush()


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(f"{folder}: expected {needed / 2**30:.1f} GiB of free disk for the decoded images, "
                        f"got {free / 2**30:.1f}; make room or lower detector.image_size")
