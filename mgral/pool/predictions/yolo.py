"""YOLO's text files with confidence, one an image, as Ultralytics writes them (`save_txt=True save_conf=True`).

A line is `class centre-x centre-y width height confidence`, the middle four as shares of the image; outlines
(`class x1 y1 x2 y2 … confidence`) count as the box around them. A file is named as its image. Images without a file
were looked at and nothing was found in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mgral.data.formats.class_names import class_names
from mgral.data.formats.yolo_settings import yaml_of
from mgral.findings import Findings
from mgral.pool.predictions.columns import Columns, Matched
from mgral.pool.predictions.content import load_text, shown

CLASS_LISTS = ("classes.txt", "obj.names", "labels.txt")
LINES = 10**7
"""More than any file has lines: what a place counts in."""


def read(path: Path, naming: Path | None, classes: Mapping[str, int], matched: Matched,
         sizes: np.ndarray) -> tuple[str, Mapping[str, int], Columns]:
    """Reads all text files at or below the path; adds to the findings whatever is wrong with them."""
    findings, root = matched.findings, path if path.is_dir() else path.parent
    files = [path] if path != root else sorted(
        file for file in path.rglob("*.txt") if not file.name.startswith(".") and file.name not in CLASS_LISTS)
    if not files:
        findings.problem(f"{path}: expected text files of predictions, one an image, got none; predict with "
                         "save_txt=True save_conf=True and name the folder of labels")
    names = _names(root, naming, classes, findings)
    columns = Columns(lambda place: f"{files[place // LINES]}:{place % LINES}")
    for number, file in enumerate(files):
        row = matched.find(file.relative_to(root).with_suffix("").as_posix(), str(file))
        text = load_text(file, "predictions", findings)
        if row is not None and text:
            _add_lines(text, number, row, sizes[row], names, columns, findings)
    used = max(columns.label, default=-1) + 1
    known = list(names or (f"class {number}" for number in range(used)))
    return "YOLO text files", {name: classes.get(name, 0) for name in known}, columns


def _add_lines(text: str, number: int, row: int, size: np.ndarray, names: Sequence[str] | None, columns: Columns,
               findings: Findings) -> None:
    width, height = float(size[0]), float(size[1])
    for count, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        place = number * LINES + count
        box = _box(words, columns.where(place), findings) if len(words) != 6 else _floats(words)
        if box is None or not (box[0] >= 0 and box[0].is_integer()) or (names is not None and box[0] >= len(names)):
            _refuse(words, box, names, columns.where(place), findings)
            continue
        label, x, y, w, h, score = box
        columns.add(row, int(label), ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width,
                                      (y + h / 2) * height, score), place)


def _floats(words: Sequence[str]) -> tuple[float, ...] | None:
    try:
        return tuple(map(float, words))
    except ValueError:
        return None


def _box(words: Sequence[str], where: str, findings: Findings) -> tuple[float, ...] | None:
    """The box around an outline."""
    numbers = _floats(words)
    if len(words) < 8 or len(words) % 2 or numbers is None:
        return None
    xs, ys = numbers[1:-1:2], numbers[2:-1:2]
    findings.note(f"{where}: an outline of {len(xs)} points, taken as the box around it", "outline")
    sides = max(xs) - min(xs), max(ys) - min(ys)
    return (numbers[0], min(xs) + sides[0] / 2, min(ys) + sides[1] / 2, *sides, numbers[-1])


def _refuse(words: Sequence[str], box: tuple[float, ...] | None, names: Sequence[str] | None, where: str,
            findings: Findings) -> None:
    if box is not None:
        most = f"0 to {len(names) - 1}" if names is not None else "0 on"
        findings.problem(f"{where}: expected a class number from {most}, got {words[0]}; name the data.yaml of the "
                         "detector by --annotations", "class number")
    elif len(words) == 5 and _floats(words) is not None:
        findings.problem(f"{where}: expected class, box and confidence (6 numbers), got 5; predict with save_conf=True "
                         "(these may be labels, not predictions)", "no confidence")
    elif any("," in word for word in words):
        findings.problem(f"{where}: expected 6 numbers parted by blanks, got commas in {shown(' '.join(words))}; write "
                         "blanks", "commas")
    else:
        findings.problem(f"{where}: expected 6 numbers (class, centre x, centre y, width, height, confidence), got "
                         f"{shown(' '.join(words))}; write the predictions again", "6 numbers")


def _names(root: Path, naming: Path | None, classes: Mapping[str, int], findings: Findings) -> Sequence[str] | None:
    """Class names by number: from the file given, one that lies beside, or else the labelled images' classes."""
    if naming is not None:
        names = _named_in(naming, findings)
        if not names and not findings.problems:
            findings.problem(f"--annotations {naming}: expected data.yaml with names, or classes.txt, got no names; "
                             "name the file that the detector was trained with")
        return names
    beside = [folder / name for folder in (root, root.parent) for name in ("data.yaml", *CLASS_LISTS)]
    for file in beside:
        names = _named_in(file, findings) if file.is_file() else None
        if names:
            findings.note(f"{file}: class names of the predictions are taken from it")
            return names
    if classes:
        findings.note(f"{root}: expected data.yaml or classes.txt beside, got none; classes are taken to be those of "
                      f"the labelled images in their order ({', '.join(list(classes)[:6])})")
        return list(classes)
    return None


def _named_in(file: Path, findings: Findings) -> list[str] | None:
    text = load_text(file, "class names", findings)
    if text is None:
        return None
    if file.suffix.lower() in (".yaml", ".yml"):
        return _named_in_yaml(file, text, findings)
    names = [line.strip() for line in text.splitlines() if line.strip()]
    return _each_once(file, names, findings)


def _named_in_yaml(file: Path, text: str, findings: Findings) -> list[str] | None:
    content = yaml_of(file, text, findings)
    if content is None:
        return None
    names = class_names(file, content if isinstance(content, dict) else {}, findings)
    return None if names is None else list(names)


def _each_once(file: Path, names: list[str], findings: Findings) -> list[str] | None:
    if len(set(names)) < len(names):
        findings.problem(f"{file}: expected each class name once, got one twice among {shown(names)}; rename one")
        return None
    return names


