"""Makes a data set of what a reader collected: every image is looked at, every box is put into its image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mgral.data.dataset import Boxes, Dataset, ImageInfo
from mgral.data.formats.orientation import place
from mgral.data.formats.reading import OVERHANG, Reading
from mgral.data.headers import Header
from mgral.findings import SHOWN

ROUNDING = 0.02
"""Pixels by which a box may overhang or fall short only because its file rounds coordinates."""
NAMED = 30
"""Classes that a message lists."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say of doubtful data: see `DataConfig`."""

    repair: bool = False
    orientation: str = "auto"
    without_boxes: str | None = None
    classes: tuple[str, ...] | None = None


def dataset_of(reading: Reading, headers: Mapping[str, Header], rules: Rules) -> Dataset:
    """The data set, as far as it can be used; what is wrong with it is added to the reading's findings.

    `headers` of the images that can be read. Boxes that cannot be used are left out. An image whose boxes were all
    left out counts as not annotated: that nothing is in it nobody has said.
    """
    classes = _chosen_classes(reading, rules.classes)
    image = np.array(reading.rows, dtype=np.int64)
    corners = _fitted(reading, headers, rules, image)
    kept = ~np.isnan(corners[:, 0])
    _leave_out_unknown(reading, classes, rules, kept)
    reading.dropped.update(image[~kept].tolist())
    boxes = _by_image(reading, classes, image, corners, kept)
    nothing = Boxes.of()
    for row, found in enumerate(reading.images):
        annotated = found.annotated and not (found.silent and rules.without_boxes == "unlabelled")
        if row not in boxes and annotated and found.file_name in headers and row not in reading.dropped:
            boxes[row] = nothing
    if rules.repair:
        _note_emptied(reading, boxes)
    _note_silent(reading, rules)
    images = {name: ImageInfo(name, name, headers[name].width, headers[name].height)
              for name in (found.file_name for found in reading.images) if name in headers}
    names = [found.file_name for found in reading.images]
    splits = {name: tuple(dict.fromkeys(member for member in members if member in images))
              for name, members in reading.splits.items()}
    return Dataset(reading.folder.root, tuple(classes), tuple(classes.values()), images,
                   {names[row]: boxes[row] for row in sorted(boxes) if names[row] in images}, splits)


def _chosen_classes(reading: Reading, wanted: Sequence[str] | None) -> dict[str, int]:
    """The classes to detect with their category ids: those the source has, or the wanted ones in their order."""
    if wanted is None:
        for name in reading.groups:
            reading.findings.note(f"{reading.folder.root}: class {name!r} is left out: no box uses it, and others name "
                                  "it as their group; name it in data.classes if it is to be detected", "group")
        return dict(reading.classes)
    known, findings = reading.classes | reading.groups, reading.findings
    for name in dict.fromkeys(wanted):
        if known and name not in known:
            findings.problem(f"data.classes: expected classes of the data set ({_listed(known)}), got {name!r}"
                             f"{near(name, known)}; remove it or correct its spelling")
        elif wanted.count(name) > 1:
            findings.problem(f"data.classes: expected each class once, got {name!r} again; remove one")
    if not known:  # nothing is labelled yet, so the settings alone say what there is
        return {name: number for number, name in enumerate(dict.fromkeys(wanted), start=1)}
    return {name: known[name] for name in wanted if name in known}


def _leave_out_unknown(reading: Reading, classes: Mapping[str, int], rules: Rules, kept: np.ndarray) -> None:
    advice, unknown = reading.advice if rules.classes is None else "correct it or extend data.classes", {}
    for row, label in enumerate(reading.labels):
        if label not in classes:
            unknown.setdefault(label, []).append(row)
    for label, rows in unknown.items():
        kept[rows] = False
        line = f": expected a class of {_listed(classes)}, got {label!r}{near(label, classes)}; {advice}"
        _tell(reading.findings.problem, rows, lambda row, line=line: reading.places[row] + line, "unknown class")


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def near(name: str, known: Mapping[str, int] | Sequence[str]) -> str:
    """A hint at the name that was meant, if one is near."""
    import difflib

    folded = {other.casefold().strip(): other for other in known}
    close = difflib.get_close_matches(name.casefold().strip(), folded, n=1)
    return f" (did you mean {folded[close[0]]!r}?)" if close else ""


def _by_image(reading: Reading, classes: Mapping[str, int], image: np.ndarray, corners: np.ndarray,
              kept: np.ndarray) -> dict[int, Boxes]:
    """The boxes of each row of images that has any; views of three arrays."""
    number = {name: row for row, name in enumerate(classes)}
    order = np.flatnonzero(kept)[np.argsort(image[kept], kind="stable")]
    rows, xyxy = image[order], corners[order].astype(np.float32)
    labels = np.array([number.get(label, -1) for label in reading.labels], dtype=np.int64)[order]
    ignore = np.array(reading.ignore, dtype=bool)[order]
    starts = np.flatnonzero(np.diff(rows, prepend=-1)).tolist()
    ends = [*starts[1:], len(rows)]
    return {int(rows[start]): Boxes(xyxy[start:end], labels[start:end], ignore[start:end])
            for start, end in zip(starts, ends if starts else [], strict=True)}


def _fitted(reading: Reading, headers: Mapping[str, Header], rules: Rules, image: np.ndarray) -> np.ndarray:
    """Corners (n, 4) in pixels of the images as seen, NaN for boxes that cannot be used.

    A box may stand over the edge by `ROUNDING` in silence, by `OVERHANG` with a note; by more it is refused, or under
    repair cut to the image. One without area is refused, or under repair left out.
    """
    corners, faulty = place(reading, headers, image, np.array(reading.corners, dtype=np.float64).reshape(-1, 4),
                            rules.orientation)
    size = _sizes(reading, headers, faulty)[image]
    clipped = corners.clip(0, np.tile(size, 2))
    known, over = ~np.isnan(size[:, 0]), np.abs(clipped - corners).max(axis=1, initial=0)
    empty = known & ~(np.minimum(clipped[:, 2] - clipped[:, 0], clipped[:, 3] - clipped[:, 1]) > ROUNDING)
    beyond = known & ~empty & (over > OVERHANG + ROUNDING)
    findings, places = reading.findings, reading.places

    def line(what: Callable[[int], str]) -> Callable[[int], str]:
        return lambda row: (f"{places[row]}: box {text_of_box(corners[row])} in {_size_text(size[row])}: {what(row)}")

    _tell(findings.note, np.flatnonzero(known & ~empty & ~beyond & (over > ROUNDING)),
          line(lambda row: "clipped, it stands over the edge by a pixel at most"), "overhang")
    if rules.repair:
        _tell(findings.note, np.flatnonzero(empty), line(lambda row: "dropped, it has no area in the image"), "dropped")
        _tell(findings.note, np.flatnonzero(beyond), line(lambda row: f"clipped to {text_of_box(clipped[row])}"), "cut")
    else:
        _tell(findings.problem, np.flatnonzero(empty | beyond),
              lambda row: _refusal(places[row], corners[row], size[row], reading.advice), "invalid box")
    clipped[~known | empty | (beyond & (not rules.repair))] = np.nan
    return clipped


def _sizes(reading: Reading, headers: Mapping[str, Header], faulty: set[int]) -> np.ndarray:
    """Width and height of each image, NaN where its boxes cannot be put into it."""
    nothing = np.nan, np.nan
    seen = (None if row in faulty else headers.get(found.file_name) for row, found in enumerate(reading.images))
    sizes = [nothing if header is None else (header.width, header.height) for header in seen]
    return np.array(sizes, dtype=np.float64).reshape(-1, 2)


def _tell(tell: Callable[..., None], rows: Sequence[int], line: Callable[[int], str], kind: str) -> None:
    """Says the first few of these in full, and of the others only how many they are: there may be a million."""
    for row in rows[:SHOWN]:
        tell(line(row), kind)
    if len(rows) > SHOWN:
        tell(line(rows[0]), kind, len(rows) - SHOWN)


def _refusal(where: str, corners: np.ndarray, size: np.ndarray, advice: str) -> str:
    swapped = corners[2] < corners[0] or corners[3] < corners[1]
    what = "x1 < x2 and y1 < y2" if swapped else f"a box with an area and inside {_size_text(size)}"
    return f"{where}: expected {what}, got {text_of_box(corners)}; {advice}"


def _note_emptied(reading: Reading, boxes: Mapping[int, Boxes]) -> None:
    for row in sorted(reading.dropped):
        if row not in boxes:
            found = reading.images[row]
            reading.findings.note(f"{found.where}: {found.file_name}: every box was dropped, so the image counts as "
                                  "not annotated", "emptied")


def _note_silent(reading: Reading, rules: Rules) -> None:
    """What was made of images that are listed without a box, where the format does not say what that means."""
    silent, listed = reading.silent()
    if silent and rules.without_boxes is None:
        reading.findings.note(f"{silent} of {listed} listed images have no box and count as annotated and empty; set "
                              "data.without_boxes: unlabelled if nobody has looked at them")


def text_of_box(corners: Sequence[float]) -> str:
    return "[" + ", ".join(f"{coordinate:.6g}" for coordinate in corners) + "]"


def _size_text(size: Sequence[float]) -> str:
    return f"{size[0]:.0f} × {size[1]:.0f} pixels"
