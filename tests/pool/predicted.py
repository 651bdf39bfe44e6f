"""Three little images and predictions of them, written in each form by hand."""

from __future__ import annotations

import json
from pathlib import Path

from mgral.data.dataset import ImageInfo

IMAGES = {name: ImageInfo(name, name, 40, 30) for name in ("a.jpg", "cam1/b.jpg", "cam2/b.jpg")}
FOUND = {"a.jpg": [("bee", (5, 6, 15, 12), 0.9), ("ant", (0, 0, 40, 30), 0.25)],
         "cam2/b.jpg": [("ant", (10.5, 3, 20, 9), 0.5)]}
"""By image: class, x1, y1, x2, y2 in pixels, and score; best first."""
CLASSES = ("ant", "bee")
BASE = {"image_id": 1, "category_id": 1, "bbox": [5, 5, 10, 8], "score": 0.5}


def save(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_annotations(folder: Path) -> Path:
    """A COCO file that names images and classes: ids 7, 8, 9, and 3 for ant, 5 for bee."""
    return save(folder / "instances.json", {
        "images": [{"id": row, "file_name": name, "width": 40, "height": 30} for row, name in enumerate(IMAGES, 7)],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, 0, 1, 1]}],
        "categories": [{"id": 3, "name": "ant"}, {"id": 5, "name": "bee"}]})


def coco_entries(image_ids: dict, category_ids: dict) -> list[dict]:
    return [{"image_id": image_ids[name], "category_id": category_ids[label], "score": score,
             "bbox": [x1, y1, x2 - x1, y2 - y1]}
            for name, boxes in FOUND.items() for label, (x1, y1, x2, y2), score in boxes]


def write_coco(folder: Path) -> Path:
    numbers = {name: row for row, name in enumerate(IMAGES, 7)}
    return save(folder / "results.json", coco_entries(numbers, {"ant": 3, "bee": 5}))


def write_yolo(folder: Path) -> Path:
    for name, boxes in FOUND.items():
        lines = [f"{CLASSES.index(label)} {(x1 + x2) / 80} {(y1 + y2) / 60} {(x2 - x1) / 40} {(y2 - y1) / 30} {score}\n"
                 for label, (x1, y1, x2, y2), score in boxes]
        path = (folder / "labels" / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines))
    (folder / "data.yaml").write_text("names: {0: ant, 1: bee}\n")
    return folder / "labels"


def region(label: str, corners: tuple, score: float | None, **value) -> dict:
    x1, y1, x2, y2 = corners
    return {"id": "r", "type": "rectanglelabels", "from_name": "label", "to_name": "image", "original_width": 40,
            "original_height": 30, "score": score,
            "value": {"x": x1 / 0.4, "y": y1 / 0.3, "width": (x2 - x1) / 0.4, "height": (y2 - y1) / 0.3,
                      "rotation": 0, "rectanglelabels": [label], **value}}


def task(image: str, *regions: dict, **prediction) -> dict:
    return {"data": {"image": image}, "predictions": [{"model_version": "m", "result": list(regions), **prediction}]}


def write_label_studio(folder: Path) -> Path:
    return save(folder / "tasks.json", [
        task(f"/data/local-files/?d=photos/{name}", *(region(*box) for box in boxes)) for name, boxes in FOUND.items()])
