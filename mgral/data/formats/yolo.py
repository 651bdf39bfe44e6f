"""YOLO as Ultralytics defines it: `data.yaml`, image folders or lists, and one text file of boxes an image.

A line is `class centre-x centre-y width height`, the last four as shares of the image. The labels of
`…/images/a.jpg` are in `…/labels/a.txt`. A missing label file means "not annotated" in the pool; in the other splits
it means an image with no object, as Ultralytics takes it, and is noted. Image ids are paths without their ending.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from mgral.data.dataset import Dataset, ImageId
from mgral.data.formats.source import ENDINGS, Folder, Source, SourceBox, SourceImage, number, numbers, text_of
from mgral.files import writing


def read(root: Path, pool: str, measured: Sequence[str], problems: list[str]) -> Source:
    """Reads the splits' files; adds to `problems` whatever is wrong with their form."""
    path = root / "data.yaml"
    settings = _settings(path, problems)
    names = _class_names(path, settings.get("names"), problems) if settings else ()
    images, notes, folder = [], [], Folder(root)
    for split in (pool, *measured) if settings else ():
        bare = 0
        for where, file_name in _files(folder, settings, split, problems):
            boxes = _boxes(folder, file_name, names, problems)
            if boxes is None and split != pool:
                boxes, bare = (), bare + 1
            images.append(SourceImage(where, str(PurePosixPath(file_name).with_suffix("")), file_name, split, boxes))
        if bare:
            notes.append(f"{path}: {split}: {bare} images without a label file count as empty")
    classes = {name: row for row, name in enumerate(names, start=1)}
    return Source(root, classes, tuple(images), normalised=True, notes=tuple(notes))


def write_yolo(folder: Path, dataset: Dataset, splits: Mapping[str, Sequence[ImageId]]) -> None:
    """Writes images, label files and `data.yaml`; boxes to be ignored are left out, as YOLO cannot mark them.

    An image that is not annotated gets no label file; an empty one gets an empty file.

    Raises:
        ValueError: two images of a split that would have the same name.
    """
    for split, ids in splits.items():
        names = [image_id.replace("/", "_") for image_id in ids]
        if len(set(names)) < len(names):
            raise ValueError("expected images with names of their own, got the same name twice")
        for image_id, name in zip(ids, names, strict=True):
            target = folder / "images" / split / f"{name}{dataset.path(image_id).suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(dataset.path(image_id), target)
            if image_id in dataset.boxes:
                _write_text(folder / "labels" / split / f"{name}.txt", _lines(dataset, image_id))
    settings = {"path": ".", **{split: f"images/{split}" for split in splits},
                "names": dict(enumerate(dataset.classes))}
    _write_text(folder / "data.yaml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


def _settings(path: Path, problems: list[str]) -> dict[str, Any]:
    text = text_of(path, "YOLO's data.yaml", problems)
    if text is None:
        return {}
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problems.append(f"{path}{f':{mark.line + 1}' if mark else ''}: expected YAML, got "
                        f"{getattr(error, 'problem', None) or error}; write the file again")
        return {}
    if not isinstance(settings, dict):
        problems.append(f"{path}: expected settings such as `names:`, got {type(settings).__name__}; write it again")
        return {}
    return settings


def _class_names(path: Path, names: object, problems: list[str]) -> tuple[str, ...]:
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[row] for row in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        problems.append(f"{path}: names: expected a list of class names, or a mapping from 0, 1, … to them, "
                        f"got {names!r}; correct it")
        return ()
    if len(set(names)) < len(names):
        problems.append(f"{path}: names: expected each class once, got {names!r}; rename one")
    return tuple(names)


def _files(folder: Folder, settings: Mapping[str, Any], split: str, problems: list[str]) -> list[tuple[str, str]]:
    """Where each image of a split is named, and its path below the root."""
    root, path = folder.root, folder.root / "data.yaml"
    places = settings.get(split)
    places = [places] if isinstance(places, str) else places
    base = str(settings.get("path") or ".")
    if not isinstance(places, list) or not all(isinstance(place, str) for place in places):
        problems.append(f"{path}: {split}: expected a folder or a list file, got {settings.get(split)!r}; "
                        "name the split in data.yaml or correct data.pool, data.reward, data.test")
        return []
    files = []
    for place in places:
        inner = _below(folder, base, place)
        if inner is None:
            problems.append(f"{path}: {split}: expected a path inside {root}, got {base}/{place}; "
                            "write `path: .` and paths below it")
        elif (root / inner).is_dir():
            files += [(f"{path}: {split}", image.relative_to(root).as_posix())
                      for image in sorted((root / inner).rglob("*")) if image.suffix.lower() in ENDINGS]
        else:
            files += _listed(root, base, inner, problems)
    return files


def _below(folder: Folder, base: str, place: str) -> str | None:
    """The place below the root, or None if it lies outside."""
    # Exports that were made for another folder begin with `../`; Ultralytics drops it too.
    for name in (PurePosixPath(base) / place, PurePosixPath(place), PurePosixPath(place.removeprefix("../"))):
        if str(name) in folder and ((folder.root / name).exists() or name == PurePosixPath(base) / place):
            return str(name)
    return None


def _listed(root: Path, base: str, inner: str, problems: list[str]) -> list[tuple[str, str]]:
    text = text_of(root / inner, "a folder of images or a list of them", problems)
    files = []
    for line, name in enumerate((text or "").splitlines(), start=1):
        # Ultralytics takes `./` for the folder of the list and all else from `path`.
        folder = PurePosixPath(inner).parent if name.startswith("./") else PurePosixPath(base)
        if name.strip():
            files.append((f"{root / inner}:{line}", str(folder / name.strip())))
    return files


def _boxes(folder: Folder, file_name: str, names: Sequence[str],
           problems: list[str]) -> tuple[SourceBox, ...] | None:
    name = _label_file(file_name)
    path = folder.root / name
    if file_name not in folder:
        return None  # the image is refused later
    if name not in folder:
        problems.append(f"{path}: expected a label file inside {folder.root}, got a link out of it; copy the file")
    if name not in folder or not path.exists():
        return None
    text = text_of(path, "a label file", problems)
    boxes = (_box(f"{path}:{line}", row.split(), names, problems)
             for line, row in enumerate((text or "").splitlines(), start=1) if row.strip())
    return tuple(box for box in boxes if box)


def _label_file(file_name: str) -> str:
    """Ultralytics' rule: the last folder `images` becomes `labels`; without one, the labels lie beside the image."""
    parts = list(PurePosixPath(file_name).with_suffix(".txt").parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return str(PurePosixPath(*parts))


def _box(where: str, words: list[str], names: Sequence[str], problems: list[str]) -> SourceBox | None:
    values = numbers([number(word) for word in words], 5, where, problems)
    if values is None:
        return None
    label, x, y, width, height = values
    if label not in range(len(names)):
        problems.append(f"{where}: expected a class number from 0 to {len(names) - 1}, got {words[0]}; correct it")
        return None
    return SourceBox(where, names[int(label)], (x - width / 2, y - height / 2, x + width / 2, y + height / 2))


def _lines(dataset: Dataset, image_id: ImageId) -> str:
    image, boxes = dataset.images[image_id], dataset.boxes[image_id]
    boxes = boxes.keep(~boxes.ignore)
    lines = []
    for (x1, y1, x2, y2), label in zip(boxes.xyxy.tolist(), boxes.labels.tolist(), strict=True):
        shares = ((x1 + x2) / 2 / image.width, (y1 + y2) / 2 / image.height,
                  (x2 - x1) / image.width, (y2 - y1) / image.height)
        lines.append(" ".join([str(label), *(f"{min(max(share, 0.0), 1.0):.6f}" for share in shares)]) + "\n")
    return "".join(lines)


def _write_text(path: Path, text: str) -> None:
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
