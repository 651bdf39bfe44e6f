"""A data set in data: what `mgral check --json` writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

from mgral.data.dataset import Dataset, ImageId
from mgral.data.formats import Loaded
from mgral.data.formats.reading import meaning, uncollected


def as_data(loaded: Loaded, notes: Sequence[str] = (), study_problems: Sequence[str] = ()) -> dict[str, Any]:
    """Classes, images by path, notes and problems, as JSON takes them.

    An image has its `split` as the source names it (None where it is in none), `width` and `height` in pixels, `boxes`
    as x1, y1, x2, y2 in pixels and the class, None where nobody has annotated it, and boxes to `ignore` alike.
    """
    dataset = loaded.dataset
    split = split_of(dataset)
    with uncollected():
        images = {image_id: {"split": split(image_id), **_image(dataset, image_id)} for image_id in dataset.images}
    return {"classes": list(dataset.classes), "images": images,
            "notes": [*loaded.notes, *notes], "problems": list(loaded.problems),
            "study_problems": list(study_problems)}


def _image(dataset: Dataset, image_id: ImageId) -> dict[str, Any]:
    info, boxes = dataset.images[image_id], dataset.boxes.get(image_id)
    if boxes is None:
        return {"width": info.width, "height": info.height, "boxes": None, "ignore": []}
    corners = map(round, boxes.xyxy.ravel().tolist(), repeat(4))
    rows = [[x1, y1, x2, y2, dataset.classes[label]] for x1, y1, x2, y2, label in zip(
        corners, corners, corners, corners, boxes.labels.tolist(), strict=False)]
    ignored = boxes.ignore.tolist()
    return {"width": info.width, "height": info.height,
            "boxes": [row for row, ignore in zip(rows, ignored, strict=True) if not ignore],
            "ignore": [row for row, ignore in zip(rows, ignored, strict=True) if ignore]}


def split_of(dataset: Dataset) -> Callable[[ImageId], str | None]:
    """A function that gives an image's split, of several the one that is called train, val or test; None for none."""
    splits: dict[ImageId, str] = {}
    for name in sorted(dataset.splits, key=lambda name: meaning(name) is not None):
        splits.update(dict.fromkeys(dataset.splits[name], name))
    return splits.get
