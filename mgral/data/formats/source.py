"""What the files of a data set say, as every reader gives it, and the checks that make a `Dataset` of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mgral.config import DataConfig
from mgral.data.dataset import Boxes, Dataset, ImageId, ImageInfo
from mgral.data.decoding import each, upright_size
from mgral.errors import DataError

ROUNDING = 0.02
"""Pixels by which a box may overhang or fall short only because its file rounds coordinates."""

ENDINGS = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Of the files that are images, where a format names a folder only."""

Corners = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Folder:
    """A data folder, and whether a path named in one of its files stays within: `name in folder`."""

    root: Path
    _real: dict[Path, Path] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        path = self.root / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            return False
        real = path.resolve() if path.is_symlink() else self._resolved(path.parent)
        return real.is_relative_to(self._resolved(self.root))

    def _resolved(self, folder: Path) -> Path:
        # Resolving is slow and the images of a data set share a few folders.
        if folder not in self._real:
            self._real[folder] = folder.resolve()
        return self._real[folder]


@dataclass(frozen=True, slots=True)
class SourceBox:
    """`corners` x1, y1, x2, y2 as the file has them: pixels, or fractions of the image if the source is normalised."""

    where: str
    label: str
    corners: Corners
    ignore: bool = False


@dataclass(frozen=True, slots=True)
class SourceImage:
    """`file_name` below the root; `size` (width, height) as annotated; `boxes` None where nobody has annotated."""

    where: str
    id: ImageId
    file_name: str
    split: str
    boxes: tuple[SourceBox, ...] | None
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """`classes` maps names to stable category ids, in order; `notes` say what the reader had to assume."""

    root: Path
    classes: Mapping[str, int]
    images: tuple[SourceImage, ...]
    normalised: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checked data set, and one line for each repair or assumption that was made."""

    dataset: Dataset
    notes: tuple[str, ...] = ()


def checked(source: Source, config: DataConfig, problems: Sequence[str]) -> Loaded:
    """Makes a `Dataset` of what a reader found, or refuses it with the reader's problems and all found here."""
    problems, notes = list(problems), list(source.notes)
    classes = chosen_classes(source.classes, config.classes, problems)
    images = _distinct(source.images, problems)
    sizes = _sizes(source.root, images, problems)
    fit = Fit(config.invalid_boxes == "repair", problems, notes)
    boxes = {image.id: fit.boxes(image, sizes[image.id], classes, source.normalised)
             for image in images if image.boxes is not None and image.id in sizes}
    if not images and not problems:
        problems.append(f"{source.root}: expected at least one image, got none; check data.pool and the folders")
    if problems:
        raise DataError(*problems)
    infos = {image.id: ImageInfo(image.id, image.file_name, *sizes[image.id]) for image in images}
    splits: dict[str, list[ImageId]] = {}
    for image in images:
        splits.setdefault(image.split, []).append(image.id)
    dataset = Dataset(source.root, tuple(classes), tuple(classes.values()), infos, boxes,
                      {name: tuple(ids) for name, ids in splits.items()})
    return Loaded(dataset, tuple(notes))


def chosen_classes(known: Mapping[str, int], wanted: Sequence[str] | None, problems: list[str]) -> dict[str, int]:
    """The classes to detect with their category ids: those the source has, or the wanted ones in their order."""
    if not known and not problems:
        problems.append("expected at least one class, got none; annotate a box or set data.classes")
    if wanted is None:
        return dict(known)
    for name in wanted:
        if name not in known:
            problems.append(f"data.classes: expected classes of the data set ({', '.join(known)}), got {name!r}; "
                            "remove it or correct its spelling")
        elif wanted.count(name) > 1:
            problems.append(f"data.classes: expected each class once, got {name!r} again; remove one")
    return {name: known[name] for name in wanted if name in known}


@dataclass(frozen=True, slots=True)
class Fit:
    """Puts boxes into their images, collecting problems, or notes of what it repaired."""

    repair: bool
    problems: list[str]
    notes: list[str]
    advice: str = "correct it or set `data.invalid_boxes: repair`"

    def boxes(self, image: SourceImage, size: tuple[int, int], classes: Mapping[str, int],
              normalised: bool = False) -> Boxes:
        rows = {name: row for row, name in enumerate(classes)}
        fitted = []
        for box in image.boxes or ():
            corners = self._inside(box.where, _scaled(box.corners, size) if normalised else box.corners, size)
            if box.label not in rows:
                self.problems.append(f"{box.where}: expected a class of {', '.join(rows)}, got {box.label!r}; "
                                     "correct it or extend data.classes")
            elif corners:
                fitted.append((corners, rows[box.label], box.ignore))
        return Boxes.of(*zip(*fitted, strict=True)) if fitted else Boxes.of()

    def _inside(self, where: str, corners: Corners, size: tuple[int, int]) -> Corners | None:
        """The box clipped to its image, or None if nothing of it may be kept."""
        clipped = clip(corners, size)
        empty = min(clipped[2] - clipped[0], clipped[3] - clipped[1]) <= ROUNDING
        if not empty and all(abs(a - b) <= ROUNDING for a, b in zip(clipped, corners, strict=True)):
            return clipped
        if self.repair:
            done = "dropped, it has no area in the image" if empty else f"clipped to {_shown(clipped)}"
            self.notes.append(f"{where}: box {_shown(corners)} in {size[0]} × {size[1]} pixels: {done}")
            return None if empty else clipped
        self.problems.append(f"{where}: expected a box with an area and inside {size[0]} × {size[1]} pixels, got "
                             f"{_shown(corners)}; {self.advice}")
        return None


def clip(corners: Corners, size: tuple[int, int]) -> Corners:
    width, height = size
    x1, y1, x2, y2 = corners
    return (min(max(x1, 0.0), float(width)), min(max(y1, 0.0), float(height)),
            min(max(x2, 0.0), float(width)), min(max(y2, 0.0), float(height)))


def numbers(values: object, count: int, where: str, problems: list[str]) -> tuple[float, ...] | None:
    """`count` finite numbers, or None and one more problem."""
    whole = isinstance(values, (list, tuple)) and len(values) == count
    if not whole or any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values):
        problems.append(f"{where}: expected {count} numbers, got {values!r}; correct the box")
        return None
    try:
        floats = tuple(float(value) for value in values)
    except OverflowError:
        floats = (math.inf,)
    if not all(map(math.isfinite, floats)):
        problems.append(f"{where}: expected finite numbers, got {values!r}; correct the box")
        return None
    return floats


def number(text: str) -> float | str:
    """The number that the text spells, or the text itself for `numbers` to refuse."""
    try:
        return float(text)
    except ValueError:
        return text


def text_of(path: Path, what: str, problems: list[str]) -> str | None:
    """The file's text, or None and one more problem."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        problems.append(f"{path}: expected {what}, got nothing there; check data.format and the path")
    except UnicodeDecodeError as error:
        problems.append(f"{path}: expected UTF-8 text, got {error.reason} at byte {error.start}; write it again")
    except OSError as error:
        problems.append(f"{path}: expected {what}, got {error.strerror}; check the path and its permissions")
    return None


def _distinct(images: Sequence[SourceImage], problems: list[str]) -> list[SourceImage]:
    by_id: dict[ImageId, SourceImage] = {}
    by_file: dict[str, SourceImage] = {}
    for image in images:
        twin = by_file.get(image.file_name) or by_id.get(image.id)
        if twin is None:
            by_id[image.id] = by_file[image.file_name] = image
        elif twin.file_name != image.file_name:
            problems.append(f"{image.where}: expected an image id of its own, got {image.id!r}, which "
                            f"{twin.file_name} has ({twin.where}); renumber or rename one of them")
        elif twin.split != image.split:
            problems.append(f"{image.where}: expected each image in one split, got {image.file_name} in "
                            f"{twin.split!r} and {image.split!r}; take it out of one")
        else:
            problems.append(f"{image.where}: expected each image once, got {image.file_name} again "
                            f"(first: {twin.where}); remove one entry")
    return list(by_id.values())


def _sizes(root: Path, images: Sequence[SourceImage], problems: list[str]) -> dict[ImageId, tuple[int, int]]:
    safe, folder = [], Folder(root)
    for image in images:
        if image.file_name not in folder:
            problems.append(f"{image.where}: expected a path inside {root}, got {image.file_name}; "
                            "copy the file into the data folder")
        else:
            safe.append(image)
    sizes = {}
    read = each(upright_size, [root / image.file_name for image in safe])
    for image, (size, faults) in zip(safe, read, strict=True):
        problems += faults
        if size is not None:
            sizes[image.id] = size
            if image.size not in (None, size):
                problems.append(f"{image.where}: expected {root / image.file_name} to have {image.size[0]} × "
                                f"{image.size[1]} pixels as annotated, got {size[0]} × {size[1]} as seen after EXIF "
                                "rotation; restore the image that was annotated or correct its size")
    return sizes


def _scaled(corners: Corners, size: tuple[int, int]) -> Corners:
    width, height = size
    return corners[0] * width, corners[1] * height, corners[2] * width, corners[3] * height


def _shown(corners: Corners) -> str:
    return "[" + ", ".join(f"{coordinate:.6g}" for coordinate in corners) + "]"
