"""The images and boxes in what came back, as the readers of data sets have them, under the ids of the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mgral.annotation.archives import ENDINGS
from mgral.annotation.matching import LabelFiles, batch_folder, label_files
from mgral.data.dataset import Dataset, ImageId
from mgral.data.formats import READERS
from mgral.data.formats.coco_entries import name_of
from mgral.data.formats.detecting import NAMES, Found, found_in
from mgral.data.formats.folder import Folder
from mgral.data.formats.json_files import documents, foreign, kind_of
from mgral.data.formats.reading import Given, Reading, shown
from mgral.errors import DataError
from mgral.findings import Findings

ADVICE = "correct it in the annotation tool and export again"
KNOWN = "COCO, Label Studio's JSON, CVAT for images, Pascal VOC or YOLO"
OTHER_TASKS = ("captions_", "image_info_", "labels_", "panoptic_", "person_keypoints_", "stuff_")
"""How COCO's files are called that are written beside `instances_`."""


@dataclass
class Collected:
    """What was read of a format: `reading` has images of the batch only; `unknown` names that are those of no image."""

    format: str
    reading: Reading
    aside: Sequence[tuple[str, str]]
    unknown: Sequence[tuple[str, str]]

    @cached_property
    def others(self) -> dict[str, str]:
        """Names of images that are none of the batch, and where they stand."""
        return dict([*self.aside, *self.unknown])


def collect(place: Path, dataset: Dataset, ids: Sequence[ImageId], findings: Findings) -> Collected:
    """Reads a file or a folder; faults of single images and boxes go to the findings.

    Raises:
        DataError: it holds no annotations in one format that is read.
    """
    batch, folder = batch_folder(dataset, ids), _files_at(place, findings)
    contents = documents(folder, folder.ending(".json"), findings)
    labels = label_files(folder, batch)
    called = [*labels.images, *labels.aside, *labels.doubtful]
    view = Folder.of(folder.root, [*folder.files, *map(_picture, called)])
    kind, files = _the_format(place, view, contents, findings)
    if kind in ("voc", "yolo"):
        return _of_label_files(kind, folder, labels, batch, findings)
    paths = {str(folder.root / name): contents.get(name) for name in files}
    reading = Reading(batch, findings, advice=ADVICE, batch=frozenset(ids))
    claims = _claims(paths, findings) if kind == "coco" else {}
    READERS[kind](reading, Found(kind, tuple(paths), {path: content for path, content in paths.items()
                                                      if content is not None}), Given())
    _check_claims(reading, claims)
    return Collected(kind, reading, reading.aside, reading.missing)


def _files_at(place: Path, findings: Findings) -> Folder:
    """The annotation files of a folder, or one alone."""
    if place.is_dir():
        folder = Folder(place)
        names = [name for name in folder.files if name.lower().endswith(ENDINGS)]
        for name, reason in folder.left_out.items():
            if name.lower().endswith(ENDINGS):
                findings.problem(f"{place / name}: {reason}", "left out")
        return Folder.of(place, names)
    if not place.exists():
        raise DataError(f"{place}: expected what came back of the batch, got nothing there; check the path")
    if place.suffix.lower() not in (".json", ".xml"):
        raise DataError(f"{place}: expected a .json, .xml or .zip file or a folder, got "
                        f"{f'a {place.suffix} file' if place.suffix else 'a file without ending'}; export the "
                        f"annotations as {KNOWN}")
    return Folder.of(place.parent, [place.name])


def _the_format(place: Path, view: Folder, contents: Mapping[str, Any], findings: Findings) -> tuple[str, list[str]]:
    found = found_in(view, Given(), contents)
    if not found and any(name.lower().endswith(".txt") for name in view.files) and view.images:
        found = {"yolo": []}  # whose classes nothing names: the reader says so
    if len(found) > 1:
        got = " and ".join(f"{NAMES[kind]} ({files[0]}{', …' if len(files) > 1 else ''})"
                           for kind, files in found.items())
        findings.problem(f"{place}: expected annotations in one format, got {got}; give the file that people corrected")
    read = {name for files in found.values() for name in files}
    for name, content in contents.items():
        if name not in read:
            _tell_unread(view.root / name, content, bool(found), findings)
    if not found and not findings.problems:
        findings.problem(f"{place}: expected annotations as {KNOWN}, got "
                         f"{f'none in {len(view.files)} files' if place.is_dir() else 'something else'}; export them "
                         "as one of these")
    if len(found) != 1:
        raise DataError(*findings.problems)
    return next(iter(found.items()))


def _tell_unread(path: Path, content: Any, others: bool, findings: Findings) -> None:
    """Says what a JSON file is that is not read: labels must not be lost without a word."""
    what = foreign(content)
    if path.name.startswith(OTHER_TASKS):
        findings.note(f"{path}: not read, as instances are beside it", "other task")
    elif kind_of(content):
        findings.problem(f"{path}: expected one set of COCO files, got this one beside others; give the file that "
                         "people corrected", "beside")
    elif what is not None and others:
        findings.note(f"{path}: not read, it holds {what.what}", what.what)
    elif what is not None:
        advice = what.advice if what.labels else "export the annotations that people made"
        findings.problem(f"{path}: expected annotations, got {what.what}; {advice}", what.what)


def _picture(file: str) -> str:
    """Where a label file's image would lie, that the reader takes them together: beside it."""
    return f"{file.rpartition('.')[0]}.jpg"


def _of_label_files(kind: str, folder: Folder, labels: LabelFiles, batch: Folder, findings: Findings) -> Collected:
    """Reads Pascal VOC or YOLO: files of one image each, with whatever says what their classes are."""
    ending = ".xml" if kind == "voc" else ".txt"
    own = {file: image_id for file, image_id in labels.images.items() if file.lower().endswith(ending)}
    for file, (first, second) in labels.doubtful.items():
        if file.lower().endswith(ending):
            findings.problem(f"{folder.root / file}: expected a file called like one image of the batch, got a name "
                             f"that means {first!r} and {second!r}; rename it", "file of two images")
    pictures = {_picture(file): image_id for file, image_id in own.items()}
    view = Folder.of(folder.root, [*own, *pictures, *labels.others])
    reading = Reading(view, findings, advice=ADVICE, batch=pictures)
    if own:
        files = list(own) if kind == "voc" else found_in(view, Given(), {}).get("yolo", [])
        READERS[kind](reading, Found(kind, tuple(files)), Given())
    reading.rename(pictures, batch)
    aside, unknown = ([(file, str(folder.root / file)) for file in files if file.lower().endswith(ending)]
                      for files in (labels.aside, labels.unknown))
    return Collected(kind, reading, aside, unknown)


def _claims(contents: Mapping[str, Any], findings: Findings) -> dict[str, object]:
    """The `mgral_id` of images in COCO files, by where they stand; a file of images alone is a problem."""
    claims: dict[str, object] = {}
    for path, content in contents.items():
        if not isinstance(content, dict) or not isinstance(content.get("images"), list):
            continue
        if content.get("annotations") is None:
            findings.problem(f"{path}: expected a list of objects under 'annotations', got none; export the "
                             "annotations too")
        for row, entry in enumerate(content["images"]):
            if isinstance(entry, dict) and "mgral_id" in entry:
                claims[f"{path}: image {name_of(entry, row)}"] = entry["mgral_id"]
    return claims


def _check_claims(reading: Reading, claims: Mapping[str, object]) -> None:
    """Refuses names that were changed into those of another image, or of none."""
    if not claims:
        return
    found = {image.where: image.file_name for image in reading.images} | {
        where: name for name, where in (*reading.aside, *reading.missing)}
    lost = {where for _, where in reading.missing}
    for where, claimed in claims.items():
        is_ours = isinstance(claimed, str) and claimed in reading.folder.near
        if where in found and (is_ours if where in lost else claimed != found[where]):
            reading.findings.problem(f"{where}: expected mgral_id {shown(found[where])}, got {shown(claimed)}; undo "
                                     "the change of name", "mgral_id")
