"""What a file of predictions says, box by box, and the checks that all forms share."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from mgral.data.dataset import ImageId, ImageInfo
from mgral.findings import Findings
from mgral.pool.image_names import ImageNames
from mgral.pool.inspection import DetectionSequence

OVERHANG = 1.0
"""Pixels by which a box may stand over the edge of its image because programs count and round pixels differently."""

Numbers = tuple[float, ...]


@dataclass
class Columns:
    """Boxes row by row: `image` and `label` are rows of the images and classes, `numbers` holds x1, y1, x2, y2 (pixels)
    and the score one after another, `place` is what `where` makes a text of."""

    where: Callable[[int], str]
    image: array = field(default_factory=lambda: array("q"))
    label: array = field(default_factory=lambda: array("q"))
    numbers: array = field(default_factory=lambda: array("d"))
    place: array = field(default_factory=lambda: array("q"))

    def add(self, image: int, label: int, numbers: Iterable[float], place: int) -> None:
        self.image.append(image)
        self.label.append(label)
        self.numbers.extend(numbers)
        self.place.append(place)


def detections_of(columns: Columns, sizes: np.ndarray, findings: Findings) -> DetectionSequence:
    """The detections of each image, best first; what cannot be is a problem, a box without area a note.

    `sizes` (N, 2) are width and height of the images.
    """
    numbers = np.frombuffer(columns.numbers, dtype=np.float64).reshape(-1, 5)
    image, label = (np.frombuffer(column, dtype=np.int64) for column in (columns.image, columns.label))
    size = sizes[image].astype(float)
    xyxy, scores = numbers[:, :4], numbers[:, 4]
    clipped = np.clip(xyxy, 0, np.tile(size, 2))
    _check(columns, xyxy, scores, clipped, size, findings)
    area = (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    for row in np.flatnonzero(~area & (xyxy[:, 2] >= xyxy[:, 0]) & (xyxy[:, 3] >= xyxy[:, 1])):
        findings.note(f"{columns.where(columns.place[row])}: box {_text(xyxy[row])} has no area: left out", "no area")
    kept = np.flatnonzero(area)
    order = kept[np.lexsort((-scores[kept], image[kept]))]
    return DetectionSequence(np.bincount(image[kept], minlength=len(sizes)), clipped[order].astype(np.float32),
                             scores[order].astype(np.float32), label[order])


def _check(columns: Columns, xyxy: np.ndarray, scores: np.ndarray, clipped: np.ndarray, size: np.ndarray,
           findings: Findings) -> None:
    def refuse(rows: np.ndarray, expected: Callable[[int], str], kind: str) -> None:
        for row in np.flatnonzero(rows):
            findings.problem(f"{columns.where(columns.place[row])}: expected {expected(row)}", kind)

    finite = np.isfinite(xyxy).all(axis=1)
    refuse(~finite, lambda row: f"finite numbers, got {_text(xyxy[row])}; correct the box", "not finite")
    turned = finite & ((xyxy[:, 2] < xyxy[:, 0]) | (xyxy[:, 3] < xyxy[:, 1]))
    refuse(turned, lambda row: f"a width and a height of at least 0, got a box from {_text(xyxy[row, :2])} to "
                               f"{_text(xyxy[row, 2:])}; correct it", "negative side")
    outside = finite & ~turned & (np.abs(xyxy - clipped).max(axis=1, initial=0) > OVERHANG)
    refuse(outside, lambda row: f"a box inside {size[row, 0]:.0f} × {size[row, 1]:.0f} pixels, got {_text(xyxy[row])}; "
                                "clip it, or predict on the image in its own size", "outside")
    refuse(~((scores >= 0) & (scores <= 1)),
           lambda row: f"a score from 0 to 1, got {scores[row]:g}; write probabilities, not percent or logits",
           "score")


def _text(numbers: np.ndarray) -> str:
    return "[" + ", ".join(f"{number:.6g}" for number in numbers) + "]"


@dataclass
class Matched:
    """The rows of images that predictions name, and what could not be matched."""

    names: ImageNames
    row: Mapping[ImageId, int]
    findings: Findings
    met: dict[ImageId, str] = field(default_factory=dict)
    """The name under which each image was met."""
    unknown: list[tuple[str, str]] = field(default_factory=list)
    """Places and names of which no image is known."""
    by_end: list[tuple[str, ImageId]] = field(default_factory=list)
    """Names with other folders than the image's."""

    def find(self, name: str, where: str, remedy: str = "") -> int | None:
        """The row of the image of that name, which may be asked for once; else None, and a problem is kept."""
        found = self.names.find(name)
        if not found:
            self.unknown.append((where, name))
        elif len(found) > 1:
            self.findings.problem(f"{where}: expected a name that means one image, got {name!r}, which may be "
                                  f"{found[0]!r} or {found[1]!r}; {remedy or 'write the path below the folder'}",
                                  "several images")
        elif found[0] in self.met:
            self.findings.problem(f"{where}: expected each image once, got {name!r}, which means {found[0]!r} as "
                                  f"{self.met[found[0]]!r} does; keep one of them", "image twice")
        else:
            self.met[found[0]] = name
            if _by_end(name, found[0]):
                self.by_end.append((name, found[0]))
            return self.row[found[0]]
        return None

    def report(self, path: object) -> None:
        """Says what was not found: one line if nothing was, with an example of both."""
        if self.by_end:
            name, image_id = self.by_end[0]
            self.findings.note(f"{path}: {len(self.by_end)} names were matched by their end, such as {name!r} for "
                               f"{image_id!r}")
        if not self.unknown:
            return
        if not self.met:
            where, name = self.unknown[0]
            self.findings.problem(f"{path}: expected names of the {len(self.row)} images (such as "
                                  f"{next(iter(self.row), '')!r}), got none of them but others (such as {name!r}); "
                                  "name the folder that was predicted on")
            return
        for where, name in self.unknown:
            self.findings.problem(f"{where}: expected one of the images, got {name!r}; take it out, or name the folder "
                                  "that holds it", "unknown image")


def _by_end(name: str, image_id: ImageId) -> bool:
    """Whether the name has folders that are not the image's."""
    theirs, ours = (text.replace("\\", "/").split("/") for text in (name, image_id))
    return len(theirs) > len(ours) or theirs[:-1] != (ours[-len(theirs):-1] if len(theirs) > 1 else [])


def sizes_of(images: Mapping[ImageId, ImageInfo]) -> np.ndarray:
    """Width and height (N, 2) of the images, in their order."""
    return np.array([(image.width, image.height) for image in images.values()], dtype=np.int64).reshape(-1, 2)
