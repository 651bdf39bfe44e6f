"""COCO results: a JSON list of `{image_id, category_id, bbox: [x, y, width, height], score}`, boxes in pixels.

Image ids are those of a COCO file that names images and categories; without it they are the images' file names, with or
without folder and ending, or their numbers, and an entry's `file_name` comes first. A COCO file whose annotations have
scores is read like that too.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mgral.findings import Findings
from mgral.pool.predictions.columns import Columns, Matched
from mgral.pool.predictions.content import load_json, shown

NUMBERS = (int, float)


class Entries:
    """Takes each entry out of the JSON as it is read, so that memory holds columns of numbers and no objects."""

    def __init__(self, path: Path, by_name: bool, findings: Findings) -> None:
        self.path, self.by_name, self.findings = path, by_name, findings
        self.count = 0
        self.images: dict[object, int] = {}
        """Each image id as written, by the order in which it was met; so for the categories."""
        self.categories: dict[object, int] = {}
        self.columns = Columns(lambda place: f"{path}: prediction {place} (counted from 0)")

    def take(self, entry: dict) -> dict | None:
        """Keeps an entry's numbers; an object that is no prediction is given back."""
        if "image_id" not in entry:
            return entry
        place, self.count = self.count, self.count + 1
        image = entry.get("file_name", entry["image_id"]) if self.by_name else entry["image_id"]
        category, box, score = entry.get("category_id"), entry.get("bbox"), entry.get("score")
        if type(image) not in (int, str, float) or type(category) not in (int, str, float):
            self._refuse(place, f"an image_id and a category_id, got {shown(image)} and {shown(category)}", "ids")
        elif type(box) is not list or len(box) != 4 or not all(type(number) in NUMBERS for number in box):
            self._refuse(place, f"bbox as x, y, width, height, got {shown(box)}", "bbox")
        elif type(score) not in NUMBERS:
            self._refuse(place, f"the detector's score, got {shown(score)}", "no score")
        else:
            self._keep(place, image, category, box, score)
        return None

    def _keep(self, place: int, image: object, category: object, box: list, score: float) -> None:
        try:
            x, y, width, height, score = map(float, (*box, score))
        except OverflowError:
            self._refuse(place, f"finite numbers, got {shown(box)}", "not finite")
            return
        self.columns.add(self.images.setdefault(image, len(self.images)),
                         self.categories.setdefault(category, len(self.categories)),
                         (x, y, x + width, y + height, score), place)

    def _refuse(self, place: int, expected: str, kind: str) -> None:
        self.findings.problem(f"{self.columns.where(place)}: expected {expected}; write the detector's results again",
                              kind)


def read(entries: Entries, content: object, annotations: Path | None, classes: Mapping[str, int],
         matched: Matched) -> tuple[str, Mapping[str, int], Columns]:
    """Gives each id its meaning; adds to the findings whatever has none."""
    whole = content if isinstance(content, dict) else None
    if isinstance(content, list) and any(entry is not None for entry in content):
        place = next(row for row, entry in enumerate(content) if entry is not None)
        matched.findings.problem(f"{entries.path}: entry {place} (counted from 0): expected a prediction with "
                                 f"image_id, category_id, bbox and score, got {shown(content[place])}; take it out")
    named = _naming(entries.path, annotations, whole, matched.findings)
    if matched.findings.problems:
        return "", {}, entries.columns
    files, categories = named
    where = f"{annotations or entries.path}"
    rows = [_row(image, files, matched, where, entries.path) for image in entries.images]
    found = categories or {_text(number): name for name, number in classes.items()}
    if classes and not categories:
        matched.findings.note(f"{entries.path}: category ids are taken to be those of the labelled images "
                              "(--annotations may name another file)")
    by_number = {number: name for number, name in found.items()} or _numbered(entries.categories)
    labels = {name: row for row, name in enumerate(by_number.values())}
    meant = [_label(category, by_number, labels, entries.path, matched.findings) for category in entries.categories]
    columns = _mapped(entries.columns, rows, meant)
    return "COCO results", {name: _category_id(number) for number, name in by_number.items()}, columns


def _naming(path: Path, annotations: Path | None, whole: dict | None,
            findings: Findings) -> tuple[dict[str, str], dict[str, str]]:
    """File names and class names by id as text, of the file that names them or of the predictions' own."""
    if annotations is not None:
        # Annotations are dropped as they are read: only images and categories are asked for.
        whole = load_json(annotations, "a COCO file", findings, lambda entry: None if "image_id" in entry else entry)
        if findings.problems:
            return {}, {}
        if not isinstance(whole, dict) or not isinstance(whole.get("images"), list):
            findings.problem(f"{annotations}: expected a COCO file with images and categories, got none; name the file "
                             "whose ids the predictions use")
            return {}, {}
    where, whole = annotations or path, whole or {}
    return (_table(where, whole, "images", "file_name", findings), _table(where, whole, "categories", "name", findings))


def _table(where: Path, whole: dict, part: str, key: str, findings: Findings) -> dict[str, str]:
    entries = whole.get(part, [])
    good = [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get(key), str) and entry[key]
            and type(entry.get("id")) in (int, str, float)] if isinstance(entries, list) else []
    if not isinstance(entries, list) or len(good) < len(entries):
        findings.problem(f"{where}: expected a list of {part}, each with an id and a {key}, got other entries; correct "
                         "the file")
    return _distinct({}, good, key, f"{where}: {part}", findings)


def _distinct(table: dict[str, str], entries: list[dict], key: str, where: str, findings: Findings) -> dict[str, str]:
    values: set[str] = set()
    for entry in entries:
        number, value = _text(entry["id"]), entry[key]
        if table.setdefault(number, value) != value or (value in values and key == "name"):
            findings.problem(f"{where}: expected an id and a {key} of its own, got {number} {value!r} besides "
                             f"{table[number]!r}; number them anew", f"twice in {where}")
        values.add(value)
    return table


def _row(image: object, files: Mapping[str, str], matched: Matched, where: str, path: Path) -> int:
    """The row of an image id, or -1 and a problem."""
    text = _text(image)
    if not files:
        found = matched.find(text, f"{path}: image_id {shown(image)}")
    elif text not in files:
        found = None
        matched.findings.problem(f"{path}: image_id {shown(image)}: expected the id of an image in {where}, got one "
                                 "that is not there; name the file that the detector was given", "unknown image id")
    else:
        found = matched.find(files[text], f"{where}: image {shown(image)}")
    return -1 if found is None else found


def _label(category: object, by_number: Mapping[str, str], labels: Mapping[str, int], path: Path,
           findings: Findings) -> int:
    name = by_number.get(_text(category))
    if name is None:
        findings.problem(f"{path}: expected a category_id of {', '.join(list(by_number)[:12])}, got {shown(category)}; "
                         "name the COCO file whose categories the detector was trained on by --annotations",
                         "unknown category")
        return -1
    return labels[name]


def _numbered(categories: Mapping[object, int]) -> dict[str, str]:
    numbers = sorted(map(_text, categories), key=lambda text: (not text.isdecimal(), len(text), text))
    return {number: f"class {number}" for number in numbers}


def _category_id(number: str) -> int:
    """The id under which the class is written again; 0, which annotation tools refuse, where it needs another."""
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else 0


def _text(number: object) -> str:
    """An id as text; pandas writes whole numbers as 7.0."""
    return str(int(number)) if isinstance(number, float) and number.is_integer() else str(number)


def _mapped(columns: Columns, rows: list[int], labels: list[int]) -> Columns:
    """The columns with ids replaced by rows, without those that have none."""
    image = np.array(rows, dtype=np.int64)[np.frombuffer(columns.image, dtype=np.int64)]
    label = np.array(labels, dtype=np.int64)[np.frombuffer(columns.label, dtype=np.int64)]
    kept = (image >= 0) & (label >= 0)
    numbers = np.frombuffer(columns.numbers).reshape(-1, 5)[kept]
    place = np.frombuffer(columns.place, dtype=np.int64)[kept]
    return Columns(columns.where, array("q", image[kept].tobytes()), array("q", label[kept].tobytes()),
                   array("d", numbers.tobytes()), array("q", place.tobytes()))
