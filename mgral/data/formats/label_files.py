"""Where the label files of a YOLO data set lie, and which of them are of no image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from mgral.data.formats.detecting import CLASS_LISTS, head_of, is_label
from mgral.data.formats.folder import composed
from mgral.data.formats.lists import IMAGE_FOLDERS, Pictures, stem_of
from mgral.data.formats.pairs import folder_of
from mgral.data.formats.reading import Reading

MOST = 10
"""Folders of which it is said one by one how many of their images have labels."""


@dataclass
class Labels:
    """Label files by image, images in each folder, and images of which two would have the same label file."""

    files: dict[str, str] = field(default_factory=dict)
    folders: dict[str, list[str]] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    places: dict[str, str] = field(default_factory=dict)
    """The folder of label files by folder of images."""


def find_labels(reading: Reading, images: Sequence[str], given: Sequence[str]) -> Labels:
    """The label file of each image that has one: in the folder `labels` that is parallel to the last one called
    `images`, or beside the image; where neither is of any use, in another folder called `labels`. `given`: folders of
    label files that the settings name.
    """
    labels, owner = Labels(), {}
    for image in images:
        labels.folders.setdefault(folder_of(image), []).append(image)
    waiting = []
    for folder, members in labels.folders.items():
        if not _take(reading, labels, members, _given_places(folder, given) or _usual_places(folder), owner):
            waiting.append((folder, members))
    usual = set(labels.places.values())
    for folder, members in waiting:
        places = [] if given else [place for place in _other_places(folder) if place not in usual]
        if _take(reading, labels, members, places, owner, free_only=True):
            reading.findings.note(f"{reading.folder.root / folder}: its label files are read from "
                                  f"{labels.places[folder]}", "labels elsewhere")
    return labels


def _take(reading: Reading, labels: Labels, members: Sequence[str], places: Sequence[str], owner: dict[str, str],
          free_only: bool = False) -> bool:
    """Takes the label files of the first place that has any for these images of one folder; whether one has.

    `free_only`: but none that an image of another folder has.
    """
    files = reading.folder.files
    for place in places:
        own = {image: _join(place, f"{stem_of(image)}.txt") for image in members}
        own = {image: label for image, label in own.items() if label in files and not (free_only and label in owner)}
        if own:
            break
    else:
        return False
    folder = folder_of(members[0])
    labels.places[folder] = place
    for image, label in own.items():
        if label in owner:
            reading.findings.problem(f"{reading.folder.root / label}: expected one image of this label file, got "
                                     f"{owner[label]} and {image}; remove or rename one", "label file of two images")
            labels.doubtful |= {image, owner[label]}
        owner.setdefault(label, image)
        labels.files[image] = label
    _note_place(reading, folder, members, place, places)
    return True


def _note_place(reading: Reading, folder: str, members: Sequence[str], place: str, places: Sequence[str]) -> None:
    """Labels beside images in a folder called `images`, which others would look for elsewhere; and those not read."""
    if place == folder and places[0] != folder:
        reading.findings.note(f"{reading.folder.root / folder}: label files beside the images are read, as there are "
                              f"none in {places[0]}", "labels beside")
    for other in places[places.index(place) + 1:]:
        count = sum(_join(other, f"{stem_of(image)}.txt") in reading.folder.files for image in members)
        if count:
            reading.findings.note(f"{reading.folder.root / (other or '.')}: {count} label files are passed over, as "
                                  f"those in {place} are read", "labels twice")


def _usual_places(folder: str) -> list[str]:
    """As Ultralytics looks for them; only the last `images` counts."""
    parts = folder.split("/")
    rows = [row for row, part in enumerate(parts) if part == "images"]
    return ["/".join([*parts[:rows[-1]], "labels", *parts[rows[-1] + 1:]]), folder] if rows else [folder]


def _given_places(folder: str, given: Sequence[str]) -> list[str]:
    """Below each given folder: the path from its last folder of images on, from the root on, or nothing."""
    parts = folder.split("/")
    rows = [row for row, part in enumerate(parts) if part.lower() in IMAGE_FOLDERS]
    inner = "/".join(parts[rows[-1] + 1:]) if rows else folder
    return [_join(place.rstrip("/"), tail) for place in given for tail in dict.fromkeys((inner, folder, ""))]


def _other_places(folder: str) -> list[str]:
    """Folders called `labels` in any parallel place, the nearer ones first."""
    parts = [part for part in folder.split("/") if part]
    rows = range(len(parts) - 1, -1, -1)
    replaced = [[*parts[:row], word, *parts[row + 1:]] for row in rows for word in ("labels", "Labels", "label")]
    added = [[*parts[:row], "labels", *parts[row:]] for row in range(len(parts), -1, -1)]
    above = [[*parts[:row], "labels"] for row in rows]
    return list(dict.fromkeys("/".join(place) for place in (*replaced, *added, *above)))


def note_labels(reading: Reading, labels: Labels, pictures: Pictures, empty: int) -> None:
    """How many images have a label file, folder by folder where some have none, and label files without image."""
    root, missing = reading.folder.root, {}
    for folder, members in labels.folders.items():
        count = sum(image in labels.files for image in members)
        if count < len(members):
            missing[folder] = count
    without = sum(len(labels.folders[folder]) - count for folder, count in missing.items())
    if empty or without:
        reading.findings.note(f"{root}: {empty} label files are empty: nothing is in those images; {without} images "
                              "have no label file: they are not annotated (Ultralytics takes both for background)")
    worst = sorted(missing, key=lambda folder: missing[folder] / len(labels.folders[folder]))
    for folder in worst[:MOST]:
        count = len(labels.folders[folder])
        reading.findings.note(f"{root}: {missing[folder]} of {count} images below {folder or '.'} have a label file")
    if len(worst) > MOST:
        reading.findings.note(f"{root}: images without a label file are in {len(worst) - MOST} more folders")
    lost = list(_without_image(reading, labels, pictures))
    if lost:
        count = f"{len(lost)} label files have" if len(lost) > 1 else "this label file has"
        reading.findings.note(f"{root / lost[0]}: {count} no image; restore the image or remove the file")


def _without_image(reading: Reading, labels: Labels, pictures: Pictures) -> Iterator[str]:
    used, places = set(labels.files.values()), set(labels.places.values())
    beside = set(labels.folders)
    for name in reading.folder.ending(".txt"):
        folder, base = folder_of(name), PurePosixPath(name).name.lower()
        if name in used or base in CLASS_LISTS or base.startswith("readme"):
            continue
        if folder in beside:  # where other texts may lie too
            if stem_of(name) not in pictures.by_stem and is_label(head_of(reading.folder, name)):
                yield name
        elif folder in places or ("labels" in folder.lower().split("/") and
                                  composed(stem_of(name)) not in pictures.by_stem):
            yield name


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}".strip("/") if folder else name


