"""Which image of a batch a file means that came back, whatever a tool has made of the names."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from unicodedata import category

from mgral.data.dataset import Dataset, ImageId
from mgral.data.formats.detecting import CLASS_LISTS, head_of, may_be_label
from mgral.data.formats.folder import Folder, is_image
from mgral.data.formats.names import plain_names
from mgral.data.formats.reading import Reading
from mgral.data.formats.shapes import UNSEEN
from mgral.data.formats.split_names import meaning
from mgral.data.formats.text import legal
from mgral.data.formats.uploads import Uploads, is_renamed, names_of_upload
from mgral.findings import Findings


@dataclass
class LabelFiles:
    """The files of one image each (Pascal VOC, YOLO) in a folder that came back.

    `images` the image by file, `aside` files of images that are none of the batch, `unknown` those of no image that is
    known; `doubtful` those that mean two of the batch; `others` all other files.
    """

    images: dict[str, ImageId] = field(default_factory=dict)
    aside: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    doubtful: dict[str, tuple[ImageId, ImageId]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)


def batch_folder(dataset: Dataset, ids: Sequence[ImageId]) -> Folder:
    """The data set's images as a folder. A name that fits several means one of the batch; it may be the name under
    which the batch was written out (`plain_names`), or what XML can write of it."""
    return Folder.of(dataset.root, dataset.images, frozenset(ids), lambda: _other_names(ids))


def _other_names(ids: Sequence[ImageId]) -> dict[str, ImageId]:
    meant: dict[str, set[ImageId]] = {}
    for image_id in ids:
        meant.setdefault(legal(image_id), set()).add(image_id)
    with suppress(ValueError):  # no batch of these names was written out
        for image_id, name in plain_names(ids).items():
            meant.setdefault(f"{name}{PurePosixPath(image_id).suffix}", set()).add(image_id)
    return {name: images.pop() for name, images in meant.items() if len(images) == 1}


def label_files(folder: Folder, batch: Folder) -> LabelFiles:
    """Looks which image each file of a folder is called like."""
    found, uploads = LabelFiles(), Uploads(Reading(batch, Findings()))
    files = set(folder.ending(".xml", ".txt"))
    endings = {name.rpartition(".")[2] for name in batch.images} if files else ()
    for name in folder.files:
        meant = _meant(uploads, name.rpartition(".")[0], sorted(endings)) if name in files else []
        if name not in files or not _is_label_file(folder, name, bool(meant)):
            found.others.append(name)
        elif not meant:
            found.unknown.append(name)
        elif meant[0] not in batch.near:
            found.aside.append(name)
        elif len(meant) > 1:
            found.doubtful[name] = meant[0], meant[1]
        else:
            found.images[name] = meant[0]
    return found


def _is_label_file(folder: Folder, name: str, named: bool) -> bool:
    """Whether a file is of one image: XML always; text that looks so, or that is called like an image and cannot be a
    list."""
    if name.lower().endswith(".xml"):
        return True
    base = PurePosixPath(name)
    is_list = base.name.lower() in CLASS_LISTS or meaning(base.stem) or base.name.lower().startswith("readme")
    if named and not is_list:
        return True
    head = head_of(folder, name)
    return may_be_label(head) and bool(head.strip() or named or "labels" in base.parts[:-1])


def _meant(uploads: Uploads, stem: str, endings: Sequence[str]) -> list[ImageId]:
    """The images of the batch that a path without ending means, or one that stands for all others; none for no image.

    The longest tail counts: with `cam1/x.jpg` and `cam2/x.png`, `labels/cam1/x` is the first.
    """
    folder, longest, best = uploads.reading.folder, 1, dict[ImageId, None]()
    for name in [*(f"{stem}.{ending}" for ending in endings), *([stem] if is_image(stem) else [])]:
        fitting, count = _fitting(uploads, name) if name != stem or not best else ([], 0)
        if count > longest:
            best.clear()
        if count >= longest:
            best.update(dict.fromkeys(fitting))
            longest = count
    near = [image for image in best if image in folder.near]
    if len(near) > 1 and longest == 1:  # in one folder each has the name under which it was written out
        known = (folder.known_as.get(f"{stem.rpartition('/')[2]}.{ending}") for ending in endings)
        near = [image for image in known if image in near] or near
    return near or list(best)[:1]


def _fitting(uploads: Uploads, name: str) -> tuple[list[ImageId], int]:
    for meant in names_of_upload(name):
        fitting, count, _ = uploads.reading.folder.fitting(meant)
        if fitting:
            return fitting, count
    cleaned = uploads.by_cleaned(name) if is_renamed(name) else None
    return ([cleaned], 1) if cleaned else ([], 0)


def folded(name: str) -> str:
    """A class name without what tools and formats lose of it: blanks around it, controls, line ends."""
    return " ".join("".join(" " if mark == "\ufffd" or category(mark) in UNSEEN else mark for mark in name).split())
