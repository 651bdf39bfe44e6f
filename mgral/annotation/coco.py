"""A chosen batch as a COCO file with the model's boxes in it, and the corrected file back.

CVAT takes such boxes only with an empty `segmentation`, knows further values only as `attributes`, and matches images
by `file_name`; tools renumber images and categories at will, so what comes back is matched by file name and by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from mgral.data.dataset import Boxes, Dataset, ImageId
from mgral.data.formats.coco import Document, document, read_document
from mgral.data.formats.source import ROUNDING, Fit, SourceImage, clip
from mgral.errors import DataError
from mgral.files import write_json
from mgral.pool.inspection import Detections

MODEL = "model"
"""Value of the attribute `source` on boxes that no person has drawn."""


def export_batch(path: Path, dataset: Dataset, ids: Sequence[ImageId], detections: Mapping[ImageId, Detections],
                 min_score: float = 0.3, info: Mapping[str, Any] | None = None) -> None:
    """Writes the images with the model's boxes of at least `min_score` as pre-annotations.

    Images are numbered from 1 and carry their id here as `mgral_id`; categories keep their ids; `info` must be JSON.

    Raises:
        ValueError: an image that the data set does not have, or one twice.
    """
    unknown = [image_id for image_id in ids if image_id not in dataset.images]
    if unknown or len(set(ids)) < len(ids):
        raise ValueError(f"expected distinct images of the data set, got {', '.join(unknown) or 'one twice'}")
    boxes = [box for image_id in ids if image_id in detections
             for box in _proposed(dataset, image_id, detections[image_id].above(min_score))]
    content: dict[str, Any] = document(dataset, ids, boxes, keep_ids=False)
    for entry, image_id in zip(content["images"], ids, strict=True):
        entry["mgral_id"] = image_id
    write_json(path, {"info": dict(info or {}), **content})


def import_annotations(path: Path, dataset: Dataset, ids: Sequence[ImageId]) -> dict[ImageId, Boxes]:
    """Reads a corrected file back: the boxes of exactly these images, or nothing.

    An image is matched by its file name, or the last part of it where that is enough; an `mgral_id`, if it is still
    there, must agree. An image of the file without boxes was looked at and is empty.

    Raises:
        DataError: images that are missing, unknown or there twice, categories that are unknown, boxes that are
            malformed, outside their image or without area, and a malformed file; all of it.
    """
    problems: list[str] = []
    content = read_document(path, problems)
    fit = Fit(repair=False, problems=problems, notes=[], advice="correct it in the annotation tool and export again")
    classes = dict(zip(dataset.classes, dataset.category_ids, strict=True))
    boxes: dict[ImageId, Boxes] = {}
    names = _names(dataset, ids)
    for image in content.images:
        image_id = _matched(image, content, names, problems)
        if image_id in boxes:
            problems.append(f"{image.where}: expected each image once, got {image.file_name!r} again; remove one entry")
        elif image_id is not None:
            boxes[image_id] = fit.boxes(_sized(image, dataset, image_id, problems), _size(dataset, image_id), classes)
    if content.images:
        problems += [f"{path}: expected an entry for {dataset.images[image_id].file_name!r} (image {image_id!r}), got "
                     "none; export the whole batch" for image_id in ids if image_id not in boxes]
    if problems:
        raise DataError(*problems)
    return {image_id: boxes[image_id] for image_id in ids}


def _proposed(dataset: Dataset, image_id: ImageId, detections: Detections) -> list[tuple]:
    boxes = []
    for xyxy, score, label in zip(detections.xyxy.tolist(), detections.scores.tolist(), detections.labels.tolist(),
                                  strict=True):
        x1, y1, x2, y2 = clip(tuple(xyxy), _size(dataset, image_id))
        if min(x2 - x1, y2 - y1) > ROUNDING:
            score = round(score, 4)
            boxes.append((image_id, [round(coordinate, 2) for coordinate in (x1, y1, x2, y2)], label,
                          {"score": score, "attributes": {"score": score, "source": MODEL}}))
    return boxes


def _names(dataset: Dataset, ids: Sequence[ImageId]) -> dict[str, ImageId]:
    """The images by file name, and by its last part where no other image of the batch shares it."""
    last: dict[str, list[ImageId]] = {}
    for image_id in ids:
        last.setdefault(PurePosixPath(dataset.images[image_id].file_name).name, []).append(image_id)
    short = {name: sharing[0] for name, sharing in last.items() if len(sharing) == 1}
    return short | {dataset.images[image_id].file_name: image_id for image_id in ids}


def _matched(image: SourceImage, content: Document, names: Mapping[str, ImageId],
             problems: list[str]) -> ImageId | None:
    image_id = names.get(image.file_name, names.get(PurePosixPath(image.file_name).name))
    claimed = content.entries[image.id].get("mgral_id", image_id)
    if image_id is None:
        problems.append(f"{image.where}: expected an image of the batch, got {image.file_name!r}; remove it, or give "
                        "the file of the right batch")
    elif claimed != image_id:
        problems.append(f"{image.where}: expected mgral_id {image_id!r} for {image.file_name!r}, got {claimed!r}; "
                        "undo the change of name")
        return None
    return image_id


def _sized(image: SourceImage, dataset: Dataset, image_id: ImageId, problems: list[str]) -> SourceImage:
    size = _size(dataset, image_id)
    if image.size in (None, size):
        return image
    problems.append(f"{image.where}: expected {size[0]} × {size[1]} pixels, got {image.size[0]} × {image.size[1]}; "
                    "annotate the image in its own size")
    return replace(image, boxes=())


def _size(dataset: Dataset, image_id: ImageId) -> tuple[int, int]:
    return dataset.images[image_id].width, dataset.images[image_id].height
