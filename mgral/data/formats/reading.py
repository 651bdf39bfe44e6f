"""What a reader collects from the files of a data set, before anything of it is checked against the pictures."""

from __future__ import annotations

import gc
import math
from array import array
from bisect import bisect_right
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from mgral.data.formats.folder import Folder
from mgral.data.formats.split_names import meaning as meaning
from mgral.data.formats.split_names import split_meaning as split_meaning
from mgral.data.formats.split_names import split_of as split_of
from mgral.findings import Findings

Corners = tuple[float, float, float, float]
OVERHANG = 1.0
"""Pixels by which boxes stand over the edge in files of tools that count pixels otherwise: clipped, and said once."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the settings name: paths below the data folder, or absolute ones for annotation files.

    `images` the folder that holds the images, `annotations` files or folders of annotations, `splits` a folder, a list
    of names or an annotation file for each split. Empty where a reader has to look by itself.
    """

    images: str = ""
    annotations: tuple[str, ...] = ()
    splits: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class FoundImage:
    """`file_name` below the root; `size` (width, height) as annotated, if it is said.

    `annotated`: somebody looked at it, so that no box means that nothing is there. `silent`: nobody says so of an image
    without boxes, as in COCO; the settings decide then. `seconds` that somebody worked on it, where the file says.
    """

    file_name: str
    where: str
    size: tuple[int, int] | None = None
    annotated: bool = True
    silent: bool = False
    seconds: float | None = None


class Places:
    """Where boxes stand, row by row: the text is made when a message needs it."""

    def __init__(self) -> None:
        self._before: list[str] = []
        self._firsts: list[int] = []
        self._names: list[object] = []

    def add(self, before: str, names: Sequence[object]) -> None:
        """Adds rows, each called by the text `before` and its name; by its name, a text, alone if there is none."""
        if not self._before or self._before[-1] != before:
            self._before.append(before)
            self._firsts.append(len(self._names))
        self._names.extend(names)

    def __getitem__(self, row: int) -> str:
        before, name = self._before[bisect_right(self._firsts, row) - 1], self._names[row]
        return f"{before}{shown(name)}" if before else name


@dataclass
class Reading:
    """Images, boxes and splits as the files have them, and what was found wrong with the files' form.

    Boxes are columns, row by row: the image's row, class name, whether it is to be ignored, and where it stands;
    `corners` x1, y1, x2, y2 (pixels, or shares of the image if `normalised`) one after the other.
    """

    folder: Folder
    findings: Findings
    normalised: bool = False
    classes: dict[str, int] = field(default_factory=dict)
    """Stable category ids by class name, in the order in which the classes are counted."""
    groups: dict[str, int] = field(default_factory=dict)
    """The same of classes that only group others: none to detect unless the settings name them."""
    images: list[FoundImage] = field(default_factory=list)
    splits: dict[str, list[str]] = field(default_factory=dict)
    """File names by split, as the source has them; an image may be in several."""
    rows: array[int] = field(default_factory=lambda: array("q"))
    labels: list[str] = field(default_factory=list)
    corners: array[float] = field(default_factory=lambda: array("d"))
    ignore: list[bool] = field(default_factory=list)
    places: Places = field(default_factory=lambda: Places())
    repair: bool = False
    """Whether what cannot be used is left out with a note instead of refused."""
    dropped: set[int] = field(default_factory=set)
    """Rows of images of which a box was left out or refused."""
    advice: str = "correct it or set `data.invalid_boxes: repair`"
    """What to do about a box that cannot be used."""
    missing: list[tuple[str, str]] = field(default_factory=list)
    """Names of images that are nowhere, and where they are named."""
    batch: Container[str] | None = None
    """Of files that came back of a batch: its images. Others are left aside, names count from the root only, splits
    for nothing, and the frames of a video are no images."""
    aside: list[tuple[str, str]] = field(default_factory=list)
    """Images that were left aside, and where they are named."""
    _by_name: dict[str, int] = field(default_factory=dict)

    def locate(self, name: str, places: Sequence[str], where: str) -> str | None:
        """The path of the image that a file names so, looked for in these folders first; None where it is nowhere."""
        refused = self.findings.refused
        path = self.folder.find(name, places, where, self.findings)
        if path is None and self.findings.refused == refused:
            self.missing.append((name, where))
        return path

    def near(self, places: list[str]) -> list[str]:
        """These folders, in which a file's images may lie; the root alone for a file that came back."""
        return places if self.batch is None else [""]

    def leaves_aside(self, path: str, where: str) -> bool:
        """Whether an image is none of the batch, which is kept in mind."""
        if self.batch is None or path in self.batch:
            return False
        self.aside.append((path, where))
        return True

    def image(self, file_name: str, where: str, size: tuple[int, int] | None = None, annotated: bool = True,
              silent: bool = False) -> int | None:
        """Adds an image and gives its row; None and a problem if it was added before."""
        if file_name in self._by_name:
            first = self.images[self._by_name[file_name]]
            self.findings.problem(f"{where}: expected each image once, got {file_name} again (first: {first.where}); "
                                  "remove one entry", "image twice")
            return None
        self._by_name[file_name] = len(self.images)
        self.images.append(FoundImage(file_name, where, size, annotated, silent))
        return len(self.images) - 1

    def rename(self, names: Mapping[str, str], folder: Folder) -> None:
        """Calls the images by other names, which are those of files in another folder."""
        found, self.images, self._by_name, self.batch, self.folder = self.images, [], {}, None, folder
        for image in found:
            if self.image(names[image.file_name], image.where, image.size, image.annotated) is None:
                self.images.append(image)  # so that the rows stay what they are

    def row(self, file_name: str) -> int | None:
        """The row of an image that was added before."""
        return self._by_name.get(file_name)

    def box(self, row: int, label: str, corners: Corners, where: str, ignore: bool = False) -> None:
        self.rows.append(row)
        self.labels.append(label)
        self.corners.extend(corners)
        self.ignore.append(ignore)
        self.places.add("", (where,))

    def boxes(self, rows: Sequence[int], labels: Sequence[str], corners: np.ndarray, where: str,
              names: Sequence[object], ignore: Sequence[bool]) -> None:
        """Adds many boxes (corners (n, 4)), each of which stands at `where` and its name."""
        self.rows.extend(rows)
        self.labels.extend(labels)
        self.corners.frombytes(corners.astype(np.float64).tobytes())
        self.ignore.extend(ignore)
        self.places.add(where, names)

    def unusable(self, line: str, kind: str, row: int | None = None) -> None:
        """A box that cannot be used: refuses the data set, or under repair leaves it out with a note."""
        if row is not None:
            self.dropped.add(row)
        if self.repair:
            self.findings.note(f"{line}: left out", kind)
        else:
            self.findings.problem(f"{line}; {self.advice}", kind)

    def silent(self) -> tuple[int, int]:
        """How many images have no box of which nobody says whether they are empty, and how many might have been so."""
        boxed, listed = {*self.rows, *self.dropped}, [row for row, image in enumerate(self.images) if image.silent]
        return sum(row not in boxed for row in listed), len(listed)

    def split(self, name: str, file_name: str) -> None:
        self.splits.setdefault(name, []).append(file_name)

    def count_classes(self) -> None:
        """Numbers the classes by name from 1, for formats that have no list of them."""
        self.classes.update({name: row for row, name in enumerate(sorted(set(self.labels)), start=1)})


NUMBERS = frozenset({int, float})


def numbers(values: object, count: int, where: str, reading: Reading, row: int | None = None) -> Corners | None:
    """`count` finite numbers, or None and one more problem (under repair a note: the box of image `row` is left out).
    """
    if not isinstance(values, (list, tuple)) or len(values) != count or not NUMBERS.issuperset(map(type, values)):
        reading.findings.problem(f"{where}: expected {count} numbers, got {shown(values)}; correct the box", "numbers")
        if row is not None:
            reading.dropped.add(row)
        return None
    try:
        floats = tuple(map(float, values))
    except OverflowError:
        floats = (math.inf,)
    if not all(map(math.isfinite, floats)):
        reading.unusable(f"{where}: expected finite numbers, got {shown(values)}", "not finite", row)
        return None
    return floats


def number(text: str) -> float | str:
    """The number that the text spells, or the text itself for `numbers` to refuse."""
    try:
        return text if "_" in text else float(text)  # Python takes 1_0 for ten
    except ValueError:
        return text


def shown(value: object, most: int = 80) -> str:
    """A value as a message quotes it: short, whatever it is."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"


@contextmanager
def uncollected() -> Iterator[None]:
    """Reading makes millions of objects and no circles: looking for circles among them takes a third of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
