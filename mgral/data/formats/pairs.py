"""Which image an annotation file is about, where files are joined by their names only."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from functools import lru_cache

from mgral.data.formats.folder import composed
from mgral.data.formats.lists import IMAGE_FOLDERS, Pictures, folder_keys, preferred, stem_of
from mgral.data.formats.reading import Reading
from mgral.data.formats.split_names import of_one_split, split_of

MOST = 100
"""Images of one name that are compared one by one; of more, only those in the nearest folders are."""


def pair(reading: Reading, pictures: Pictures, files: Sequence[str]) -> tuple[dict[str, str], set[str]]:
    """The image of each annotation file: one of its name in the same folder, else in a parallel one
    (`Annotations/train` and `JPEGImages/train`), else anywhere, if it is the only one.

    Returns:
        The images by file, and the files whose image is in doubt, each with a problem. Files in neither have none.
    """
    images: dict[str, str] = {}
    doubtful: set[str] = set()
    owner: dict[str, str] = {}
    for near in (_beside, _parallel, _of_one_split):
        for file in files:
            if file not in images and file not in doubtful:
                _match(reading, file, _candidates(pictures, file, near, owner), images, doubtful, owner)
    return images, doubtful


def _match(reading: Reading, file: str, fitting: list[str], images: dict[str, str], doubtful: set[str],
           owner: dict[str, str]) -> None:
    if not fitting:
        return
    where = reading.folder.root / file
    if len(fitting) > 1:
        reading.findings.problem(f"{where}: expected one image of this name, got {fitting[0]} and {fitting[1]}; remove "
                                 "one or say by data.images where the images are", "two images of one name")
    elif fitting[0] in owner:
        reading.findings.problem(f"{where}: expected an image of its own, got only {fitting[0]}, which "
                                 f"{owner[fitting[0]]} annotates; restore the image, or say by data.annotations which "
                                 "files are meant", "two files of one image")
    else:
        images[file], owner[fitting[0]] = fitting[0], file
        return
    doubtful.add(file)


def _candidates(pictures: Pictures, file: str, near: Callable[[str, str], bool], owner: Container[str]) -> list[str]:
    stem, folder = stem_of(file), folder_of(file)
    if near is _beside:
        found = pictures.by_path.get(composed(f"{folder}/{stem}".lstrip("/")), [])
    else:
        found = pictures.by_stem.get(composed(stem), [])
    found = found or pictures.by_name.get(composed(stem), [])
    if len(found) > MOST:
        found = [image for other in _near_folders(pictures, folder) for image in
                 pictures.by_path.get(composed(f"{other}/{stem}".lstrip("/")), [])]
    fitting = [image for image in found if near(folder, folder_of(image))]
    fitting = [image for image in fitting if stem_of(image) == stem] or fitting
    return preferred([image for image in fitting if image not in owner]) or fitting[:1]


def _near_folders(pictures: Pictures, folder: str) -> list[str]:
    """The folders of images that differ from this one in one part."""
    shared = sorted((pictures.folders.get(key, []) for key in folder_keys(folder)), key=len)
    return list(dict.fromkeys(other for folders in shared for other in folders[:MOST]))[:MOST]


def add_unannotated(reading: Reading, names: Sequence[str]) -> None:
    """Adds images without annotation file: beside those with one, in a folder of a split, or elsewhere below a folder
    of images."""
    known = {folder_of(image.file_name) for image in reading.images}
    roots = {_image_root(folder) for folder in known} - {None}
    for name in names:
        folder = folder_of(name)
        if reading.row(name) is None and (folder in known or split_of(name) or _image_root(folder) in roots):
            reading.image(name, str(reading.folder.root / name), annotated=False)


def _image_root(folder: str) -> str | None:
    """The path down to the part that is called as folders of images are."""
    parts = folder.split("/")
    rows = [row for row, part in enumerate(parts) if part.lower() in IMAGE_FOLDERS]
    return "/".join(parts[:rows[0] + 1]) if rows else None


def folder_of(path: str) -> str:
    return path.rpartition("/")[0]


def _beside(folder: str, other: str) -> bool:
    return folder == other


@lru_cache(100_000)
def _parallel(folder: str, other: str) -> bool:
    """Whether two folders differ in one part, which one of them may lack, and not in the split that they name."""
    ours, theirs = ([part for part in path.split("/") if part] for path in (folder, other))
    while ours and theirs and ours[0] == theirs[0]:
        del ours[0], theirs[0]
    while ours and theirs and ours[-1] == theirs[-1]:
        del ours[-1], theirs[-1]
    return len(ours) < 2 and len(theirs) < 2 and _of_one_split(folder, other)


@lru_cache(100_000)
def _of_one_split(folder: str, other: str) -> bool:
    """Whether two folders may belong together: not if both name a split, and not the same."""
    return of_one_split(f"{folder}/_", f"{other}/_")
