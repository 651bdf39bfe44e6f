"""What people labelled, read from whatever their tool writes: COCO, Label Studio, CVAT for images, Pascal VOC or YOLO,
as a file, a folder or a zip archive. The format is looked at, not asked for.

Which image: by name, never by number. A name counts as it is written, with other slashes, percent-decoded, in another
Unicode form, without Label Studio's prefix or Roboflow's hash, as the batch was written out, or by the longest end of a
path; what had to be done is noted. Images that are none of the batch are left aside and counted; a name of no image at
all is said where an image of the batch is missing.

Refused, all together: an image twice; a name that means two images; an `mgral_id` that disagrees with the name; another
size than the image's; unknown classes; boxes that stand out by more than a pixel, have no area or are not finite;
predictions without annotations; tracks of a video.

Rotated boxes become their upright envelope, crowd and difficult ones are to be ignored. An annotation without a box
says that nothing is there. Only Label Studio's say that somebody finished them: in other formats an image without a box
is `silent`, for the batch went out with an entry or a file for each image. Whether a batch may come back in part is for
the caller to decide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mgral.annotation.archives import as_given, opened
from mgral.annotation.collecting import Collected, collect
from mgral.annotation.matching import folded
from mgral.annotation.proposals import NO_CLASS
from mgral.data.dataset import Boxes, Dataset, ImageId
from mgral.data.formats.checking import Rules, dataset_of
from mgral.data.formats.reading import Reading, shown, uncollected
from mgral.data.headers import Header
from mgral.errors import DataError
from mgral.findings import Findings

NAMED = 3
"""Images that a message names."""


@dataclass(frozen=True, eq=False)
class Returned:
    """What came back of a batch, in the batch's order.

    `format` one of `mgral.data.formats.detecting.NAMES`; `classes` what the labels of the boxes are rows of.
    """

    format: str
    classes: tuple[str, ...]
    boxes: dict[ImageId, Boxes]
    """Of every image that somebody looked at, empty ones included."""
    missing: tuple[ImageId, ...]
    """Of the batch, but not in what came back."""
    unfinished: tuple[ImageId, ...]
    """In what came back, which says that nobody finished them."""
    extra: int
    """Images that are none of the batch."""
    silent: int
    """Of `boxes` those without a box of which the format cannot say whether anybody looked."""
    seconds: float | None
    """For which people worked, where the file says so."""
    timed: int
    """Images that `seconds` is of."""
    timed_boxes: int
    """Boxes in them."""
    notes: tuple[str, ...]


def read_returned(path: Path, dataset: Dataset, ids: Sequence[ImageId], *, new_classes: bool = False) -> Returned:
    """Reads what came back of the batch `ids` in a file, a folder or a zip archive.

    The classes are the data set's. If it has none, or with `new_classes`, those of the file come after them.

    Raises:
        DataError: nothing of the batch is there, or something that cannot be used; all of it.
    """
    with opened(path) as place, uncollected():
        returned = _read(place, dataset, ids, new_classes)
        return replace(returned, notes=tuple(as_given(note, place, path) for note in returned.notes))


def _read(place: Path, dataset: Dataset, ids: Sequence[ImageId], new_classes: bool) -> Returned:
    findings = Findings()
    collected = collect(place, dataset, ids, findings)
    reading = collected.reading
    if not findings.problems and not reading.images:
        findings.problem(_nothing(place, ids, collected))
    classes = settle_classes(reading, dataset, new_classes)
    boxes = boxes_of(reading, dataset, ids)
    if findings.problems:
        raise DataError(*findings.problems)
    missing = tuple(image_id for image_id in ids if reading.row(image_id) is None)
    _note_others(place, collected, missing, findings)
    found = [reading.images[reading.row(image_id)] for image_id in boxes]
    seconds = [image.seconds for image in found if image.seconds is not None]
    return Returned(
        collected.format, classes, boxes, missing,
        tuple(image_id for image_id in ids if image_id not in boxes and reading.row(image_id) is not None),
        len(collected.others), 0 if collected.format == "label_studio" else sum(not len(own) for own in boxes.values()),
        math.fsum(seconds) if seconds else None, len(seconds),
        sum(len(boxes[image.file_name]) for image in found if image.seconds is not None), findings.notes)


def settle_classes(reading: Reading, dataset: Dataset, new: bool = False) -> tuple[str, ...]:
    """Sets the classes that boxes may have: the data set's and, if it has none or `new` ones count, the file's."""
    known = dict(zip(dataset.classes, dataset.category_ids, strict=True))
    theirs = list(reading.classes)
    _rename(reading, dataset.classes)
    used = set(reading.labels)
    if new or not known:
        renamed = known_names(theirs, dataset.classes)
        others = [name for name in dict.fromkeys(renamed.get(name, name) for name in theirs) if name not in known]
        if NO_CLASS in others and NO_CLASS not in used and len(others) + len(known) > 1:
            others.remove(NO_CLASS)
        if known and others:
            reading.findings.note(f"{len(others)} new classes: {shown(', '.join(others))}")
        first = max(known.values(), default=0) + 1
        known |= {name: number for number, name in enumerate(others, start=first)}
    reading.classes = known
    reading.groups.clear()
    return tuple(known)


def _rename(reading: Reading, known: Sequence[str]) -> None:
    """Gives boxes the names that the data set has, where a format could not write them."""
    names = known_names(set(reading.labels), known)
    if names:
        reading.labels = [names.get(label, label) for label in reading.labels]


def known_names(names: Sequence[str] | set[str], known: Sequence[str]) -> dict[str, str]:
    """The known name by each that is not known, but is one but for blanks and controls."""
    by_folded: dict[str, list[str]] = {}
    for name in known:
        by_folded.setdefault(folded(name), []).append(name)
    alike = {name: by_folded.get(folded(name), []) for name in names if name not in known}
    return {name: fitting[0] for name, fitting in alike.items() if len(fitting) == 1}


def boxes_of(reading: Reading, dataset: Dataset, ids: Sequence[ImageId]) -> dict[ImageId, Boxes]:
    """The checked boxes of the images that somebody looked at, in the order of `ids`; faults go to the findings."""
    headers = {image_id: Header(dataset.images[image_id].width, dataset.images[image_id].height, 1, None, "")
               for image_id in ids if reading.row(image_id) is not None}
    boxes: Mapping[ImageId, Boxes] = dataset_of(reading, headers, Rules(without_boxes="empty")).boxes
    return {image_id: boxes[image_id] for image_id in ids if image_id in boxes}


def _nothing(place: Path, ids: Sequence[ImageId], collected: Collected) -> str:
    others = list(collected.others)
    got = f"{len(others)} others, the first ones {shown(', '.join(others[:NAMED]))}" if others else "none"
    return (f"{place}: expected images of the batch ({', '.join(map(shown, ids[:NAMED]))}), got {got}; give what came "
            "back of this batch")


def _note_others(place: Path, collected: Collected, missing: Sequence[ImageId], findings: Findings) -> None:
    others = list(collected.others)
    if others:
        findings.note(f"{place}: {len(others)} images are none of the batch and are left aside, the first ones "
                      f"{shown(', '.join(others[:NAMED]))}")
    for name, where in collected.unknown if missing else ():
        findings.note(f"{where}: {shown(name)} is no image of the data set, and {len(missing)} of the batch are "
                      f"missing, the first one {shown(missing[0])}: was it renamed? then undo that", "renamed")
