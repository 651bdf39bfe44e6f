"""A batch as it is handed out: its pictures, and what to do with its files in each annotation tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mgral.annotation.proposals import MIN_SCORE
from mgral.data.dataset import Dataset, ImageId
from mgral.pool.inspection import Detections
from mgral.report.gallery import draw_gallery
from mgral.report.page import write_page
from mgral.study.results import Choice

PICTURES = ("chosen.jpg", "batch.html")
FILES = {
    "tasks.json": "to import in Label Studio", "label_config.xml": "its labelling interface",
    "annotations.xml": "to upload in CVAT (CVAT for images 1.1)", "preannotations.json": "COCO with scores",
    "cvat-coco": "to upload in CVAT (COCO 1.0)", "voc": "images and XML files", "yolo": "images and text files"}


def show_batch(folder: Path, dataset: Dataset, choice: Choice, detections: Mapping[ImageId, Detections], title: str,
               options: str | None) -> None:
    """Writes `PICTURES` of a study's batch; `detections` is empty where no model has looked at it.

    `options` are what `mgral import` and `mgral export` are given for this batch; None where the labels are known.

    Raises:
        DataError: image files that cannot be read.
    """
    ranked, nothing = choice.ranked(), Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32),
                                                  np.zeros(0, np.int64))
    draw_gallery(folder / PICTURES[0], dataset, choice.ids,
                 {image_id: detections.get(image_id, nothing) for image_id in choice.ids}, reasons=choice.reasons)
    write_page(folder / PICTURES[1], dataset, ranked.ids, detections, ranked.reasons, ranked.scores, title,
               _steps(options, any(len(seen.above(MIN_SCORE)) for seen in detections.values())))


def _steps(options: str | None, with_boxes: bool) -> list[str]:
    if options is None:
        return ["Nothing: the labels of these images are known, and mgral takes them."]
    boxes = "correct the model's boxes, and draw" if with_boxes else "draw"
    return [f"In your annotation tool {boxes} every object. All images have to be looked at; one without any object "
            "stays empty.",
            f"The batch for your tool: mgral export{options} --to label-studio (or cvat, cvat-coco, coco, voc, yolo).",
            f"What comes back: mgral import{options} FILE"]


def in_words(path: Path) -> str:
    """A file of a batch, and what it is for."""
    return f"{path}: {FILES.get(path.name, 'for annotators')}"


def next_step(kind: str, files: Sequence[Path], images: Path, listed: str) -> str:
    """What to do with the files of a batch in the tool that reads this format; `images` is the data set's folder,
    `listed` says which of its images the batch has."""
    names = {path.name: path for path in files}
    if kind == "label-studio":
        shown = images.resolve()
        return (f"let Label Studio serve local files of {shown.parent} (LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true, "
                f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT), add {shown} to the project as a local storage, paste "
                "label_config.xml, import tasks.json")
    if kind.startswith("cvat"):
        form = "CVAT 1.1" if kind == "cvat" else "COCO 1.0"
        return f"make a CVAT task of {listed}, then upload {', '.join(names)} as annotations ({form})"
    where = ", ".join(map(str, files))
    return {"voc": f"open {where} in a tool that reads Pascal VOC, and correct the boxes there",
            "yolo": f"open {where} in a tool that reads YOLO, and correct the boxes there"}.get(
                kind, f"correct the boxes in {where} with a tool that reads COCO, beside {listed}")
