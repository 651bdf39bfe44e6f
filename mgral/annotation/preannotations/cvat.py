"""CVAT for images 1.1: one XML file; images are matched by name, which is the path below the folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml  # to write only

from mgral.annotation.proposals import proposals
from mgral.data.dataset import Dataset, ImageId
from mgral.data.formats.text import legal
from mgral.files import writing
from mgral.pool.inspection import Detections


def write_cvat(path: Path, dataset: Dataset, ids: Sequence[ImageId], detections: Mapping[ImageId, Detections],
               info: Mapping[str, Any]) -> Path:
    """Writes images, labels and boxes. CVAT has no score, so it is an attribute of each label; `info` a comment."""
    root = Xml.Element("annotations")
    Xml.SubElement(root, "version").text = "1.1"
    task = Xml.SubElement(Xml.SubElement(root, "meta"), "task")
    for tag, text in (("name", " ".join(f"{key} {value}" for key, value in info.items())), ("size", len(ids)),
                      ("mode", "annotation")):
        Xml.SubElement(task, tag).text = legal(str(text))
    labels = Xml.SubElement(task, "labels")
    for name in dataset.classes:
        _add_label(labels, name)
    for number, image_id in enumerate(ids):
        _add_image(root, number, dataset, image_id, detections[image_id])
    Xml.indent(root)
    with writing(path) as temporary:
        temporary.write_bytes(Xml.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")
    return path


def _add_label(labels: Xml.Element, name: str) -> None:
    label = Xml.SubElement(labels, "label")
    Xml.SubElement(label, "name").text = legal(name)
    Xml.SubElement(label, "type").text = "bbox"
    attribute = Xml.SubElement(Xml.SubElement(label, "attributes"), "attribute")
    for tag, text in (("name", "score"), ("mutable", "False"), ("input_type", "text"), ("default_value", ""),
                      ("values", "")):
        Xml.SubElement(attribute, tag).text = text


def _add_image(root: Xml.Element, number: int, dataset: Dataset, image_id: ImageId, found: Detections) -> None:
    info = dataset.images[image_id]
    image = Xml.SubElement(root, "image", {"id": str(number), "name": legal(info.file_name), "width": str(info.width),
                                           "height": str(info.height)})
    for proposal in proposals(info, found):
        sides = dict(zip(("xtl", "ytl", "xbr", "ybr"), (f"{side:.2f}" for side in proposal.corners), strict=True))
        box = Xml.SubElement(image, "box", {"label": legal(dataset.classes[proposal.label]), "source": "auto",
                                            "occluded": "0", **sides, "z_order": "0"})
        Xml.SubElement(box, "attribute", {"name": "score"}).text = f"{proposal.score:.4f}"
