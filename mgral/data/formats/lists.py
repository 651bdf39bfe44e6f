"""Lists of images, one a line, as people write them: with an ending or without, with a second column or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import PurePosixPath

from mgral.data.formats.folder import Folder, composed, is_image
from mgral.data.formats.reading import Reading
from mgral.data.formats.split_names import meaning, of_one_split
from mgral.findings import Findings

IMAGE_FOLDERS = frozenset({"jpegimages", "images", "image", "imgs", "img", "pictures", "photos", "frames"})
"""What folders of images are called, against folders of masks or of small copies."""
PRESENCE = ("-1", "0", "1")
"""The second column of VOC's lists a class: whether that is in the image."""


class Pictures:
    """The images of a folder, or of a place in it, by their names without ending."""

    def __init__(self, folder: Folder, place: str = "") -> None:
        self.names = folder.images_in(place) if place else folder.images

    @cached_property
    def by_stem(self) -> dict[str, list[str]]:
        """Paths by the last part without ending, in composed form."""
        stems: dict[str, list[str]] = {}
        for name in self.names:
            stems.setdefault(composed(stem_of(name)), []).append(name)
        return stems

    @cached_property
    def by_name(self) -> dict[str, list[str]]:
        """Paths by the last part with its ending, in composed form."""
        names: dict[str, list[str]] = {}
        for name in self.names:
            names.setdefault(composed(name.rpartition("/")[2]), []).append(name)
        return names

    @cached_property
    def by_path(self) -> dict[str, list[str]]:
        """Paths by the whole path without ending, in composed form."""
        paths: dict[str, list[str]] = {}
        for name in self.names:
            paths.setdefault(composed(name.rpartition(".")[0]), []).append(name)
        return paths

    @cached_property
    def folders(self) -> dict[str, list[str]]:
        """Folders with images by all `folder_keys`."""
        own = dict.fromkeys(name.rpartition("/")[0] for name in self.names)
        folders: dict[str, list[str]] = {}
        for folder in own:
            for key in folder_keys(folder):
                folders.setdefault(key, []).append(folder)
        return folders

    def named(self, name: str, places: Sequence[str]) -> list[str]:
        """The images that a name without folder or ending means, or a path without ending: one, none or, if they fit
        alike, several. Those in `places` first, then those whose path ends so, then those in a folder of images."""
        parts = [part for part in composed(name).split("/") if part not in ("", ".", "..")]
        for place in places:
            where = [part for part in place.split("/") if part not in ("", ".")]
            inside = self.by_path.get("/".join([*where, *parts]))
            if inside:
                return inside
        fitting = self.by_stem.get(parts[-1], []) if parts else []
        if len(parts) < 2:
            return preferred(fitting)
        ending = "/".join(["", *parts])
        return preferred([path for path in fitting if composed(f"/{path.rpartition('.')[0]}").endswith(ending)])


def folder_keys(folder: str) -> set[str]:
    """Keys of which two folders share one if they differ in one part that one of them may lack."""
    parts = folder.split("/") if folder else []
    other = [[*parts[:row], *middle, *parts[row + 1:]] for row in range(len(parts)) for middle in ((), ("*",))]
    return {"/".join(path) for path in (parts, *other)}


def preferred(names: list[str]) -> list[str]:
    """Those in a folder that is called as folders of images are, or all."""
    usual = [name for name in names if IMAGE_FOLDERS & {part.lower() for part in name.split("/")[:-1]}]
    return usual or names


def stem_of(name: str) -> str:
    """The last part without its last ending: `100114004_186.rgb` of `a/100114004_186.rgb.jpg`."""
    return name.rpartition("/")[2].rpartition(".")[0]


def lines_of(reading: Reading, path: str) -> Iterator[tuple[str, str]]:
    """Where each line stands that is not blank, and the line."""
    text = reading.folder.text(path, "a list of images", reading.findings)
    for number, line in enumerate((text or "").splitlines(), start=1):
        if line.strip():
            yield f"{reading.folder.root / path}:{number}", line.strip()


def is_column(word: str) -> bool:
    """Whether it is the second column of a list: VOC's -1, 0 or 1, or the annotation file beside the image."""
    return word in PRESENCE or word.lower().endswith(".xml")


def image_of(reading: Reading, pictures: Pictures, line: str, places: Sequence[str], where: str,
             lost: set[str]) -> str | None:
    """The image that a line means; None where it is nowhere (it counts as missing) or may be several (a problem).

    `lost`: names without folder and ending of which it was said already; those of which it is said now are added.
    """
    fitting = candidates(reading.folder, pictures, line, places)
    if len(fitting) == 1:
        return fitting[0]
    name = _readings(line)[-1]
    stem = _without_ending(name.replace("\\", "/")).rpartition("/")[2]
    if stem in lost:
        return None
    if fitting:
        reading.findings.problem(f"{where}: expected the name of one image, got {line!r}, which could be "
                                 f"{fitting[0]!r} or {fitting[1]!r}; write its path below {reading.folder.root}",
                                 "name of several files")
        return None
    image = _by_tail(reading, pictures, line, where) or reading.locate(name, places, where)
    lost.update([stem] if image is None else [])
    return image


def candidates(folder: Folder, pictures: Pictures, line: str, places: Sequence[str]) -> list[str]:
    """The images that a line means without anything repaired: one, none or several that fit alike."""
    for name in (text.replace("\\", "/") for text in _readings(line)):
        path = _written(folder, name, places)
        fitting = [path] if path else pictures.named(name, places)
        if not fitting and _without_ending(name) != name:
            fitting = pictures.named(_without_ending(name), places)
        if fitting:
            return fitting
    return []


def _readings(line: str) -> list[str]:
    """A line as it is, and without its last column."""
    words = line.rsplit(None, 1)
    return [line, words[0]] if len(words) == 2 and is_column(words[1]) else [line]


def members(reading: Reading, path: str, places: Sequence[str]) -> list[str]:
    """The images that a list names, one a line; those that are nowhere count as missing."""
    pictures = Pictures(reading.folder)
    beside, lost = str(PurePosixPath(path).parent), set()
    found = (image_of(reading, pictures, line, (beside, *places), where, lost)
             for where, line in lines_of(reading, path))
    return [image for image in found if image is not None]


def split_lists(reading: Reading, pictures: Pictures) -> list[str]:
    """Lists of images that are called as splits are: `train.txt`, `val.txt`."""
    named = [name for name in reading.folder.ending(".txt")
             if meaning(stem_of(name)) or stem_of(name).lower() == "trainval"]
    return [name for name in named if _names_images(reading, pictures, name)]


def _names_images(reading: Reading, pictures: Pictures, path: str) -> bool:
    """Whether one of the first lines names an image."""
    quiet = Findings()
    return any(candidates(reading.folder, pictures, line, (path.rpartition("/")[0],))
               or reading.folder.find(line, (), "", quiet) for _, line in islice(lines_of(reading, path), 20))


def _written(folder: Folder, name: str, places: Sequence[str]) -> str | None:
    for place in (*places, "") if is_image(name) else ():
        path = folder.below(name if place in ("", ".") else f"{place}/{name}")
        if path in folder.files:
            return path
    return None


def _by_tail(reading: Reading, pictures: Pictures, line: str, where: str) -> str | None:
    """Of a path without ending that is none below the root: the longest tail that is."""
    for name in (text.replace("\\", "/") for text in _readings(line) if not is_image(text)):
        parts = _without_ending(name).split("/")
        for tail in ("/".join(parts[row:]) for row in range(1, len(parts))):
            fitting = pictures.named(tail, ())
            if len(fitting) == 1 and of_one_split(name, fitting[0]):
                reading.findings.note(f"{where}: {line!r} was taken for {fitting[0]!r}, the only image whose path "
                                      "ends so", "name by tail")
                return fitting[0]
    return None


def _without_ending(name: str) -> str:
    return name.rpartition(".")[0] if is_image(name) or name.lower().endswith(".xml") else name
