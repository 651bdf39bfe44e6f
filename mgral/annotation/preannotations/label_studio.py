"""Label Studio: tasks with one prediction each, boxes in percent, and the labelling interface that fits them.

An image's address is that of Label Studio's local files below the parent of the folder of images, for it shows nothing
that lies in its root itself; the image's path stands beside it, so that what comes back can be matched by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as Xml  # to write only

from mgral.annotation.proposals import Proposal, proposals
from mgral.data.dataset import Dataset, ImageId, ImageInfo
from mgral.data.formats.text import legal
from mgral.files import write_json, writing
from mgral.pool.inspection import Detections

LABEL, IMAGE = "label", "image"
"""Names of the two parts of the labelling interface, which each region repeats."""
LOCAL_FILES = "/data/local-files/?d="
"""Where Label Studio shows files of its machine, by their path below the folder that it was started with."""


def write_label_studio(folder: Path, dataset: Dataset, ids: Sequence[ImageId],
                       detections: Mapping[ImageId, Detections], info: Mapping[str, Any]) -> tuple[Path, Path]:
    """Writes tasks.json, to import, and label_config.xml, to paste as the labelling interface."""
    folder_name = dataset.root.resolve().name
    local = {image_id: LOCAL_FILES + quote(f"{folder_name}/{dataset.images[image_id].file_name}") for image_id in ids}
    write_json(folder / "tasks.json", tasks_of(dataset, ids, detections, info, local))
    with writing(folder / "label_config.xml") as temporary:
        temporary.write_text(label_config(dataset.classes), encoding="utf-8")
    return folder / "tasks.json", folder / "label_config.xml"


def label_config(classes: Sequence[str]) -> str:
    """The labelling interface, as XML: rectangles of these classes on an image."""
    view = Xml.Element("View")
    rectangles = Xml.SubElement(view, "RectangleLabels", {"name": LABEL, "toName": IMAGE})
    for name in classes:
        Xml.SubElement(rectangles, "Label", {"value": legal(name)})
    Xml.SubElement(view, "Image", {"name": IMAGE, "value": f"${IMAGE}", "zoom": "true"})
    Xml.indent(view)
    return Xml.tostring(view, encoding="unicode") + "\n"


def tasks_of(dataset: Dataset, ids: Sequence[ImageId], detections: Mapping[ImageId, Detections],
             info: Mapping[str, Any], addresses: Mapping[ImageId, str]) -> list[dict[str, Any]]:
    """The tasks of those images of a batch that have an address; a task's `rank` is its place in the whole batch."""
    version = " ".join(str(value) for value in info.values())
    return [_task(rank, dataset.images[image_id], dataset.classes, detections[image_id], version, addresses[image_id])
            for rank, image_id in enumerate(ids, start=1) if image_id in addresses]


def _task(rank: int, image: ImageInfo, classes: Sequence[str], found: Detections, version: str,
          address: str) -> dict[str, Any]:
    boxes = proposals(image, found)
    regions = [_region(f"{rank}-{number}", image, legal(classes[box.label]), box)
               for number, box in enumerate(boxes, start=1)]
    score = max((box.score for box in boxes), default=0.0)
    predictions = [{"model_version": version, "score": score, "result": regions}] if boxes else []
    return {"data": {"image": address, "path": image.file_name, "rank": rank}, "predictions": predictions}


def _region(name: str, image: ImageInfo, label: str, box: Proposal) -> dict[str, Any]:
    x1, y1, x2, y2 = box.corners
    percent = {"x": x1 / image.width, "y": y1 / image.height, "width": (x2 - x1) / image.width,
               "height": (y2 - y1) / image.height}
    return {"id": name, "type": "rectanglelabels", "from_name": LABEL, "to_name": IMAGE, "image_rotation": 0,
            "original_width": image.width, "original_height": image.height, "score": box.score,
            "value": {side: round(100 * share, 6) for side, share in percent.items()}
            | {"rotation": 0, "rectanglelabels": [label]}}
