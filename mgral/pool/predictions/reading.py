"""Which form a file of predictions has, and what all forms become: classes, and the detections of every image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mgral.data.dataset import ImageId, ImageInfo
from mgral.errors import DataError
from mgral.findings import Findings
from mgral.pool.image_names import ImageNames
from mgral.pool.inspection import DetectionSequence
from mgral.pool.predictions import coco, label_studio, yolo
from mgral.pool.predictions.columns import Columns, Matched, detections_of, sizes_of
from mgral.pool.predictions.content import load_json

PICKLED = (".pkl", ".pickle", ".pt", ".pth")


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a detector of any kind found in N images, in their order.

    `classes` are category ids by name, in the order of the detections' labels; `form` says what was read; `mentioned`
    images are named there, in the others nothing was found.
    """

    classes: Mapping[str, int]
    detections: DetectionSequence
    form: str
    mentioned: int
    notes: tuple[str, ...] = ()


def read_predictions(path: Path, images: Mapping[ImageId, ImageInfo], annotations: Path | None = None,
                     classes: Mapping[str, int] | None = None) -> Predictions:
    """Reads COCO results (JSON), Label Studio's tasks with predictions (JSON), or a folder of YOLO's text files with
    confidence (`class centre-x centre-y width height confidence`).

    Args:
        images: those predicted on; boxes in shares of the image become pixels by their sizes.
        annotations: a COCO file whose image and category ids COCO results use; data.yaml or classes.txt for YOLO.
        classes: category ids by name, for predictions that only number their classes.

    Raises:
        DataError: all that is wrong with the files, like faults counted.
    """
    findings = Findings()
    matched = Matched(ImageNames(images), {image_id: row for row, image_id in enumerate(images)}, findings)
    sizes, known = sizes_of(images), dict(classes or {})
    form, names, columns = "", {}, Columns(str)
    if path.is_dir() or path.suffix.lower() == ".txt":
        form, names, columns = yolo.read(path, annotations, known, matched, sizes)
    elif path.suffix.lower() in PICKLED:
        findings.problem(f"{path}: expected JSON or a folder of text files, got a pickle, which may run any code; let "
                         "mmdet write COCO results: test_evaluator.format_only=True test_evaluator.outfile_prefix=NAME")
    else:
        form, names, columns = _from_json(path, annotations, known, matched, sizes)
    matched.report(path)
    if findings.problems:
        raise DataError(*findings.problems)
    detections = detections_of(columns, sizes, findings)
    if not names:
        findings.problem(f"{path}: expected at least one detection, got none in any file; predict with a lower "
                         "threshold")
    if findings.problems:
        raise DataError(*findings.problems)
    return Predictions(_with_ids(names), detections, form, len(matched.met), findings.notes)


def _with_ids(classes: Mapping[str, int]) -> dict[str, int]:
    """The category ids that are above 0, as annotation tools want them; the next free numbers for the others."""
    numbered = {name: number for name, number in classes.items() if number > 0}
    free = max(numbered.values(), default=0)
    return {name: numbered.get(name) or (free := free + 1) for name in classes}


def _from_json(path: Path, annotations: Path | None, classes: Mapping[str, int], matched: Matched,
               sizes: np.ndarray) -> tuple[str, Mapping[str, int], Columns]:
    entries = coco.Entries(path, annotations is None, matched.findings)
    content = load_json(path, "predictions", matched.findings, entries.take)
    if content is None and matched.findings.problems:
        return "", {}, Columns(str)
    if entries.count:
        return coco.read(entries, content, annotations, classes, matched)
    if annotations is not None:
        matched.findings.problem(f"--annotations {annotations}: expected none, as {path} holds no COCO results whose "
                                 "ids it could explain; leave it out")
    return label_studio.read(path, content, classes, matched, sizes)
