"""The one form in which the library knows images and boxes, whatever file they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mgral.files import canonical_json

ImageId = str
"""Names an image everywhere: its path below the data set's folder, in every format."""
Batch = tuple[ImageId, ...]
"""Images to annotate together: distinct ids, sorted."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """One image file, `file_name` below the data set's folder. `width` and `height` in pixels, as seen after EXIF
    rotation."""

    id: ImageId
    file_name: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """The annotated boxes of one image.

    `xyxy` (n, 4) float32, absolute pixels; `labels` (n,) int64, rows of `Dataset.classes`;
    `ignore` (n,) bool, true for crowd regions and "difficult" objects: never trained on, never counted as missed.
    """

    xyxy: np.ndarray
    labels: np.ndarray
    ignore: np.ndarray

    @classmethod
    def of(cls, xyxy: Iterable = (), labels: Iterable = (), ignore: Iterable | None = None) -> Boxes:
        """From sequences; without `ignore` every box counts.

        Raises:
            ValueError: not one label and flag a box.
        """
        corners = np.asarray(list(xyxy), dtype=np.float32).reshape(-1, 4)
        classes = np.asarray(list(labels), dtype=np.int64)
        flags = np.zeros(len(classes), dtype=bool) if ignore is None else np.asarray(list(ignore), dtype=bool)
        if not len(corners) == len(classes) == len(flags):
            raise ValueError(f"expected one label and flag a box, got {len(corners)}, {len(classes)}, {len(flags)}")
        return cls(corners, classes, flags)

    def __len__(self) -> int:
        return len(self.labels)

    def keep(self, rows: np.ndarray) -> Boxes:
        return Boxes(self.xyxy[rows], self.labels[rows], self.ignore[rows])

    def as_bytes(self) -> bytes:
        """All of it, for a hash."""
        return self.xyxy.tobytes() + self.labels.tobytes() + self.ignore.tobytes()


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Images, what is known of their boxes, and the splits that the source itself names.

    `images` holds every image; `boxes` only the annotated ones (an empty `Boxes` means "looked at, nothing there",
    a missing key "not annotated"). `category_ids` are the stable COCO ids (from 1) of `classes`, row by row. `white` is
    the value of 16-bit files that becomes white.
    """

    root: Path
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    images: Mapping[ImageId, ImageInfo]
    boxes: Mapping[ImageId, Boxes]
    splits: Mapping[str, tuple[ImageId, ...]] = field(default_factory=dict)
    white: int = 65_535

    def path(self, image_id: ImageId) -> Path:
        return self.root / self.images[image_id].file_name


def dataset_hash(dataset: Dataset) -> str:
    """sha256 of ids, sizes, classes and boxes: what the splits were drawn from."""
    return boxes_hash(dataset, sorted(dataset.images))


def boxes_hash(dataset: Dataset, ids: Iterable[ImageId]) -> str:
    """sha256 of the classes, and of ids, sizes and boxes of these images, in their order."""
    digest = hashlib.sha256(canonical_json([dataset.classes, dataset.category_ids]).encode())
    for image_id in ids:
        info, boxes = dataset.images[image_id], dataset.boxes.get(image_id)
        digest.update(canonical_json([image_id, info.width, info.height, boxes is None]).encode())
        if boxes is not None:
            digest.update(boxes.as_bytes())
    return digest.hexdigest()


def labels_hash(boxes: Mapping[ImageId, Boxes]) -> str:
    """sha256 of ids and boxes, whatever order they come in."""
    digest = hashlib.sha256()
    for image_id in sorted(boxes):
        found = boxes[image_id]
        digest.update(canonical_json([image_id, len(found)]).encode())
        digest.update(found.as_bytes())
    return digest.hexdigest()


def batch_of(ids: Sequence[ImageId], rows: np.ndarray) -> Batch:
    """The batch of these rows of sorted ids."""
    return tuple(ids[row] for row in np.sort(rows))
