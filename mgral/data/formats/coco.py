"""COCO: one JSON file a split, boxes as x, y, width, height in pixels, categories by stable ids.

Looked for, in this order: `annotations/instances_<split>.json`, `annotations/<split>.json`,
`<split>/_annotations.coco.json`, `<split>.json`; images in `images/`, `images/<split>/`, `<split>/` and the folder
itself. An image without annotations counts as looked at and empty, as COCO means it. `iscrowd` becomes `ignore`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mgral.data.dataset import Dataset, ImageId
from mgral.data.formats.source import Folder, Source, SourceBox, SourceImage, numbers, text_of
from mgral.files import write_json


@dataclass(frozen=True, slots=True)
class Document:
    """One COCO file: `categories` from id to name; `entries` the image entries as written, by image id."""

    path: Path
    categories: Mapping[int, str]
    images: tuple[SourceImage, ...]
    entries: Mapping[ImageId, Mapping[str, Any]]


def read(root: Path, pool: str, measured: Sequence[str], problems: list[str]) -> Source:
    """Reads the splits' files; adds to `problems` whatever is wrong with their form."""
    images, categories, folder = [], {}, Folder(root)
    for split in (pool, *measured):
        document = read_document(_annotation_file(root, split), problems)
        images += [replace(image, split=split, file_name=_image_file(folder, split, image.file_name))
                   for image in document.images]
        _join(categories, document, problems)
    classes = {name: number for number, name in sorted(categories.items())}
    return Source(root, classes, tuple(images))


def read_document(path: Path, problems: list[str]) -> Document:
    """Reads one file and checks its form, not yet its images and boxes; what is malformed is left out."""
    parts = _parts(path, problems)
    categories: dict[int, str] = {}
    for row, entry in enumerate(parts["categories"]):
        _add_category(f"{path}: category {entry.get('id', f'at row {row}')!r}", entry, categories, problems)
    entries: dict[ImageId, Mapping[str, Any]] = {}
    for row, entry in enumerate(parts["images"]):
        _add_image(f"{path}: image {entry.get('id', f'at row {row}')!r}", entry, entries, problems)
    boxes: dict[ImageId, list[SourceBox]] = {image_id: [] for image_id in entries}
    seen: set[str] = set()
    for row, entry in enumerate(parts["annotations"]):
        where = f"{path}: annotation {entry.get('id', f'at row {row}')!r}"
        _add_box(where, entry, categories, boxes, problems)
        if where in seen:
            problems.append(f"{where}: expected an id of its own, got one used before; renumber the annotations")
        seen.add(where)
    images = tuple(SourceImage(f"{path}: image {entry['id']!r}", image_id, entry["file_name"], "",
                               tuple(boxes[image_id]), _size(entry)) for image_id, entry in entries.items())
    return Document(path, categories, images, entries)


def write_coco(path: Path, dataset: Dataset, ids: Sequence[ImageId]) -> None:
    """Writes the true boxes of these images; file names are relative to the data set's root.

    Image ids are kept where all are numbers from 1, else they count from 1.

    Raises:
        ValueError: an image without annotation, which COCO would take for an empty one.
    """
    missing = [image_id for image_id in ids if image_id not in dataset.boxes]
    if missing:
        raise ValueError(f"expected annotated images, got {', '.join(missing)} without annotation")
    boxes = [(image_id, xyxy, label, {"iscrowd": int(ignore)}) for image_id in ids
             for xyxy, label, ignore in zip(*_columns(dataset, image_id), strict=True)]
    write_json(path, document(dataset, ids, boxes))


def document(dataset: Dataset, ids: Sequence[ImageId], boxes: Sequence[tuple[ImageId, Sequence[float], int, Mapping]],
             keep_ids: bool = True) -> dict[str, list]:
    """The three lists of a COCO file; `boxes` are (image id, xyxy, row of the class, further keys)."""
    numeric = keep_ids and all(image_id.isdecimal() and image_id[0] != "0" for image_id in ids)
    number = {image_id: int(image_id) if numeric else row for row, image_id in enumerate(ids, start=1)}
    infos = [dataset.images[image_id] for image_id in ids]
    return {
        "images": [{"id": number[info.id], "file_name": info.file_name, "width": info.width, "height": info.height}
                   for info in infos],
        "annotations": [_annotation(row, number[image_id], dataset.category_ids[label], xyxy) | dict(more)
                        for row, (image_id, xyxy, label, more) in enumerate(boxes, start=1)],
        "categories": [{"id": category, "name": name, "supercategory": ""}
                       for category, name in zip(dataset.category_ids, dataset.classes, strict=True)],
    }


def xyxy_to_xywh(xyxy: Sequence[float]) -> list[float]:
    """x, y, width, height in the fewest digits from which the same float32 corners come back."""
    x1, y1, x2, y2 = (float(str(np.float32(coordinate))) for coordinate in xyxy)
    return [x1, y1, round(x2 - x1, 9), round(y2 - y1, 9)]


def _columns(dataset: Dataset, image_id: ImageId) -> tuple[list, list, list]:
    boxes = dataset.boxes[image_id]
    return boxes.xyxy.tolist(), boxes.labels.tolist(), boxes.ignore.tolist()


def _annotation(row: int, image: int, category: int, xyxy: Sequence[float]) -> dict[str, Any]:
    xywh = xyxy_to_xywh(xyxy)
    return {"id": row, "image_id": image, "category_id": category, "bbox": xywh,
            "area": round(xywh[2] * xywh[3], 3), "iscrowd": 0, "segmentation": []}


def _annotation_file(root: Path, split: str) -> Path:
    candidates = [root / "annotations" / f"instances_{split}.json", root / "annotations" / f"{split}.json",
                  root / split / "_annotations.coco.json", root / f"{split}.json"]
    return next((path for path in candidates if path.is_file()), candidates[0])


def _image_file(folder: Folder, split: str, name: str) -> str:
    """Where the image lies below the root; a name that leaves the folder or is nowhere stays, to be refused later."""
    if name not in folder:
        return name
    places = [str(Path(place) / name) for place in ("images", f"images/{split}", split, "")]
    return next((place for place in places if (folder.root / place).is_file()), places[0])


def _join(categories: dict[int, str], document: Document, problems: list[str]) -> None:
    for number, name in document.categories.items():
        if categories.get(number, name) != name or (name in categories.values() and number not in categories):
            problems.append(f"{document.path}: category {number}: expected the same ids and names in all splits, got "
                            f"{name!r} beside {categories}; number the categories alike")
        categories.setdefault(number, name)


def _parts(path: Path, problems: list[str]) -> dict[str, list[dict]]:
    """The file's three lists of objects; empty ones where the file has none."""
    nothing: dict[str, list[dict]] = {"images": [], "annotations": [], "categories": []}
    text = text_of(path, "a COCO annotation file", problems)
    if text is None:
        return nothing
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        problems.append(f"{path}:{error.lineno}: expected JSON, got an error at column {error.colno} ({error.msg}); "
                        "write the file again")
        return nothing
    except RecursionError:
        problems.append(f"{path}: expected a COCO file, got JSON nested too deeply; write the file again")
        return nothing
    for name in nothing:
        part = content.get(name) if isinstance(content, dict) else None
        if not isinstance(part, list) or not all(isinstance(entry, dict) for entry in part):
            problems.append(f"{path}: expected a list of objects under {name!r}, got {type(part).__name__}; "
                            "check that it is a COCO annotation file")
        else:
            nothing[name] = part
    return nothing


def _add_category(where: str, entry: Mapping, categories: dict[int, str], problems: list[str]) -> None:
    number, name = entry.get("id"), entry.get("name")
    if not _is_integer(number) or not isinstance(name, str):
        problems.append(f"{where}: expected a whole number as id and a name, got {number!r} and {name!r}; correct it")
    elif number in categories or name in categories.values():
        problems.append(f"{where}: expected an id and a name of its own, got {name!r} among {categories}; correct it")
    else:
        categories[number] = name


def _add_image(where: str, entry: Mapping, entries: dict[ImageId, Mapping], problems: list[str]) -> None:
    number, name = entry.get("id"), entry.get("file_name")
    size = entry.get("width"), entry.get("height")
    if not (_is_integer(number) or isinstance(number, str)) or not isinstance(name, str) or not name:
        problems.append(f"{where}: expected an id and a file_name, got {number!r} and {name!r}; correct it")
    elif size != (None, None) and not all(_is_integer(side) and side > 0 for side in size):
        problems.append(f"{where}: expected width and height as whole numbers above 0, got {size!r}; correct them")
    elif str(number) in entries:
        problems.append(f"{where}: expected an id of its own, got that of {entries[str(number)]['file_name']!r}; "
                        "renumber the images")
    else:
        entries[str(number)] = entry


def _add_box(where: str, entry: Mapping, categories: Mapping[int, str], boxes: Mapping[ImageId, list[SourceBox]],
             problems: list[str]) -> None:
    image, category = str(entry.get("image_id")), entry.get("category_id")
    if image not in boxes:
        problems.append(f"{where}: expected the id of an image in this file, got {entry.get('image_id')!r}; "
                        "remove it or add the image")
    xywh = numbers(entry.get("bbox"), 4, where, problems)
    if not _is_integer(category) or category not in categories:
        problems.append(f"{where}: expected a category id of {sorted(categories)}, got {category!r}; correct it")
    elif xywh and image in boxes:
        x, y, width, height = xywh
        boxes[image].append(SourceBox(where, categories[category], (x, y, x + width, y + height),
                                      entry.get("iscrowd") == 1))


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _size(entry: Mapping) -> tuple[int, int] | None:
    return None if entry.get("width") is None else (entry["width"], entry["height"])
