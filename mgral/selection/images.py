"""The images of a folder, and which of them are labelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mgral.config import DataConfig
from mgral.data.dataset import Boxes, ImageId, ImageInfo
from mgral.data.formats import read_dataset
from mgral.errors import DataError

UNBOXED = {"labelled": "empty", "pool": "unlabelled", None: "empty"}
"""`Request.unboxed` as `DataConfig.without_boxes`."""


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """All images by path, sorted; the boxes of the labelled ones, with labels that are rows of `classes` (category ids
    by name); how many of them have no box."""

    images: Mapping[ImageId, ImageInfo]
    boxes: Mapping[ImageId, Boxes] = field(default_factory=dict)
    classes: Mapping[str, int] = field(default_factory=dict)
    unboxed: int = 0
    notes: tuple[str, ...] = ()


def given_images(root: Path, labelled: Path | None = None, unboxed: str | None = None,
                 without: Path | None = None) -> Given:
    """Reads the images at or below the folder, and which are labelled from annotations in any format that mgral reads.

    An image with boxes is labelled. One that is named without a box is looked at and empty (`unboxed` "labelled") or
    nobody has looked at it ("pool"); where nothing is said and the format cannot tell, it counts as empty unless most
    images of the file are so. Images in the folder `without` are passed over.

    Raises:
        DataError: whatever is wrong with the files, like faults counted.
    """
    config = DataConfig(format="images" if labelled is None else "auto", images=".",
                        annotations=None if labelled is None else (str(labelled.resolve()),),
                        without_boxes=UNBOXED[unboxed])
    loaded = read_dataset(config, root)
    problems = list(loaded.problems)
    if not loaded.dataset.images and not problems:
        problems.append(f"{root}: expected images, got none; name the folder that holds them")
    if unboxed is None and not problems and 2 * loaded.silent > loaded.listed:
        problems.append(f"{labelled}: expected labelled images, got {loaded.silent} of {loaded.listed} without a box; "
                        "say what they are: --unboxed labelled (looked at and empty) or --unboxed pool (nobody has "
                        "looked)")
    if problems:
        raise DataError(*problems)
    images, boxes = _kept(root, without, loaded.dataset.images), loaded.dataset.boxes
    boxes = {image_id: boxes[image_id] for image_id in images if image_id in boxes}
    classes = dict(zip(loaded.dataset.classes, loaded.dataset.category_ids, strict=True))
    return Given(images, boxes, classes, sum(not len(box) for box in boxes.values()),
                 tuple(note for note in loaded.notes if ": found " not in note))


def _kept(root: Path, without: Path | None, images: Mapping[ImageId, ImageInfo]) -> dict[ImageId, ImageInfo]:
    kept = {image_id: images[image_id] for image_id in sorted(images)}
    try:
        prefix = "" if without is None else f"{without.resolve().relative_to(root.resolve()).as_posix()}/"
    except ValueError:  # it lies elsewhere
        prefix = ""
    return {image_id: image for image_id, image in kept.items() if not (prefix and image_id.startswith(prefix))}
