"""CVAT's XML, "CVAT for images 1.1" and "CVAT for video 1.1": images by name, or tracks over the frames of a video.

A box turned about its centre, a polygon, a mask and an ellipse count as the upright box around them; other shapes are
passed over, and counted. An image is its name, never its number. One that is listed without a shape counts as looked
at and empty, unless `data.without_boxes` says otherwise. `subset` is its split.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from mgral.data.formats.coco import split_name, turned
from mgral.data.formats.detecting import Found
from mgral.data.formats.frames import Frames, Track, add_tracks
from mgral.data.formats.reading import Corners, Given, Reading, number, numbers, shown
from mgral.data.formats.shapes import around_ellipse, around_points, label_of, note_passed
from mgral.data.formats.uploads import Uploads, is_renamed

SIDES = ("xtl", "ytl", "xbr", "ybr")
ELLIPSE = ("cx", "cy", "rx", "ry")
MASK = ("left", "top", "width", "height")
ENVELOPES = ("polygon", "ellipse", "mask")
SHAPES = ("box", *ENVELOPES)
LABEL_TYPES = ("", "any", "rectangle", "bbox", *ENVELOPES)
"""Of labels that can be those of boxes."""


@dataclass
class File:
    """One XML file while it is read: folders of its images, its labels in their order, its tracks and frames, and how
    many shapes were passed over, by type."""

    path: Path
    name: str
    places: Sequence[str]
    """Where its images may lie, from the likeliest folder on."""
    uploads: Uploads
    split: str | None
    labels: dict[str, bool] = field(default_factory=dict)
    """Whether boxes can have a label, by its name."""
    frames: Frames = field(default_factory=Frames)
    tracks: list[Track] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)
    by_subset: dict[str, Sequence[str]] = field(default_factory=dict)


def read(reading: Reading, found: Found, given: Given) -> None:
    """Reads all files; adds to the findings whatever is wrong with their form."""
    files = found.files or tuple(reading.folder.ending(".xml"))
    if not files:
        reading.findings.problem(f"{reading.folder.root}: expected a CVAT XML file, got none below it; name it in "
                                 "data.annotations")
    labels: dict[str, bool] = {}
    for name in files:
        file = File(reading.folder.root / name, name, reading.near(_places(name, given)), Uploads(reading),
                    split_name(name))
        for element in _parts(reading, file):
            _read_part(reading, file, element)
        if file.tracks and reading.batch is not None:
            reading.findings.problem(f"{file.path}: expected boxes of images, got {len(file.tracks)} tracks of a "
                                     "video; export the task as CVAT for images 1.1", "tracks")
        elif file.tracks:
            add_tracks(reading, file.path, file.tracks, file.frames, _images_of(reading, name, given), file.split)
        note_passed(reading, file.path, file.passed, "shapes")
        for label, boxed in file.labels.items():
            labels[label] = boxed or labels.get(label, False)
    _number_classes(reading, labels)


def _places(name: str, given: Given) -> list[str]:
    """Folders in which a file's images may lie, from the likeliest on."""
    beside = str(PurePosixPath(name).parent)
    above = str(PurePosixPath(beside).parent)
    near = [f"{beside}/images", beside, "images", "", f"{above}/images", above]
    inside = [given.images] if given.images else []
    return list(dict.fromkeys(str(PurePosixPath(place)) for place in inside + near))


def _places_of(file: File, subset: str) -> Sequence[str]:
    if subset not in file.by_subset:
        file.by_subset[subset] = [*(str(PurePosixPath(place, subset)) for place in file.places if subset), *file.places]
    return file.by_subset[subset]


def _images_of(reading: Reading, name: str, given: Given) -> list[str]:
    """The images that may be frames of a file's video: in the folder that the settings name, near the file, or all."""
    if given.images:
        return reading.folder.images_in(given.images)
    return reading.folder.images_in(str(PurePosixPath(name).parent)) or reading.folder.images


def _parts(reading: Reading, file: File) -> Iterator[Any]:
    """The file's elements one by one, so that a large file is never held as a whole; whatever is wrong with it as XML
    is one problem."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, iterparse

    findings, text = reading.findings, reading.folder.text(file.name, "CVAT's XML", reading.findings, xml=True)
    if text is None:
        return
    if not text.strip():
        findings.problem(f"{file.path}:1: expected CVAT's XML, got an empty file; export the annotations again", "XML")
        return
    try:
        yield from _children(iterparse(io.StringIO(text.lstrip()), ("start", "end"), forbid_dtd=True), file, reading)
    except ParseError as error:
        line = error.position[0] + text[:len(text) - len(text.lstrip())].count("\n")
        findings.problem(f"{file.path}:{line}: expected CVAT's XML, got an error at column {error.position[1] + 1} "
                         f"({str(error).partition(':')[0]}); export the annotations again", "XML")
    except DefusedXmlException as error:
        findings.problem(f"{file.path}: expected plain XML, got {type(error).__name__}; remove its DTD and entities",
                         "DTD")
    except (ValueError, LookupError, RecursionError) as error:
        findings.problem(f"{file.path}: expected CVAT's XML, got {shown(str(error))}; export the annotations again",
                         "XML")


def _children(events: Iterator[tuple[str, Any]], file: File, reading: Reading) -> Iterator[Any]:
    depth, root = 0, None
    for event, element in events:
        depth += 1 if event == "start" else -1
        if root is None:
            root = element
            if root.tag != "annotations":
                reading.findings.problem(f"{file.path}: expected <annotations>, got <{shown(root.tag)[1:-1]}>; check "
                                         "that it is CVAT's XML", "no annotations")
                return
        elif event == "end" and depth == 1:
            yield element
            root.clear()


def _read_part(reading: Reading, file: File, element: Any) -> None:
    if element.tag == "meta":
        _read_meta(file, element)
    elif element.tag == "image":
        _add_image(reading, file, element)
    elif element.tag == "track":
        _add_track(reading, file, element)


def _read_meta(file: File, meta: Any) -> None:
    """Labels of a project or a task, but those that are the points of a skeleton; the size of the task."""
    for label in meta.iter("label"):
        name = label_of(label.findtext("name"))
        if name and not (label.findtext("parent") or "").strip():
            file.labels[name] = (label.findtext("type") or "").strip() in LABEL_TYPES
    tasks = list(meta.iter("task"))
    if len(tasks) == 1:
        file.frames = _frames_of(tasks[0])


def _frames_of(task: Any) -> Frames:
    count, first = (_whole(task.findtext(name)) for name in ("size", "start_frame"))
    step = re.fullmatch(r"\s*step\s*=\s*([1-9]\d{0,8})\s*", task.findtext("frame_filter") or "")
    return Frames(count, first or 0, int(step[1]) if step else 1)


def _whole(text: str | None) -> int | None:
    """A number of frames or of one, or None."""
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _add_image(reading: Reading, file: File, element: Any) -> None:
    name = element.get("name") or ""
    where = f"{file.path}: image {shown(name)}"
    if not name.strip():
        reading.findings.problem(f"{where}: expected the image's name, got none; export the annotations again",
                                 "image entry")
        return
    subset = (element.get("subset") or "").strip()
    places = _places_of(file, "" if reading.batch is not None else subset)
    path = (file.uploads.locate if is_renamed(name) else reading.locate)(name, places, where)
    if path is None or reading.leaves_aside(path, where):
        return
    size = _size(reading, where, element)
    row = None if size is False else reading.image(path, where, size, silent=True)
    if row is None:
        return
    if subset or file.split:
        reading.split(subset or file.split, path)
    for count, shape in enumerate(element, start=1):
        box = _shape(reading, file, shape, f"{where}: {shape.tag} {count}", row)
        if box is not None:
            reading.box(row, *box, f"{where}: {shape.tag} {count}")


def _size(reading: Reading, where: str, element: Any) -> tuple[int, int] | bool | None:
    """Width and height; None where the image file has to say; False and a problem for what is no size."""
    texts = element.get("width"), element.get("height")
    if texts == (None, None):
        return None
    sides = [number(text or "") for text in texts]
    if all(isinstance(side, float) and side.is_integer() and side > 0 for side in sides):
        return int(sides[0]), int(sides[1])
    reading.findings.problem(f"{where}: expected width and height as whole numbers, got {shown(texts)}; correct them",
                             "size")
    return False


def _shape(reading: Reading, file: File, shape: Any, where: str, row: int | None) -> tuple[str, Corners] | None:
    """Label and box of a shape; None where it has none, or none that can be used."""
    if shape.tag not in SHAPES:
        file.passed[shape.tag] += 1
        return None
    label = label_of(shape.get("label"))
    if label is None:
        reading.findings.problem(f"{where}: expected a label, got {shown(shape.get('label'))}; name its class",
                                 "no label")
        return None
    corners = corners_of(reading, shape.tag, shape.attrib, where, row)
    return None if corners is None else (label, corners)


def corners_of(reading: Reading, tag: str, shape: Mapping[str, str], where: str,
               row: int | None = None) -> Corners | None:
    """The upright box around a shape by its attributes, in pixels; None and one more problem if they are not right."""
    if tag == "polygon":
        return _around_points(reading, shape.get("points") or "", where, row)
    values = _numbers(reading, shape, {"box": SIDES, "ellipse": ELLIPSE, "mask": MASK}[tag], where, row)
    angle = _angle(reading, shape, where, row)
    if values is None or angle is None:
        return None
    if tag == "box":
        if angle:
            reading.findings.note(f"{where}: box rotated by {angle:g} degrees: its upright envelope is taken",
                                  "rotated box")
        return turned(values, angle) if angle else values
    reading.findings.note(f"{where}: the envelope of the {tag} is taken", tag)
    first, second, third, fourth = values
    if tag == "mask":
        return first, second, first + third, second + fourth
    return around_ellipse(first, second, third, fourth, angle)


def _numbers(reading: Reading, shape: Mapping[str, str], names: Sequence[str], where: str,
             row: int | None) -> Corners | None:
    values = [number(shape[name]) if name in shape else None for name in names]
    corners = numbers(values, len(names), f"{where}: {', '.join(names)}", reading, row)
    if corners is not None and names is not SIDES and min(corners[2:]) < 0:
        reading.unusable(f"{where}: expected {names[2]} and {names[3]} of at least 0, got {shown(corners[2:])}; "
                         "correct the shape", "negative size", row)
        return None
    return corners


def _angle(reading: Reading, shape: Mapping[str, str], where: str, row: int | None) -> float | None:
    """Degrees from 0 to below 360, clockwise."""
    if not (shape.get("rotation") or "").strip():
        return 0.0
    angle = numbers([number(shape["rotation"])], 1, f"{where}: rotation", reading, row)
    return None if angle is None else angle[0] % 360


def _around_points(reading: Reading, text: str, where: str, row: int | None) -> Corners | None:
    pairs = [pair.split(",") for pair in text.split(";") if pair.strip()]
    flat = [number(value) for pair in pairs for value in pair]
    if len(pairs) < 3 or any(len(pair) != 2 for pair in pairs):
        reading.findings.problem(f"{where}: expected three points x,y or more, separated by ;, got {shown(text)}; "
                                 "correct the polygon", "points")
        return None
    points = numbers(flat, len(flat), where, reading, row)
    if points is None:
        return None
    reading.findings.note(f"{where}: the envelope of the polygon is taken", "polygon")
    return around_points(points)


def _add_track(reading: Reading, file: File, element: Any) -> None:
    """The keyframes of a track, each with its box; None where the object is outside of the picture."""
    label, where = label_of(element.get("label")), f"{file.path}: track {shown(element.get('id'))}"
    if label is None:
        reading.findings.problem(f"{where}: expected a label, got {shown(element.get('label'))}; name its class",
                                 "no label")
        return
    track = Track(label, where)
    for shape in element:
        if shape.tag not in SHAPES:
            file.passed[shape.tag] += 1
            continue
        frame = _whole(shape.get("frame"))
        if frame is None:
            reading.findings.problem(f"{where}: expected the number of a frame, got {shown(shape.get('frame'))}; "
                                     "correct it", "frame")
        elif (shape.get("outside") or "").strip() == "1":
            track.boxes[frame] = None
        else:
            track.boxes[frame] = corners_of(reading, shape.tag, shape.attrib, f"{where}: {shape.tag} of frame {frame}")
            track.lost |= {frame} if track.boxes[frame] is None else set()
    file.tracks.append(track)


def _number_classes(reading: Reading, labels: Mapping[str, bool]) -> None:
    """Classes in the order of the files' labels, others after them by name."""
    used = set(reading.labels)
    left = [name for name, boxed in labels.items() if not boxed and name not in used]
    if left:
        reading.findings.note(f"{reading.folder.root}: labels that are no boxes' are left out: "
                              f"{shown(', '.join(left))}")
    names = [*(name for name in labels if name not in left), *sorted(used - set(labels))]
    reading.classes.update({name: row for row, name in enumerate(names, start=1)})
