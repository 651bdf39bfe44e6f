"""Label Studio's JSON: a list of tasks with their annotations, whose regions are in percent of the image.

A task that nobody finished is an image that is not annotated; a finished annotation without a region says that nothing
is in it. Of several finished ones the newest counts. Rectangles may be turned about their upper left corner; of them,
of ellipses and of polygons the upright box around them is taken. Other regions are passed over, and counted.
Predictions are no labels.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from mgral.data.formats.coco import split_name
from mgral.data.formats.detecting import Found
from mgral.data.formats.folder import is_image
from mgral.data.formats.reading import Corners, Given, Reading, numbers, shown
from mgral.data.formats.shapes import around_ellipse, around_points, label_of, note_passed, turned_about_corner
from mgral.data.formats.uploads import Uploads
from mgral.findings import Findings

LABELLED = ("rectanglelabels", "ellipselabels", "polygonlabels", "labels")
"""Types of regions with a label, which stands under the type's name."""
BARE = ("rectangle", "ellipse", "polygon")
"""Types of regions whose label is that of another of the same id."""
RECTANGLE = ("x", "y", "width", "height")
ELLIPSE = ("x", "y", "radiusX", "radiusY")
NUMBERS = (int, float)
IMAGE_KEYS = ("image", "img")
LONGEST = 10**9
"""Seconds that somebody may have worked on an annotation: what is longer is damage."""


@dataclass
class File:
    """One JSON file while it is read, and the regions that were passed over by type."""

    path: Path
    places: Sequence[str]
    split: str | None
    uploads: Uploads
    passed: Counter[str] = field(default_factory=Counter)


def read(reading: Reading, found: Found, given: Given) -> None:
    """Reads all files; adds to the findings whatever is wrong with their form."""
    if not found.files:
        reading.findings.problem(f"{reading.folder.root}: expected an export of Label Studio (JSON), got none below "
                                 "it; name it in data.annotations")
    uploads = Uploads(reading, given.images)
    for name in found.files:
        file = File(reading.folder.root / name, reading.near(_places(name, given)), split_name(name), uploads)
        if name in found.parsed:
            tasks = found.parsed.pop(name)
            _read_tasks(reading, file, tasks)
            note_passed(reading, file.path, file.passed, "regions")
        elif not reading.findings.refused:
            reading.findings.problem(f"{file.path}: expected an export of Label Studio as JSON, got no such file; "
                                     "correct data.annotations")
    reading.count_classes()


def _places(name: str, given: Given) -> list[str]:
    """Folders in which a file's images may lie, from the likeliest on."""
    beside = str(PurePosixPath(name).parent)
    near = [f"{beside}/images", beside, "images", ""]
    inside = [given.images] if given.images else []
    return list(dict.fromkeys(str(PurePosixPath(place)) for place in inside + near))


def _read_tasks(reading: Reading, file: File, tasks: object) -> None:
    if not isinstance(tasks, list):
        reading.findings.problem(f"{file.path}: expected a list of tasks, got {shown(tasks)}; export the project as "
                                 "JSON")
        return
    for row, task in enumerate(tasks):
        named = isinstance(task, dict) and task.get("id") is not None
        where = f"{file.path}: task {shown(task['id'])}" if named else f"{file.path}: task at row {row}"
        if isinstance(task, dict) and isinstance(task.get("data"), dict):
            _read_task(reading, file, task, where)
        else:
            reading.findings.problem(f"{where}: expected a task with its data, got {shown(task)}; export the project "
                                     "as JSON", "task")


def _read_task(reading: Reading, file: File, task: Mapping, where: str) -> None:
    finished = _finished(reading, task, where)
    name = _image_name(reading, task["data"], finished or [], where)
    path = name and file.uploads.locate(name, file.places, where)
    if finished is None or not path or reading.leaves_aside(path, where):
        return
    chosen = _chosen(reading, finished, where)
    size = _size(reading, chosen["result"], where) if chosen else None
    row = None if size is False else reading.image(path, where, size or None, annotated=chosen is not None)
    if row is None:
        return
    if file.split:
        reading.split(file.split, path)
    if chosen:
        reading.images[row].seconds = _seconds(chosen)
        for label, corners, place in _boxes(reading, chosen["result"], where, row, file.passed):
            reading.box(row, label, corners, place)


def _finished(reading: Reading, task: Mapping, where: str) -> list[Mapping] | None:
    """The annotations that somebody finished; None and a problem for what are none."""
    annotations = task.get("annotations")
    if annotations is None:
        annotations = task.get("completions")
    whole = isinstance(annotations, list) and all(isinstance(entry, dict) for entry in annotations)
    if annotations is not None and not whole:
        reading.findings.problem(f"{where}: expected a list of annotations, got {shown(annotations)}; export the "
                                 "project as JSON", "annotations")
        return None
    finished = [entry for entry in annotations or () if not (entry.get("was_cancelled") or entry.get("skipped"))]
    for entry in finished:
        if not isinstance(entry.get("result"), list) or not all(isinstance(region, dict) for region in entry["result"]):
            reading.findings.problem(f"{where}: expected a list of regions as an annotation's result, got "
                                     f"{shown(entry.get('result'))}; export the project as JSON", "result")
            return None
    return finished


def _image_name(reading: Reading, data: Mapping, finished: Sequence[Mapping], where: str) -> str | None:
    """The image's name in a task's data; `path` is what mgral writes beside the image's address."""
    values = {key: value[0] if isinstance(value, list) and len(value) == 1 else value for key, value in data.items()}
    texts = {key: value.strip() for key, value in values.items() if isinstance(value, str) and value.strip()}
    for path in (values.get("path"), texts.get("path")):
        if isinstance(path, str) and path in reading.folder.files:
            return path
    regions = (region.get("to_name") for entry in finished for region in entry["result"][:1])
    for key in (*IMAGE_KEYS, *(name for name in regions if isinstance(name, str))):
        if key in texts:
            return texts[key]
    names = sorted({text for text in texts.values() if _names_image(text)})
    if len(names) == 1:
        return names[0]
    got = f"{len(names)}: {shown(', '.join(names))}" if names else f"none in {shown(dict(data))}"
    reading.findings.problem(f"{where}: expected one image in the task's data, got {got}; export tasks of one image "
                             "each", "no image")
    return None


def _names_image(text: str) -> bool:
    return len(text) < 10_000 and any(is_image(part) for part in (text, text.partition("?")[0], text.partition("#")[0]))


def _chosen(reading: Reading, finished: Sequence[Mapping], where: str) -> Mapping | None:
    """The newest of the finished annotations, noted where the others have other boxes."""
    if len(finished) < 2:
        return finished[0] if finished else None
    newest = max(finished, key=_age)
    values = [region.get("value") for region in newest["result"]]
    others = [entry for entry in finished if [region.get("value") for region in entry["result"]] != values]
    if others and any(_sorted_boxes(reading, other) != _sorted_boxes(reading, newest) for other in others):
        reading.findings.note(f"{where}: {len(finished)} annotations that differ: the newest "
                              f"({shown(newest.get('id'))}) is taken", "several annotations")
    return newest


def _seconds(entry: Mapping) -> float | None:
    """How long somebody worked on an annotation, which Label Studio calls its lead time."""
    seconds = entry.get("lead_time")
    return float(seconds) if type(seconds) in NUMBERS and 0 <= seconds <= LONGEST else None


def _age(entry: Mapping) -> tuple[float, float]:
    time = _time(entry.get("updated_at"))
    return _time(entry.get("created_at")) if time == -math.inf else time, _real(entry.get("id"))


def _time(value: object) -> float:
    """Seconds since 1970 of a time that is written as ISO 8601 (without a zone UTC) or as such seconds."""
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return _real(value)


def _real(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return -math.inf
    return min(value, 10**18) if value > 0 else 0.0


def _sorted_boxes(reading: Reading, entry: Mapping) -> list:
    """An annotation's boxes, in an order of their own; faults of an annotation that may not count are not told."""
    aside = Reading(reading.folder, Findings())
    return sorted((label, corners) for label, corners, _ in _boxes(aside, entry["result"], "", 0, Counter()))


def _size(reading: Reading, regions: Sequence[Mapping], where: str) -> tuple[int, int] | bool | None:
    """Width and height of the image that was annotated; None if nothing says so, False and a problem for two."""
    sizes = {size for size in map(_size_of, regions) if size is not None}
    if len(sizes) > 1:
        reading.findings.problem(f"{where}: expected regions of one image, got sizes of {shown(sorted(sizes))}; export "
                                 "tasks of one image each", "sizes")
        return False
    width, height = sizes.pop() if sizes else (0.5, 0.5)
    return (int(width), int(height)) if width == int(width) and height == int(height) else None


def _size_of(region: Mapping) -> tuple[float, float] | None:
    width, height = region.get("original_width"), region.get("original_height")
    usable = type(width) in NUMBERS and type(height) in NUMBERS and 0 < width < 10**9 and 0 < height < 10**9
    return (width, height) if usable else None


def _boxes(reading: Reading, regions: Sequence[Mapping], where: str, row: int,
           passed: Counter[str]) -> Iterator[tuple[str, Corners, str]]:
    """Label, corners in pixels and place of each region that has a box."""
    labelled = {str(region.get("id")) for region in regions if region.get("type") in LABELLED}
    for number, region in enumerate(regions, start=1):
        kind, value = region.get("type"), region.get("value")
        value = value if isinstance(value, dict) else {}
        if kind is None:
            kind = next((key for key in LABELLED if key in value), None)
        if kind not in LABELLED + BARE or (kind == "labels" and not _has_place(value)):
            passed[kind if isinstance(kind, str) else shown(kind)] += 1
        elif kind in LABELLED or str(region.get("id")) not in labelled:
            place = f"{where}: region {number}"
            label, corners = _label(reading, kind, value, place), _corners(reading, region, value, place, row)
            if label is not None and corners is not None:
                yield label, corners, place


def _has_place(value: Mapping) -> bool:
    return any(key in value for key in ("width", "radiusX", "points"))


def _label(reading: Reading, kind: str, value: Mapping, where: str) -> str | None:
    names = value.get(kind)
    label = label_of(names[0]) if isinstance(names, list) and len(names) == 1 else None
    if label is None:
        reading.findings.problem(f"{where}: expected one label under {kind!r}, got {shown(names)}; label the region in "
                                 "Label Studio or take it out", "label")
    return label


def _corners(reading: Reading, region: Mapping, value: Mapping, where: str, row: int) -> Corners | None:
    """The upright box around a region, in pixels."""
    size = _size_of(region)
    if size is None:
        got = shown((region.get("original_width"), region.get("original_height")))
        reading.findings.problem(f"{where}: expected original_width and original_height, by which percent become "
                                 f"pixels, got {got}; export the project as JSON", "original size")
        return None
    if region.get("image_rotation") not in (None, 0):
        reading.findings.problem(f"{where}: expected an image that is not turned, got image_rotation "
                                 f"{shown(region['image_rotation'])}; turn it back in Label Studio and draw the boxes "
                                 "again, or turn the image file", "image rotation")
        return None
    if "points" in value:
        return _around_polygon(reading, value["points"], size, where, row)
    return _around(reading, value, size, where, row)


def _around(reading: Reading, value: Mapping, size: tuple[float, float], where: str, row: int) -> Corners | None:
    names = ELLIPSE if "radiusX" in value else RECTANGLE
    given = [*(value.get(name) for name in names), value.get("rotation") or 0]
    region = numbers(given, 5, f"{where}: {names[0]}, {names[1]}, {names[2]}, {names[3]}, rotation", reading, row)
    if region is None or not _are_percent(reading, region[:4], size, region[4], where):
        return None
    # A percent of the width is another length than one of the height: pixels first, then turned.
    x, y, width, height = (share / 100 * side for share, side in zip(region[:4], size * 2, strict=True))
    angle = region[4] % 360
    if min(width, height) < 0:
        reading.unusable(f"{where}: expected {names[2]} and {names[3]} of at least 0, got {shown(region[2:4])}; "
                         "correct the region", "negative size", row)
        return None
    if names is ELLIPSE:
        reading.findings.note(f"{where}: the envelope of the ellipse is taken", "ellipse")
        return around_ellipse(x, y, width, height, angle)
    if not angle:
        return x, y, x + width, y + height
    reading.findings.note(f"{where}: rectangle rotated by {angle:g} degrees: its upright envelope is taken",
                          "rotated box")
    return turned_about_corner(x, y, width, height, angle)


def _are_percent(reading: Reading, percent: Corners, size: tuple[float, float], angle: float, where: str) -> bool:
    """Whether numbers can be percent of the image, to a pixel. A turned side may be longer than the one it is percent
    of, but not longer than the diagonal."""
    if max(percent) <= 100:
        return True
    longest = math.hypot(*size) if angle else 0
    limits = [100 * max(1, longest / side) + 100 / side for side in size]
    if all(share <= limit for share, limit in zip(percent, limits * 2, strict=True)):
        return True
    reading.findings.problem(f"{where}: expected percent of the image, 0 to 100, got {shown(percent)}; these look like "
                             "pixels: divide them by the image's size and multiply by 100", "percent")
    return False


def _around_polygon(reading: Reading, points: object, size: tuple[float, float], where: str,
                    row: int) -> Corners | None:
    flat = [value for point in points for value in point] if isinstance(points, list) and len(points) > 2 and all(
        isinstance(point, list) and len(point) == 2 for point in points) else None
    percent = numbers(flat, len(flat) if flat else 6, f"{where}: points", reading, row)
    if percent is None:
        return None
    x1, y1, x2, y2 = around_points(percent)
    if not _are_percent(reading, (x1, y1, x2, y2), size, 0, where):
        return None
    reading.findings.note(f"{where}: the envelope of the polygon is taken", "polygon")
    return tuple(share / 100 * side for share, side in zip((x1, y1, x2, y2), size * 2, strict=True))
