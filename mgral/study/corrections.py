"""What people have corrected, image by image, kept apart from everything that is computed.

No run writes here, only an import does; so whatever is computed again, a person's boxes come back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mgral.annotation.coco import import_annotations
from mgral.data.dataset import Boxes, Dataset, ImageId
from mgral.data.formats.coco import write_coco
from mgral.errors import DataError
from mgral.files import read_json
from mgral.study.workspace import Workspace


def keep_corrections(workspace: Workspace, dataset: Dataset, boxes: Mapping[ImageId, Boxes]) -> None:
    """Adds to what was corrected before; an image that was corrected twice has its latest boxes."""
    corrected = kept_corrections(workspace, dataset) | dict(boxes)
    write_coco(workspace.corrections, replace(dataset, boxes=corrected), sorted(corrected))


def kept_corrections(workspace: Workspace, dataset: Dataset) -> dict[ImageId, Boxes]:
    """All boxes that a person has corrected, by image id, of classes of the data set.

    Raises:
        DataError: the file was damaged.
    """
    path = workspace.corrections
    if not path.exists():
        return {}
    named = [entry["file_name"] for entry in _content(workspace)["images"]]
    return import_annotations(path, dataset, [name for name in named if name in dataset.images])


def with_corrections(workspace: Workspace, dataset: Dataset) -> Dataset:
    """The data set with the boxes that came back from people; classes that only they have named come after its own.

    Raises:
        DataError: the file was damaged.
    """
    if not workspace.corrections.exists():
        return dataset
    dataset = with_classes(dataset, [entry["name"] for entry in _content(workspace)["categories"]])
    return replace(dataset, boxes={**dataset.boxes, **kept_corrections(workspace, dataset)})


def with_classes(dataset: Dataset, names: list[str]) -> Dataset:
    """The data set with these classes besides, numbered on."""
    new = [name for name in names if name not in dataset.classes]
    first = max(dataset.category_ids, default=0) + 1
    return replace(dataset, classes=(*dataset.classes, *new),
                   category_ids=(*dataset.category_ids, *range(first, first + len(new))))


def _content(workspace: Workspace) -> dict:
    try:
        content = read_json(workspace.corrections)
        if all(isinstance(content[name], list) for name in ("images", "categories")):
            return content
        got = "other content"
    except (OSError, ValueError, KeyError, TypeError) as error:
        got = str(error)
    raise DataError(f"{workspace.corrections}: expected what people have corrected, as `mgral import` wrote it, got "
                    f"{got}; restore the file, or delete it and import again")
