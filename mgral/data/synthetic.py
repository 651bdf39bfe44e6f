"""A small detection problem drawn on the spot: JPEG files and COCO annotations of a forest floor.

The pool is what a camera brings home, in the order of its shots: bursts of near-copies, two frames in five empty, some
spoiled; few classes fill the rest, rare ones hide in few images. Reward and test images are more even, so that each
class can be measured. Random labelling therefore wastes most of its budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mgral.config import SyntheticConfig
from mgral.data.drawing import FLOORS, SUPERSAMPLING, floor, pebble_or_twig, spoiled, thing
from mgral.files import canonical_json, read_json, sha256, write_json

CLASSES = ("leaf", "berry", "mushroom", "flower", "beetle", "butterfly")
POOL_SHARES = (0.42, 0.27, 0.16, 0.09, 0.035, 0.025)
"""How often a class is what an image of the pool is about."""
EVENNESS = 0.5
"""Power applied to the shares for reward and test: 1 as in the pool, 0 all alike."""
FLOOR_SHARES = (0.42, 0.28, 0.16, 0.09, 0.05)
COMPANY = 0.15
"""Chance of an object to be of a class other than what its image is about."""
OBJECTS = (1, 3)
LENGTHS = (0.38, 0.62)
"""Length of an object as a share of the image, drawn log-uniformly."""
CLUTTER = (1, 6)
MOST_HIDDEN = 0.05
"""Share of an object that others may cover."""
OVERHANG = 0.0
"""Share of a thing's width or height by which it may stand over the edge."""
LEAST_INSIDE = 0.7
SHADOW = 0.6
MEASURED_FAULTS = 0.2
"""Empty and spoiled images among reward and test, relative to the pool."""
QUALITY = (55, 95)
_VERSION = "2"


@dataclass(frozen=True)
class Scene:
    """(side, side, 3) uint8 pixels, (n, 4) xyxy boxes in pixels and (n,) rows of `CLASSES`."""

    pixels: np.ndarray
    xyxy: np.ndarray
    labels: np.ndarray


def write_scenes(config: SyntheticConfig, folder: Path, seed: int) -> None:
    """Draws the scenes as `images/*.jpg` and `annotations/instances_{train,reward,test}.json`.

    Does nothing when the folder already holds the scenes of this config and seed; draws all of them again when it
    holds others or an unfinished set.
    """
    marker = folder / "scenes.json"
    key = sha256(_VERSION, canonical_json(config.model_dump(mode="json")), str(seed))
    if marker.exists() and read_json(marker) == {"sha256": key}:
        return
    marker.unlink(missing_ok=True)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    first = 1
    for split, count in (("train", config.pool), ("reward", config.reward), ("test", config.test)):
        for stale in (folder / "images").glob(f"{split}_*.jpg"):
            stale.unlink()
        _write_split(config, folder, seed, split, count, first)
        first += count
    write_json(marker, {"sha256": key})


def draw_scene(rng: np.random.Generator, side: int, even: bool = False, empty: bool = False) -> Scene:
    """One scene; `even` flattens the shares of classes and floors."""
    size = side * SUPERSAMPLING
    kind = rng.choice(list(FLOORS), p=_shares(FLOOR_SHARES, even))
    picture = floor(rng, kind, size)
    for _ in range(rng.integers(*CLUTTER)):
        _put(rng, picture, *pebble_or_twig(rng, size * rng.uniform(0.06, 0.25)))
    owner = np.full((size, size), -1, dtype=np.int16)
    labels: list[int] = []
    theme = rng.choice(len(CLASSES), p=_shares(POOL_SHARES, even))
    for _ in range(0 if empty else rng.integers(OBJECTS[0], OBJECTS[1] + 1)):
        label = rng.choice(len(CLASSES), p=_shares(POOL_SHARES, even)) if rng.random() < COMPANY else theme
        length = size * np.exp(rng.uniform(*np.log(LENGTHS)))
        if _put(rng, picture, *thing(rng, CLASSES[label], length), owner, len(labels)):
            labels.append(int(label))
    pixels = picture.clip(0, 255).astype(np.uint8)
    small = np.asarray(Image.fromarray(pixels).reduce(SUPERSAMPLING))
    boxes = [_box(owner == row) for row in range(len(labels))]
    return Scene(small, np.array(boxes, dtype=np.float64).reshape(-1, 4) / SUPERSAMPLING, np.array(labels, dtype=int))


def near_copy(rng: np.random.Generator, scene: Scene) -> Scene:
    """The same scene a moment later: a slightly closer crop, other light, new noise."""
    side = len(scene.pixels)
    crop = side * rng.uniform(0.86, 1.0)
    x, y = rng.uniform(0, side - crop, 2)
    image = Image.fromarray(scene.pixels).resize((side, side), Image.Resampling.BICUBIC, (x, y, x + crop, y + crop))
    pixels = np.asarray(image, dtype=np.float32) * rng.uniform(0.85, 1.15) + rng.normal(0, 3, scene.pixels.shape)
    xyxy = ((scene.xyxy - (x, y, x, y)) * side / crop).clip(0, side)
    # What the crop leaves less than half of is no longer worth a box.
    left = _area(xyxy) > 0.5 * _area(scene.xyxy) * (side / crop) ** 2
    return Scene(pixels.clip(0, 255).astype(np.uint8), xyxy[left], scene.labels[left])


def _write_split(config: SyntheticConfig, folder: Path, seed: int, split: str, count: int, first: int) -> None:
    images, annotations, sources = [], [], _sources(config, seed, split, count)
    for row in range(count):
        scene, quality = _shot(config, seed, split, row, int(sources[row]))
        name = f"{split}_{row + 1:05d}.jpg"
        Image.fromarray(scene.pixels).save(folder / "images" / name, quality=quality)
        images.append({"id": first + row, "file_name": name, "width": config.image_size, "height": config.image_size})
        for (x1, y1, x2, y2), label in zip(scene.xyxy.tolist(), scene.labels.tolist(), strict=True):
            xywh = [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)]
            annotations.append({"id": len(annotations) + 1, "image_id": first + row, "category_id": label + 1,
                                "bbox": xywh, "area": xywh[2] * xywh[3], "iscrowd": 0, "segmentation": []})
    categories = [{"id": row, "name": name, "supercategory": ""} for row, name in enumerate(CLASSES, start=1)]
    write_json(folder / "annotations" / f"instances_{split}.json",
               {"images": images, "annotations": annotations, "categories": categories})


def _sources(config: SyntheticConfig, seed: int, split: str, count: int) -> np.ndarray:
    """Which image (count,) each one shows again: itself, or in the pool the first of a burst of near-copies."""
    rows = np.arange(count)
    if split != "train":
        return rows
    again = np.random.default_rng([seed, *split.encode()]).random(count) < config.duplicates
    again[:1] = False
    return np.maximum.accumulate(np.where(again, 0, rows))


def _shot(config: SyntheticConfig, seed: int, split: str, row: int, source: int) -> tuple[Scene, int]:
    """Image `row` of a split, which shows the scene of image `source`, and the quality of its JPEG. Depends on nothing
    but the arguments."""
    even = split != "train"
    faults = MEASURED_FAULTS if even else 1.0
    rng = np.random.default_rng([seed, *split.encode(), row])
    drawing = np.random.default_rng([seed, *split.encode(), source, 1])
    scene = draw_scene(drawing, config.image_size, even, drawing.random() < config.empty * faults)
    if source != row:
        scene = near_copy(rng, scene)
    if rng.random() < config.spoiled * faults:
        scene = Scene(np.asarray(spoiled(rng, Image.fromarray(scene.pixels))), scene.xyxy, scene.labels)
    return scene, int(rng.integers(*QUALITY))


def _put(rng: np.random.Generator, picture: np.ndarray, colours: np.ndarray, mask: np.ndarray,
         owner: np.ndarray | None = None, number: int = 0) -> bool:
    """Lays a thing with its shadow somewhere on the picture; false if it found no place that leaves others visible."""
    extent = np.array(mask.shape)
    for _ in range(8):
        y, x = (int(start) for start in rng.uniform(-OVERHANG * extent, len(picture) - (1 - OVERHANG) * extent))
        on, of = _overlap(len(picture), mask.shape, y, x)
        seen = mask[of]
        if owner is not None and (seen.sum() < LEAST_INSIDE * mask.sum() or _hides(owner[on], seen, owner)):
            continue
        shade, part = _overlap(len(picture), mask.shape, y + SUPERSAMPLING, x + SUPERSAMPLING)
        picture[shade][mask[part]] *= SHADOW
        picture[on][seen] = colours[of][seen]
        if owner is not None:
            owner[on][seen] = number
        return True
    return False


def _overlap(size: int, extent: tuple[int, ...], y: int, x: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the picture that a thing at y, x covers, and the part of the thing that lies on the picture."""
    spans = [(max(start, 0), max(min(start + length, size), 0)) for start, length in zip((y, x), extent, strict=True)]
    on = tuple(slice(low, high) for low, high in spans)
    of = tuple(slice(low - start, high - start) for (low, high), start in zip(spans, (y, x), strict=True))
    return (on[0], on[1]), (of[0], of[1])


def _hides(covered: np.ndarray, seen: np.ndarray, owner: np.ndarray) -> bool:
    """Whether laying a thing here would cover too much of one that lies there already."""
    numbers, counts = np.unique(covered[seen], return_counts=True)
    return any(count > MOST_HIDDEN * (owner == number).sum()
               for number, count in zip(numbers, counts, strict=True) if number >= 0)


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def _area(xyxy: np.ndarray) -> np.ndarray:
    return (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])


def _shares(shares: tuple[float, ...], even: bool) -> np.ndarray:
    powered = np.asarray(shares) ** (EVENNESS if even else 1.0)
    return powered / powered.sum()
