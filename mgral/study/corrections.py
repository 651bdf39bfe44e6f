"""What people have corrected, image by image, kept apart from everything that is computed.

No run writes here, only an import does; so whatever is computed again, a person's boxes come back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mgral.annotation.coco import import_annotations
from mgral.data.dataset import Boxes, Dataset, ImageId
from mgral.data.formats.coco import read_document, write_coco
from mgral.errors import DataError
from mgral.study.workspace import Workspace


def keep_corrections(workspace: Workspace, dataset: Dataset, boxes: Mapping[ImageId, Boxes]) -> None:
    """Adds to what was corrected before; an image that was corrected twice has its latest boxes."""
    corrected = kept_corrections(workspace, dataset) | dict(boxes)
    write_coco(workspace.corrections, replace(dataset, boxes=corrected), sorted(corrected))


def kept_corrections(workspace: Workspace, dataset: Dataset) -> dict[ImageId, Boxes]:
    """All boxes that a person has corrected, by image id.

    Raises:
        DataError: the file was damaged.
    """
    path = workspace.corrections
    if not path.exists():
        return {}
    problems: list[str] = []
    images = read_document(path, problems).images
    if problems:
        raise DataError(*problems)
    named = {info.file_name: image_id for image_id, info in dataset.images.items()}
    return import_annotations(path, dataset, [named[image.file_name] for image in images if image.file_name in named])
