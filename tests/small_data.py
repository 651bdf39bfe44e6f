"""A data set of six little images with known boxes, written by hand rather than by the library's own writers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from mgral.data.dataset import Boxes, Dataset, ImageInfo

BCCD = Path(__file__).parents[2] / "shared" / "data" / "bccd"

BOXES = {
    "train": {1: [(1, [2, 3, 10, 8]), (2, [20.5, 4, 12.25, 20])], 2: [(2, [0, 0, 40, 30])], 3: []},
    "reward": {4: [(1, [5, 5, 6, 7])], 5: [(1, [1, 1, 30, 20])]},
    "test": {6: [(2, [8, 2, 9, 9])]},
}
"""By split and image: category id and x, y, width, height."""


def save_image(path: Path, width: int = 40, height: int = 30, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def coco_content(split: str) -> dict:
    boxes = [(image, category, bbox) for image, objects in BOXES[split].items() for category, bbox in objects]
    return {
        "images": [{"id": image, "file_name": f"{image}.jpg", "width": 40, "height": 30} for image in BOXES[split]],
        "annotations": [{"id": row, "image_id": image, "category_id": category, "bbox": bbox, "iscrowd": 0,
                         "area": bbox[2] * bbox[3]} for row, (image, category, bbox) in enumerate(boxes, start=1)],
        "categories": [{"id": 2, "name": "ant"}, {"id": 1, "name": "bee"}],
    }


def write_coco_set(root: Path) -> Path:
    (root / "annotations").mkdir(parents=True)
    for split, images in BOXES.items():
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(coco_content(split)))
        for image in images:
            save_image(root / "images" / f"{image}.jpg", seed=image)
    return root


def write_voc_set(root: Path) -> Path:
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for split, images in BOXES.items():
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{image}\n" for image in images))
        for image, boxes in images.items():
            save_image(root / "JPEGImages" / f"{image}.jpg", seed=image)
            objects = "".join(
                f"<object><name>{('bee', 'ant')[category - 1]}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin>"
                f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>\n" for category, (x, y, w, h) in boxes)
            (root / "Annotations" / f"{image}.xml").write_text(
                f"<annotation>\n<size><width>40</width><height>30</height></size>\n{objects}</annotation>\n")
    return root


def write_yolo_set(root: Path) -> Path:
    root.mkdir(parents=True)
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nreward: images/reward\ntest: images/test\n"
                                    "names: {0: bee, 1: ant}\n")
    for split, images in BOXES.items():
        (root / "labels" / split).mkdir(parents=True)
        for image, boxes in images.items():
            save_image(root / "images" / split / f"{image}.jpg", seed=image)
            lines = [f"{category - 1} {(x + w / 2) / 40} {(y + h / 2) / 30} {w / 40} {h / 30}\n"
                     for category, (x, y, w, h) in boxes]
            (root / "labels" / split / f"{image}.txt").write_text("".join(lines))
    return root


def blank_dataset(boxes: dict[str, list[int]], splits: dict[str, list[str]] | None = None, size: int = 32,
                  root: Path = Path("nowhere")) -> Dataset:
    """Images without files; `boxes` gives each image's labels, all in the same place."""
    last = max((label for labels in boxes.values() for label in labels), default=0)
    names = tuple(f"class{label}" for label in range(last + 1))
    images = {image_id: ImageInfo(image_id, f"{image_id}.jpg", size, size) for image_id in boxes}
    known = {image_id: Boxes.of([(1, 1, 9, 9)] * len(labels), labels) for image_id, labels in boxes.items()}
    return Dataset(root, names, tuple(range(1, len(names) + 1)), images, known,
                   {name: tuple(ids) for name, ids in (splits or {"train": list(boxes)}).items()})
