"""What the frozen stages of a detector make of images and their fixed views: computed once, kept in a mapped file."""

from __future__ import annotations

import functools
import os
import shutil
import weakref
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mgral.config import DetectorConfig
from mgral.data.augment import TRAIN, View, drawn_matrices, view
from mgral.data.dataset import ImageId
from mgral.data.images import ImageStore
from mgral.detection.detector import Detector, Maps
from mgral.detection.lite0 import shapes_kept
from mgral.detection.presets import FROZEN
from mgral.files import canonical_json, sha256
from mgral.fingerprint import code_version
from mgral.progress import current
from mgral.randomness import stream

LEAST_FREE = 2 * 2**30
"""Bytes of the disk that are left free: beyond that, maps are computed anew each time."""
WRITTEN = 1 << 32
"""In a mark, beside the checksum: a block that was never written has the mark 0."""
PAGE = 4096


def looked_at(detector: Detector, store: ImageStore, ids: Sequence[ImageId]) -> Tensor | Maps:
    """The images as the detector takes them: pixels, or where the store has fixed views, what frozen stages make of
    them, kept."""
    if detector.prefix is None or store.views is None:
        return store.pixels(ids)
    return _maps(detector, store, [(image_id, None) for image_id in ids])


def views_of(detector: Detector, store: ImageStore, ids: Sequence[ImageId], views: Sequence[int]) -> View:
    """Of each image the one of its fixed views that `views` (from 0) names, as the detector takes it.

    A view depends on the image's bytes and its own number only.
    """
    matrices = torch.cat([_matrix(store.digests[image_id], store.content(image_id), number)
                          for image_id, number in zip(ids, views, strict=True)]).to(detector.device)
    wanted = list(zip(ids, views, strict=True))
    if detector.prefix is not None:
        return View(_maps(detector, store, wanted), matrices)
    return View(torch.cat([_pixels(store, *each, detector.device) for each in wanted]), matrices)


def _maps(detector: Detector, store: ImageStore, wanted: Sequence[tuple[ImageId, int | None]]) -> Maps:
    """Each is computed on its own, so that its numbers do not depend on which are asked for together."""
    shapes, kept = detector.prefix.kept_shapes(store.canvas), _kept(detector, store)
    blocks = np.stack([_block(detector, store, kept, *each) for each in wanted])
    ends = np.cumsum([height * width * depth for height, width, depth in shapes])
    parts = torch.from_numpy(blocks).to(detector.device).float().split(np.diff(ends, prepend=0).tolist(), dim=1)
    # Channels last, as they were written.
    maps = [part.reshape(-1, *shape).permute(0, 3, 1, 2) for part, shape in zip(parts, shapes, strict=True)]
    return Maps(tuple(maps), (len(wanted), 3, *store.canvas))


def _block(detector: Detector, store: ImageStore, kept: Kept | None, image_id: ImageId,
           number: int | None) -> np.ndarray:
    place = (0, 0) if kept is None else (store.row[image_id], 0 if number is None else number + 1)
    digest = store.digests[image_id]
    block = None if kept is None else kept.read(*place, digest)
    if block is None:
        with torch.inference_mode():
            pixels = store.pixels([image_id]) if number is None else _pixels(store, image_id, number, detector.device)
            block = np.concatenate([level[0].permute(1, 2, 0).flatten().half().cpu().numpy()
                                    for level in detector.frozen(pixels)])
        if kept is not None:
            kept.write(*place, digest, block)
    return block


def _pixels(store: ImageStore, image_id: ImageId, number: int, device: torch.device) -> Tensor:
    content = torch.tensor([store.content(image_id)])
    generator = stream("view", store.digests[image_id], number)
    return view(store.pixels([image_id]).to(device), content, TRAIN, generator).pixels


@functools.lru_cache(maxsize=100_000)
def _matrix(digest: str, content: tuple[int, int], number: int) -> Tensor:
    return drawn_matrices(torch.tensor([content]), TRAIN, stream("view", digest, number))


def most_kept(config: DetectorConfig, canvas: tuple[int, int], images: int, trained_on: int, views: int | None) -> int:
    """Bytes that at most are kept of so many images on this canvas, `trained_on` of them also in their views."""
    if views is None or config.config is not None or config.preset != "lite0":
        return 0
    shapes = shapes_kept(FROZEN if config.frozen_stages is None else config.frozen_stages, canvas)
    return sum(height * width * depth for height, width, depth in shapes) * 2 * (images + trained_on * views)


class Kept:
    """A file of one block of half-precision numbers for each image and view, each with a mark: the checksum of the
    block and of the image's own digest, 0 where there is none yet.

    It is sparse: what was not written takes no room. Several processes may fill it at once: all write the same, and a
    block that was torn, by a process killed or by another image of the same place, does not fit its mark and counts as
    not there.
    """

    def __init__(self, path: Path, rows: int, views: int, size: int) -> None:
        start = -(-rows * views * 8 // PAGE) * PAGE
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        weakref.finalize(self, os.close, self._file)
        os.truncate(self._file, start + rows * views * size * 2)  # to the same length whoever comes first
        self._folder, self._start = path.parent, start
        self._marks = np.memmap(path, np.uint64, "r", 0, (rows, views))
        self._blocks = np.memmap(path, np.float16, "r", start, (rows, views, size))
        self._sound: set[tuple[int, int, str]] = set()
        self._full = False

    def read(self, row: int, column: int, digest: str) -> np.ndarray | None:
        """The block, or None."""
        mark, block = int(self._marks[row, column]), self._blocks[row, column]
        if not mark:
            return None
        if (row, column, digest) not in self._sound:
            if mark != _mark(block, digest):
                return None
            self._sound.add((row, column, digest))
        return block

    def write(self, row: int, column: int, digest: str, block: np.ndarray) -> None:
        """Keeps a block, unless the disk is full. By calls that may fail: writing to a map of a full disk kills."""
        place = row * self._marks.shape[1] + column
        if not self._full and shutil.disk_usage(self._folder).free > LEAST_FREE + block.nbytes:
            with suppress(OSError):
                os.pwrite(self._file, block.tobytes(), self._start + place * block.nbytes)
                os.pwrite(self._file, np.uint64(_mark(block, digest)).tobytes(), place * 8)
                return
        if not self._full:
            self._full = True
            current.get().note(f"{self._folder}: expected {LEAST_FREE / 2**30:.0f} GiB of free disk and more, got "
                               "less; what frozen stages make of images is no longer kept, which takes more time")


def _mark(block: np.ndarray, digest: str) -> int:
    return zlib.crc32(block.tobytes(), zlib.crc32(digest.encode())) | WRITTEN


def _kept(detector: Detector, store: ImageStore) -> Kept | None:
    """The file for this detector's frozen stages and these images, beside their pixels; None where they have no file.

    Its name says all that decides the numbers, the number of threads and the kind of processor among it.
    """
    path = getattr(store, "path", None)
    if path is None:
        return None
    shapes = detector.prefix.kept_shapes(store.canvas)
    facts = canonical_json([list(map(list, shapes)), store.views, repr(TRAIN), detector.config.precision,
                            detector.device.type, torch.get_num_threads(), torch.__version__,
                            torch.backends.cpu.get_cpu_capability()])
    name = sha256(_weights(detector), code_version("maps"), facts)[:16]
    size = sum(height * width * depth for height, width, depth in shapes)
    return _opened(path.with_name(f"{path.stem}-{name}.maps"), len(store.ids), store.views + 1, size)


@functools.lru_cache(maxsize=8)
def _opened(path: Path, rows: int, views: int, size: int) -> Kept | None:
    try:
        return Kept(path, rows, views, size)
    except OSError as error:
        current.get().note(f"{path}: expected to keep what frozen stages make of images, got {error.strerror}; it is "
                           "computed each time, which takes longer")
        return None


@dataclass(frozen=True, slots=True, eq=False)
class _Hashed:
    """Weights, how often each had been written to, and their hash then."""

    weights: Sequence[Tensor]
    versions: Sequence[int]
    hash: str

    @property
    def holds(self) -> bool:
        return all(weight._version == version for weight, version in zip(self.weights, self.versions, strict=True))


_hashes: weakref.WeakKeyDictionary[Detector, _Hashed] = weakref.WeakKeyDictionary()


def _weights(detector: Detector) -> str:
    """A hash of the frozen stages' weights, found anew when one of them was written to."""
    before = _hashes.get(detector)
    if before is None or not before.holds:
        weights = [weight for module in detector.prefix.frozen_modules
                   for weight in (*module.parameters(), *module.buffers())]
        content = b"".join(weight.detach().cpu().numpy().tobytes() for weight in weights)
        before = _Hashed(weights, [weight._version for weight in weights], sha256(content.hex()))
        _hashes[detector] = before
    return before.hash
