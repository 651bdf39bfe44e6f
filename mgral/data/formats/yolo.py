"""YOLO as Ultralytics and darknet define it: one text file of boxes an image, and a file that names the classes.

A line is `class centre-x centre-y width height`, the last four as shares of the image; of polygons and oriented boxes
the envelope is taken. The labels of `…/images/a.jpg` are in `…/labels/a.txt`, or beside the image. A missing label file
means that the image is not annotated, an empty one that nothing is in it: Ultralytics takes both for background.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from mgral.data.dataset import Dataset, ImageId
from mgral.data.formats.detecting import Found
from mgral.data.formats.label_files import Labels, find_labels, note_labels
from mgral.data.formats.lists import Pictures
from mgral.data.formats.names import plain_names
from mgral.data.formats.pairs import add_unannotated, folder_of
from mgral.data.formats.reading import Corners, Given, Reading, number, shown
from mgral.data.formats.split_names import split_of
from mgral.data.formats.yolo_settings import Settings, settings_of
from mgral.files import writing

FARTHEST = 2.0
"""Share of an image beyond which a number is one of pixels, not of a box that stands over the edge."""


def read(reading: Reading, found: Found, given: Given) -> None:
    """Reads all files; adds to the findings whatever is wrong with their form."""
    reading.normalised = True
    pictures = Pictures(reading.folder, given.images)
    settings = settings_of(reading, pictures, found.files)
    if settings is None:
        return
    reading.classes.update({name: row for row, name in enumerate(settings.names or (), start=1)})
    names = _images(reading, pictures, given, settings)
    labels = find_labels(reading, names, [place for place in given.annotations if reading.folder.is_folder(place)])
    if settings.names is None:  # what their labels mean nobody knows, which is said
        labels.files.clear()
    empty = sum(_read_image(reading, name, labels, settings) for name in names
                if settings.splits or name in labels.files)
    if not settings.splits:
        add_unannotated(reading, names)
        labels.folders = {folder: members for folder, members in labels.folders.items()
                          if reading.row(members[0]) is not None}
    if settings.names is not None:
        note_labels(reading, labels, pictures, empty)
    _add_splits(reading, settings)


def _images(reading: Reading, pictures: Pictures, given: Given, settings: Settings) -> list[str]:
    """Those of the splits, and what lies in the same folders; without splits all."""
    if not settings.splits:
        return pictures.names
    wanted = dict.fromkeys(name for members in settings.splits.values() for name in members)
    for _, place in given.splits:
        wanted.update(dict.fromkeys(reading.folder.images_in(place) if reading.folder.is_folder(place) else ()))
    folders = {folder_of(name) for name in wanted}
    wanted.update(dict.fromkeys(name for name in pictures.names if folder_of(name) in folders))
    if not given.images:
        return list(wanted)
    inside = set(pictures.names)
    return [name for name in wanted if name in inside]


def _add_splits(reading: Reading, settings: Settings) -> None:
    for split, members in settings.splits.items():
        reading.splits[split] = [name for name in members if reading.row(name) is not None]
    if not settings.splits:
        for image in reading.images:
            split = split_of(image.file_name)
            if split:
                reading.split(split, image.file_name)


def _read_image(reading: Reading, name: str, labels: Labels, settings: Settings) -> bool:
    """Adds an image and its boxes; whether its label file is empty."""
    label = labels.files.get(name) if name not in labels.doubtful else None
    text = reading.folder.text(label, "a label file", reading.findings) if label is not None else None
    path = reading.folder.root / (name if label is None else label)
    row = reading.image(name, str(path), annotated=text is not None)
    lines = (text or "").splitlines()
    for count, line in enumerate(lines, start=1):
        words = line.split()
        if words:
            _add_line(reading, row, words, f"{path}:{count}", settings)
    return text is not None and not text.strip()


def _add_line(reading: Reading, row: int, words: list[str], where: str, settings: Settings) -> None:
    names = settings.names or ()
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = None
    count = len(words)
    if values is None or "_" in "".join(words) or not _is_count(count, settings.keypoints):
        _refuse(reading, words, where, names)
        return
    if not all(map(math.isfinite, values)):
        reading.unusable(f"{where}: expected finite numbers, got {shown(' '.join(words))}; correct the line",
                         "not finite", row)
        return
    label, *shares = values
    if label not in range(len(names)):
        reading.findings.problem(f"{where}: expected a class number from 0 to {len(names) - 1}, got {words[0]}; "
                                 "correct it or add the name of the class", "class number")
    elif max(shares) > FARTHEST or min(shares) < -FARTHEST:
        reading.unusable(f"{where}: expected shares of the image from 0 to 1, got {shown(' '.join(words))}; divide "
                         "pixels by the image's width and height", "no shares", row)
    else:
        reading.box(row, names[int(label)], _corners(reading, shares, where, settings.keypoints), where)


def _is_count(count: int, keypoints: int) -> bool:
    """Whether a line may have so many numbers: class and box, with keypoints, or a polygon's points."""
    return count == 5 or (count == 5 + keypoints) or (count >= 7 and count % 2 == 1)


def _corners(reading: Reading, shares: list[float], where: str, keypoints: int) -> Corners:
    """x1, y1, x2, y2 as shares of the image: of the box, or of a polygon's envelope."""
    if len(shares) == 4 or (keypoints and len(shares) == 4 + keypoints):
        if len(shares) > 4:
            reading.findings.note(f"{where}: keypoints are passed over", "keypoints")
        x, y, width, height = shares[:4]
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    reading.findings.note(f"{where}: the upright envelope of a polygon or oriented box is taken", "polygon")
    xs, ys = shares[::2], shares[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _refuse(reading: Reading, words: list[str], where: str, names: Sequence[str]) -> None:
    """A line that is no box: says what it may be and what to do."""
    got = f"{where}: expected 5 numbers (class, centre x, centre y, width, height), got {shown(' '.join(words))}"
    letters = [word for word in words if isinstance(number(word), str)]
    if any(mark in word for word in words for mark in ",;"):
        advice, kind = "put blanks where there are commas", "commas"
    elif letters and letters == words[:len(letters)]:
        name = " ".join(letters)
        wanted = f"{names.index(name)}" if name in names else "its number"
        advice, kind = f"the class is written as a name: write {wanted} for {name[:40]!r}", "class name"
    elif letters:
        advice, kind = "correct the line", "no number"
    elif len(words) == 6:
        advice = "six columns are predictions with a confidence, or tracks with an id: cut the last column"
        kind = "six columns"
    elif len(words) == 4:
        advice, kind = "a number is missing, maybe the class number at the front: add it", "four columns"
    else:
        advice, kind = "a polygon has a class number and pairs of numbers: correct the line", "columns"
    reading.findings.problem(f"{got}; {advice}", kind)


def write_yolo(folder: Path, dataset: Dataset, splits: Mapping[str, Sequence[ImageId]]) -> None:
    """Writes images, label files and `data.yaml`; boxes to be ignored are left out, as YOLO cannot mark them.

    An image that is not annotated gets no label file; an empty one gets an empty file.

    Raises:
        ValueError: two images that would have the same name, see `plain_names`.
    """
    names = plain_names([image_id for ids in splits.values() for image_id in ids])
    for split, ids in splits.items():
        for image_id in ids:
            name = names[image_id]
            target = folder / "images" / split / f"{name}{dataset.path(image_id).suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(dataset.path(image_id), target)
            if image_id in dataset.boxes:
                _write_text(folder / "labels" / split / f"{name}.txt", _lines(dataset, image_id))
    settings = {"path": ".", **{split: f"images/{split}" for split in splits},
                "names": dict(enumerate(dataset.classes))}
    _write_text(folder / "data.yaml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


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
