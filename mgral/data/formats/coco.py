"""COCO: JSON files with images, boxes as x, y, width, height in pixels, and categories by stable ids.

An image is its file, never its number: ids count within a file only. An image that is listed without a box counts as
looked at and empty, as COCO means it, unless `data.without_boxes` says otherwise; one of a file that has no list of
annotations, or that lies in the folder but is not listed, is not annotated. `iscrowd` becomes `ignore`. A split is a
file: `instances_train.json`, `train.json` or `train/_annotations.coco.json` is "train".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mgral.data.dataset import Dataset, ImageId
from mgral.data.formats.coco_columns import SET, STRETCH, columns_of
from mgral.data.formats.coco_entries import corners_of, key_of, name_of, size_of, turned, whole_number
from mgral.data.formats.detecting import Found
from mgral.data.formats.reading import Corners, Given, Reading, meaning, shown
from mgral.data.formats.text import is_text
from mgral.data.formats.uploads import Uploads, is_renamed
from mgral.files import write_json
from mgral.findings import Findings

LISTS = ("images", "annotations", "categories")


@dataclass
class Categories:
    """The classes of all files: their ids by name, None for an id that is no number, and those that only group
    others."""

    ids: dict[str, set[int | None]] = field(default_factory=dict)
    groups: dict[str, int | None] = field(default_factory=dict)


@dataclass
class File:
    """One COCO file while it is read: names of categories and images, and rows of images, by id as text.

    None is the row of an image that another file listed before; its boxes are compared with that file's.
    """

    path: Path
    uploads: Uploads
    categories: dict[str, str] = field(default_factory=dict)
    rows: dict[str, int | None] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    again: dict[str, list[tuple[str, Corners]]] = field(default_factory=dict)


def read(reading: Reading, found: Found, given: Given) -> None:
    """Reads all files; adds to the findings whatever is wrong with their form."""
    if not found.files:
        reading.findings.problem(f"{reading.folder.root}: expected a COCO annotation file, got none below it; name it "
                                 "in data.annotations")
    categories = Categories()
    for name in found.files:
        path = reading.folder.root / name
        parts = parts_of(path, found.parsed.pop(name, None), reading.findings)
        split = split_name(name, len(found.files) > 1)
        read_file(reading, path, parts, reading.near(_places(name, split, given)), split, categories)
    _number_classes(reading, categories)


def read_file(reading: Reading, path: Path, parts: Mapping[str, list | None], places: Sequence[str],
              split: str | None = None, categories: Categories | None = None) -> None:
    """Reads the three lists of a file; its images are looked for in these places, and are those of a split.

    `categories` collects the classes.
    """
    file, annotations = File(path, Uploads(reading)), parts["annotations"]
    _add_categories(file, parts["categories"] or (), annotations or (), reading.findings, categories or Categories())
    for row, entry in enumerate(parts["images"] or ()):
        _add_image(reading, file, f"{path}: image {name_of(entry, row)}", entry, places, split, annotations is not None)
    if annotations is None:
        if parts["images"]:
            reading.findings.note(f"{path}: has no list of annotations: images that only it names are not annotated")
        return
    repeated = _add_boxes(reading, file, annotations)
    if repeated:
        reading.findings.note(f"{path}: {repeated} annotations have an id that another has; they are counted afresh")
    scored = sum("score" in entry for entry in annotations)
    if scored:
        reading.findings.note(f"{path}: {scored} of {len(annotations)} annotations have a score, as predictions have; "
                              "they are taken as true")
    _compare(reading, file)


def parts_of(path: Path, content: Any, findings: Findings) -> dict[str, list[dict] | None]:
    """The file's three lists of objects: None for annotations that it does not have, all empty where it cannot be
    read."""
    nothing: dict[str, list[dict] | None] = {name: [] for name in LISTS}
    if content is None:
        return nothing
    parts = {name: content.get(name) if isinstance(content, dict) else None for name in LISTS}
    wrong = [name for name, part in parts.items() if not (
        (isinstance(part, list) and all(isinstance(entry, dict) for entry in part)) or
        (part is None and (name == "annotations" or (name == "categories" and not parts["annotations"]))
         and isinstance(parts["images"], list)))]
    for name in wrong:
        findings.problem(f"{path}: expected a list of objects under {name!r}, got {type(parts[name]).__name__}; check "
                         "that it is a COCO annotation file")
    return nothing if wrong else parts


def split_name(path: str, several: bool = False) -> str | None:
    """The split that a COCO file is of, by its name or its folder's; of `several` files each is one."""
    name, folder = PurePosixPath(path).name, PurePosixPath(path).parent.name
    stem = name[:-5] if name.lower().endswith(".json") else name
    if stem == "_annotations.coco" and folder:
        return folder
    instances = stem.startswith("instances_")
    stem = stem.removeprefix("instances_")
    known = [token for token in re.split(r"[-_. ]+", stem) if meaning(token)]
    if len({meaning(token) for token in known}) == 1:
        return known[0]
    if instances:
        return stem
    return folder if meaning(folder) else stem if several else None


def _places(name: str, split: str | None, given: Given) -> list[str]:
    """Folders in which a file's images may lie, from the likeliest on."""
    beside = str(PurePosixPath(name).parent)
    near = [beside, f"{beside}/images", "images", "", *([f"images/{split}", f"{split}/images", split] if split else [])]
    if beside not in ("", "."):
        above = str(PurePosixPath(beside).parent)
        near += [above, f"{above}/images", *([f"{above}/images/{split}", f"{above}/{split}"] if split else [])]
    return list(dict.fromkeys(str(PurePosixPath(place)) for place in ([given.images, *near] if given.images else near)))


def _add_categories(file: File, entries: Sequence[Mapping], annotations: Sequence[Mapping], findings: Findings,
                    categories: Categories) -> None:
    """Adds a file's classes. Roboflow's exports have one that only groups the others, and that no box uses."""
    values = (entry.get("category_id") for entry in annotations)
    used = {key_of(value) for value in {value for value in values if isinstance(value, (int, float, str))}}
    above: dict[str, set[int]] = {}
    names: set[str] = set()
    for row, entry in enumerate(entries):
        if isinstance(entry.get("supercategory"), str):
            above.setdefault(entry["supercategory"].strip(), set()).add(row)
    for row, entry in enumerate(entries):
        where, key = f"{file.path}: category {name_of(entry, row)}", key_of(entry.get("id"))
        name = entry["name"].strip() if isinstance(entry.get("name"), str) else ""
        if key is None or not name or not is_text(name):
            findings.problem(f"{where}: expected a whole number as id and a name, got {shown(entry.get('id'))} and "
                             f"{shown(entry.get('name'))}; correct it", "category")
        elif above.get(name, set()) - {row} and key not in used:
            categories.groups.setdefault(name, whole_number(key))
        elif key in file.categories or name in names:
            findings.problem(f"{where}: expected an id and a name of its own, got {shown(name)} again; correct it",
                             "category")
        else:
            file.categories[key] = name
            names.add(name)
            categories.ids.setdefault(name, set()).add(whole_number(key))


def _add_image(reading: Reading, file: File, where: str, entry: Mapping, places: Sequence[str], split: str | None,
               annotated: bool) -> None:
    key, name = key_of(entry.get("id")), entry.get("file_name")
    if key is None or not isinstance(name, str) or not name.strip():
        reading.findings.problem(f"{where}: expected an id and a file_name, got {shown(entry.get('id'))} and "
                                 f"{shown(name)}; correct it", "image entry")
        file.bad.update({key} - {None})
        return
    if key in file.rows or key in file.bad:
        reading.findings.problem(f"{where}: expected an id of its own, got that of {shown(file.names.get(key, name))}; "
                                 "renumber the images", "image id")
        return
    file.names[key] = name
    path = (file.uploads.locate if is_renamed(name) else reading.locate)(name, places, where)
    if path is None or reading.leaves_aside(path, where):
        file.bad.add(key)
        return
    size = size_of(where, entry, reading.findings)
    if size is False:
        file.bad.add(key)
        return
    before = reading.row(path)
    if before is None or reading.images[before].where.startswith(f"{file.path}:"):
        file.rows[key] = reading.image(path, where, size, annotated, silent=annotated)
    elif annotated and not reading.images[before].annotated:
        file.rows[key] = before
        reading.images[before].annotated = reading.images[before].silent = True
    else:
        file.rows[key], file.names[key] = None, path
        if annotated:
            file.again[key] = []
    if split is not None:
        reading.split(split, path)


def _add_boxes(reading: Reading, file: File, entries: Sequence[Mapping]) -> int:
    """Adds all boxes; gives how many have an id that another has."""
    rows = {key: row for key, row in file.rows.items() if row is not None and key not in file.bad}
    seen, numbered, before = set(), 0, f"{file.path}: annotation "
    for start in range(0, len(entries), STRETCH):
        some = entries[start:start + STRETCH]
        plain = columns_of(some, rows, file.categories)
        if plain is None:
            for row, entry in enumerate(some, start):
                _add_box(reading, file, before + name_of(entry, row), entry)
            ids = [key for key in (_number_or_text(entry.get("id")) for entry in some) if key is not None]
        else:
            reading.boxes(plain.rows, plain.labels, plain.corners, before, plain.ids, plain.ignore)
            ids = plain.ids
        numbered += len(ids)
        seen.update(ids)
    return numbered - len(seen)


def _number_or_text(value: object) -> int | str | None:
    """An id as `key_of` has it, as a number where it is one: 700,000 texts are 40 MB more."""
    key = key_of(value)
    if key is None or len(key) > 1000 or not key.removeprefix("-").isdecimal():
        return key
    return int(key) if str(int(key)) == key else key


def _add_box(reading: Reading, file: File, where: str, entry: Mapping) -> None:
    image, label = key_of(entry.get("image_id")), file.categories.get(key_of(entry.get("category_id")))
    if image in file.bad:
        return
    if image not in file.rows:
        reading.unusable(f"{where}: expected the id of an image in this file, got {shown(entry.get('image_id'))}",
                         "unlisted image")
        return
    row = file.rows[image]
    corners = corners_of(reading, where, entry, row)
    if label is None:
        known = ", ".join(list(file.categories)[:20]) or "a category, of which the file has none"
        reading.findings.problem(f"{where}: expected a category id of {known}, got "
                                 f"{shown(entry.get('category_id'))}; correct it", "category id")
        reading.dropped.update({row} - {None})
    elif corners is not None and row is not None:
        reading.box(row, label, corners, where, entry.get("iscrowd") in SET or entry.get("ignore") in SET)
    elif corners is not None and image in file.again:
        file.again[image].append((label, corners))


def _compare(reading: Reading, file: File) -> None:
    """An image in two files, such as a split and the whole, must have the same boxes in both."""
    if not file.again:
        return
    rows = {reading.row(file.names[key]): key for key in file.again}
    boxes: dict[str, list] = {key: [] for key in file.again}
    for box, (row, label) in enumerate(zip(reading.rows, reading.labels, strict=True)):
        if row in rows:
            boxes[rows[row]].append((label, tuple(reading.corners[4 * box:4 * box + 4])))
    for key, theirs in file.again.items():
        if sorted(theirs) != sorted(boxes[key]):
            first = reading.images[reading.row(file.names[key])].where
            reading.findings.problem(f"{file.path}: image {key}: expected the boxes that {first} has for "
                                     f"{file.names[key]}, got others; name the right files in data.annotations",
                                     "image in two files")


def _number_classes(reading: Reading, categories: Categories) -> None:
    """Classes in the order of their ids; of files that number them differently afresh, by name."""
    ids = [number for own in categories.ids.values() for number in own]
    if None in ids or len(set(ids)) < len(ids) or len(ids) > len(categories.ids):
        reading.findings.note(f"{reading.folder.root}: the annotation files number their classes differently, or not "
                              "by whole numbers; joined by name and numbered afresh")
        reading.classes.update({name: row for row, name in enumerate(sorted(categories.ids), start=1)})
    else:
        numbers = {name: min(own) for name, own in categories.ids.items()}
        reading.classes.update(sorted(numbers.items(), key=lambda item: item[1]))
    for name, number in categories.groups.items():
        if name not in reading.classes:
            taken = {*reading.classes.values(), *reading.groups.values()}
            reading.groups[name] = max(taken, default=0) + 1 if number is None or number in taken else number


def write_coco(path: Path, dataset: Dataset, ids: Sequence[ImageId], info: Mapping[str, Any] | None = None) -> None:
    """Writes the true boxes of these images, which are numbered from 1; file names are relative to the data set's root.
    `info` says where they are from.

    Raises:
        ValueError: an image without annotation, which COCO would take for an empty one.
    """
    missing = [image_id for image_id in ids if image_id not in dataset.boxes]
    if missing:
        raise ValueError(f"expected annotated images, got {', '.join(missing)} without annotation")
    boxes = [(image_id, xyxy, label, {"iscrowd": int(ignore)}) for image_id in ids
             for xyxy, label, ignore in zip(*_columns(dataset, image_id), strict=True)]
    write_json(path, ({} if info is None else {"info": dict(info)}) | document(dataset, ids, boxes))


def document(dataset: Dataset, ids: Sequence[ImageId],
             boxes: Sequence[tuple[ImageId, Sequence[float], int, Mapping]]) -> dict[str, list]:
    """The three lists of a COCO file; `boxes` are (image id, xyxy, row of the class, further keys)."""
    number = {image_id: row for row, image_id in enumerate(ids, start=1)}
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


__all__ = ["document", "parts_of", "read", "read_file", "split_name", "turned", "write_coco", "xyxy_to_xywh"]
