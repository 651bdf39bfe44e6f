"""A batch for the tests, and what tools make of the files that they get."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mgral.annotation.preannotations import write_preannotations
from mgral.data.dataset import Dataset, ImageInfo
from mgral.pool.inspection import Detections
from tests.small_data import save_image

INFO = {"strategy": "random", "seed": 0}


def data_set(root: Path, sizes: dict[str, tuple[int, int]], classes: Sequence[str] = ("ant", "bee")) -> Dataset:
    """Images that nobody opens: only their names and sizes count."""
    for name in sizes:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"picture")
    images = {name: ImageInfo(name, name, *size) for name, size in sizes.items()}
    return Dataset(root, tuple(classes), tuple(range(1, len(classes) + 1)), images, {})


def pictures(root: Path, sizes: dict[str, tuple[int, int]], classes: Sequence[str]) -> Dataset:
    """Images that other libraries can open."""
    for name, size in sizes.items():
        save_image(root / name, *size)
    images = {name: ImageInfo(name, name, *size) for name, size in sizes.items()}
    return Dataset(root, tuple(classes), tuple(range(1, len(classes) + 1)), images, {})


def detections(*boxes) -> Detections:
    """Of boxes (corners, label), all sure."""
    corners, labels = zip(*boxes, strict=True) if boxes else ((), ())
    return Detections(np.array(corners, np.float32).reshape(-1, 4), np.full(len(boxes), 0.9, np.float32),
                      np.array(labels, dtype=np.int64))


def came_back(kind: str, folder: Path, dataset: Dataset, ids: Sequence[str], found: dict[str, Detections]) -> Path:
    """What an annotator gives back who finds all boxes as they should be: a file or, of `voc` and `yolo`, a folder."""
    path = write_preannotations(kind, folder, dataset, ids, found, INFO)[0]
    if kind == "label-studio":
        finish(path)
    return path


def finish(path: Path) -> Path:
    """Makes of Label Studio's tasks what it exports when all predictions were accepted."""
    tasks = json.loads(path.read_text())
    for number, task in enumerate(tasks, start=1):
        result = [{key: value for key, value in region.items() if key != "score"}
                  for prediction in task["predictions"] for region in prediction["result"]]
        task |= {"id": 100 + number, "annotations": [{"id": number, "result": result, "was_cancelled": False,
                                                      "lead_time": 2.5}], "predictions": []}
    path.write_text(json.dumps(tasks))
    return path


def zipped(path: Path) -> Path:
    """The same as an archive, as tools hand it out."""
    if path.is_file():
        inside = path.parent / f"{path.name}.content"
        inside.mkdir()
        shutil.copy(path, inside / path.name)
        path = inside
    return Path(shutil.make_archive(str(path.parent / f"{path.name} packed"), "zip", path))
