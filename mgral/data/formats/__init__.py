"""Data sets as others write them: one reader and one writer a format, one set of checks for all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache as remembered
from pathlib import Path

from mgral.config import DataConfig
from mgral.data.dataset import Dataset
from mgral.data.formats import coco, cvat, label_studio, voc, yolo
from mgral.data.formats.checking import Rules, dataset_of
from mgral.data.formats.detecting import NAMES, Found, look
from mgral.data.formats.folder import Folder, is_image, place_of
from mgral.data.formats.lists import members
from mgral.data.formats.reading import Given, Reading, shown, split_of, uncollected
from mgral.data.headers import Header, read_headers, white_of
from mgral.errors import DataError
from mgral.files import sha256
from mgral.findings import Findings

__all__ = ["Loaded", "cached", "load_dataset", "read_dataset"]

READERS = {"coco": coco.read, "label_studio": label_studio.read, "cvat": cvat.read, "voc": voc.read, "yolo": yolo.read,
           "images": lambda reading, found, given: None}
UNLABELLED = ("unlabelled", "unlabeled", "pool")
"""How folders begin that hold images to choose from."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A data set as far as it can be used, in which format it was found, and a line for each assumption that was made
    and each fault. `headers` of its images by path."""

    dataset: Dataset
    format: str
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    headers: dict[str, Header] | None = None
    listed: int = 0
    """Images of files that cannot say whether an image without boxes is empty or not annotated."""
    silent: int = 0
    """Those of them that have no box."""


def load_dataset(config: DataConfig, root: Path, cache: Path | None = None,
                 progress: Progress | None = None) -> Loaded:
    """The same as `read_dataset`, for who can use a data set without faults only.

    Raises:
        DataError: whatever is wrong with the files, all of it, like faults counted.
    """
    loaded = read_dataset(config, root, cache, progress)
    if loaded.problems:
        raise DataError(*loaded.problems)
    return loaded


def read_dataset(config: DataConfig, root: Path, cache: Path | None = None, progress: Progress | None = None) -> Loaded:
    """Reads and checks a data set: every image that is in it, and the boxes of those that are annotated.

    Image files are opened for their heads only; `ImageStore.open` decodes them, once. Drawn scenes (`synthetic`) must
    have been written to `root` before.

    Args:
        cache: folder that keeps what was read of image files from one call to the next.
        progress: called with (image files looked at, image files in all).

    Raises:
        DataError: there is no such folder.
    """
    if not root.is_dir():
        raise DataError(f"{root}: expected the data set's folder, got "
                        f"{'a file' if root.exists() else 'nothing there'}; check --data or data.root")
    with uncollected():
        return _read(config, root, cache, progress)


def _read(config: DataConfig, root: Path, cache: Path | None, progress: Progress | None) -> Loaded:
    findings, folder = Findings(), Folder(root)
    given = Given(config.images or "", config.annotations or (), config.splits or ())
    reading = Reading(folder, findings, repair=config.invalid_boxes == "repair")
    found = look(folder, config.format, given, findings)
    _check_folder(folder, given, findings)
    if found is not None:
        if config.format == "auto":
            findings.note(_in_words(root, found))
        READERS[found.format](reading, found, given)
        _name_splits(reading, given)
        _count_missing(reading)
        _add_unlisted(reading, found, given)
    headers = read_headers(root, [image.file_name for image in reading.images], cached(cache, root, "headers"),
                           config.max_pixels, findings, progress)
    empty = "empty" if config.format == "synthetic" else config.without_boxes
    rules = Rules(reading.repair, config.orientation, empty, config.classes)
    white = white_of(headers.values(), config.image_range, findings)
    dataset = replace(dataset_of(reading, headers, rules), white=white)
    kind = found.format if found else config.format
    silent, listed = reading.silent()
    return Loaded(dataset, kind, findings.notes, findings.problems, headers, listed, silent)


def cached(folder: Path | None, root: Path, what: str) -> Path | None:
    """The file that keeps what is known of the image files below a root; None where nothing is kept."""
    return folder and folder / f"{sha256(str(root.resolve()))[:16]}-{what}.npz"


def _in_words(root: Path, found: Found) -> str:
    files = f" ({', '.join(found.files[:3])}{', …' if len(found.files) > 3 else ''})" if found.files else ""
    return f"{root}: found {NAMES[found.format]}{files}"


def _add_unlisted(reading: Reading, found: Found, given: Given) -> None:
    """Images that no annotation file names are not annotated: those in folders with images that one names, in a folder
    called `unlabelled`, or in the folder that the settings name; in a folder without labels all."""
    places = {place_of(image.file_name) for image in reading.images}
    passed: dict[str, int] = {}
    names = reading.folder.images_in(given.images) if given.images else reading.folder.images
    is_pool, split_in, root = remembered(_is_pool), remembered(split_of), str(reading.folder.root / "_")[:-1]
    for name in names:
        if reading.row(name) is not None:
            continue
        place = place_of(name)
        if given.images or found.format == "images" or place in places or is_pool(place):
            reading.image(name, f"{root}{name}", annotated=False)
            split = split_in(f"{place}/_")
            if not given.splits and (split in reading.splits or (split and found.format == "images")):
                reading.split(split, name)
        else:
            passed[place] = passed.get(place, 0) + 1
    for place, count in passed.items():
        reading.findings.note(f"{reading.folder.root / place}: {count} images are not taken in, as no annotation file "
                              "names an image of this folder; name their folder in data.images if they belong to the "
                              "set", "folder passed over")


def _check_folder(folder: Folder, given: Given, findings: Findings) -> None:
    """What is there and cannot be taken in, and a folder of images that is not there."""
    for name, reason in folder.left_out.items():
        if is_image(name) or name.lower().endswith((".xml", ".txt", ".json", ".yaml", ".yml")):
            findings.problem(f"{folder.root / name}: {reason}", "left out")
        else:
            findings.note(f"{folder.root / name}: not looked into: {reason}", "not looked into")
    if given.images and not folder.is_folder(given.images):
        findings.problem(f"data.images: expected a folder of images below {folder.root}, got {given.images!r}; "
                         "correct the path")


def _is_pool(place: str) -> bool:
    return any(part.lower().startswith(UNLABELLED) for part in place.split("/"))


def _name_splits(reading: Reading, given: Given) -> None:
    """The splits that the settings name replace those that a reader found."""
    if not given.splits:
        return
    named: dict[str, list[str]] = {}
    for split, place in given.splits:
        names = _members(reading, place)
        if names is None:
            reading.findings.problem(f"data.splits: {split}: expected a folder of images, a list of names or an "
                                     f"annotation file below {reading.folder.root}, got {place!r}; correct the path")
        named[split] = names or []
        for name in named[split]:
            if reading.row(name) is None:
                reading.image(name, f"data.splits: {split}", annotated=False)
    reading.splits = named


def _members(reading: Reading, place: str) -> list[str] | None:
    folder = reading.folder
    if folder.is_folder(place):
        return folder.images_in(place)
    if place in reading.splits:
        return reading.splits[place]
    path = folder.below(place)
    if path not in folder.files or is_image(path):
        return None
    own = [image.file_name for image in reading.images if image.where.startswith(f"{folder.root / path}:")]
    return own or members(reading, path, places_of(reading))


def places_of(reading: Reading) -> list[str]:
    """The folders in which the images lie."""
    return ["", *dict.fromkeys(place_of(image.file_name) for image in reading.images)]


def _count_missing(reading: Reading) -> None:
    """One line, so that a wrong folder and a lost image look different."""
    if not reading.missing:
        return
    (name, where), count = reading.missing[0], len(reading.missing)
    total = count + len(reading.images)
    first = ", ".join(shown(lost) for lost, _ in reading.missing[:3])
    others = f" ({count} of {total} images are missing, the first ones {first})"
    advice = "check data.images" if count == total else "restore it or take it out"
    reading.findings.problem(f"{where}: expected an image file {shown(name)} below {reading.folder.root}, got "
                             f"nothing there{others}; {advice}")
