"""What is known of image files without decoding them, and everything that makes one unusable.

The first time each file is opened: 3 s for 100,000 small JPEGs that the system has in memory (6 s by Pillow, that only
tells their sizes). Threads help only where a disk or a network is waited for, or 16-bit files are decoded (otherwise
two are twice as slow as one: what Python does of the work holds one lock), so they start when files take longer than
`SLOW`. From then on it is a `stat` a file: 1 s.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL.ImageFile import ImageFile

from mgral.data.decoding import (
    FULL,
    ImageFault,
    brightest,
    exif_orientation,
    fault_of,
    load,
    opened,
    shown,
    silent_pillow,
    size_as_seen,
    too_large,
)
from mgral.data.filecache import FileCache, stamps_of
from mgral.data.plainheaders import ends, plain_size
from mgral.files import sha256_of
from mgral.findings import Findings

HEAD, TAIL = 8192, 4096
"""Bytes at the beginning and at the end of a file that are looked at."""
CHUNK = 64
SLOW = 0.001
"""Seconds a file from which on threads read, `THREADS` of them."""
THREADS = 8
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
_VERSION = "headers 1"
_ROW = np.dtype([("width", "<i4"), ("height", "<i4"), ("orientation", "u1"), ("brightest", "<i4"), ("digest", "S16")])
_THUMBNAIL, _MASK, _PART_OF = 1, 4, 254
"""Bits of a TIFF page that say it is no picture of its own, and the tag that holds them."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Header:
    """One image file. `width` and `height` in pixels as seen, after EXIF rotation.

    `orientation` is EXIF's, 1 to 8, and 1 where there is none or the file is a TIFF, which Pillow turns upright by
    itself. `brightest` is the largest value of a 16-bit file, None for one of eight bits. Files of the same bytes have
    the same `digest`: of their size and both ends.
    """

    width: int
    height: int
    orientation: int
    brightest: int | None
    digest: str


def read_headers(root: Path, names: Sequence[str], cache: Path | None, max_pixels: int, findings: Findings,
                 progress: Progress | None = None) -> dict[str, Header]:
    """The headers of the usable files among `names`, paths below `root`, in their order.

    What is wrong with the others becomes a problem: missing, no file, empty, a Git LFS pointer, of another format, cut
    short, more than one picture, larger than `max_pixels`. A file that only looks as if it were cut short is decoded
    to be sure, one that decodes is never refused; a 16-bit file is decoded for its brightest value.

    Args:
        cache: the file that keeps what was read until a file changes; None to keep nothing.
        progress: called with (files read, files to read in all), where any are to be read.
    """
    stamps, unreachable = stamps_of(root, names)
    kept = FileCache(cache, root, _VERSION)
    headers: dict[str, Header | None] = dict.fromkeys(names)
    known = kept.known(names, stamps)
    for place, values in zip(known, kept.rows[list(known.values())].tolist(), strict=True):
        headers[names[place]] = _header(values)
    unread = [place for place in range(len(names)) if place not in known and place not in unreachable]
    faults = {place: fault_of(root / names[place], error) for place, error in unreachable.items()}
    work = [(root, names[place], size) for place, size in zip(unread, stamps[unread, 0].tolist(), strict=True)]
    for place, found in zip(unread, _read_all(work, max_pixels, progress), strict=True):
        if isinstance(found, Header):
            headers[names[place]] = found
        else:
            faults[place] = found
    if unread:
        good = [place for place, name in enumerate(names) if headers[name]]
        kept.write([names[place] for place in good], stamps[good], _rows(headers[names[place]] for place in good))
    _report(root, names, faults, findings)
    return dict(_small_enough(root, headers, max_pixels, findings))


def white_of(headers: Iterable[Header], setting: int | None, findings: Findings) -> int:
    """The value of 16-bit files that becomes white, one for the whole data set: the setting, or `FULL`.

    Files whose brightest value is below an eighth of `FULL` hold fewer bits: then it is the next 2^k - 1, with a note.
    """
    top = max((header.brightest for header in headers if header.brightest is not None), default=FULL)
    if setting is not None:
        if top > setting and top != FULL:
            findings.note(f"16-bit images: brightest value {top}, above data.image_range; all above {setting} is white")
        return setting
    if top == 0 or top >= FULL / 8:
        return FULL
    bits = top.bit_length()
    findings.note(f"16-bit images: brightest value {top} of {FULL}; taken as {bits}-bit, {2**bits - 1} = white; set "
                  "data.image_range if that is wrong")
    return 2**bits - 1


def same_files(headers: Mapping[str, Header], root: Path) -> list[tuple[str, ...]]:
    """Groups of files of the same bytes, sorted; those of one digest are read whole to be sure."""
    groups = _alike(headers, lambda name: headers[name].digest)
    return sorted(group for names in groups for group in _alike(names, lambda name: sha256_of(root / name)))


def _alike(names: Iterable[str], key: Callable[[str], str]) -> list[tuple[str, ...]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return [tuple(sorted(group)) for group in groups.values() if len(group) > 1]


def _read_all(files: Sequence[tuple[Path, str, int]], max_pixels: int,
              progress: Progress | None) -> Iterator[Header | ImageFault]:
    """Reads files, given as folder, name and size."""
    with silent_pillow(), ThreadPoolExecutor(THREADS) as threads:
        slow = False
        for start in range(0, len(files), CHUNK):
            chunk, began = files[start:start + CHUNK], time.perf_counter()
            yield from (threads.map if slow else map)(lambda file: _plain(*file) or _read(file, max_pixels), chunk)
            slow = slow or time.perf_counter() - began > SLOW * len(chunk)
            if progress:
                progress(start + len(chunk), len(files))


def _plain(root: Path, name: str, size: int) -> Header | None:
    """The header of a file that Pillow need not look at."""
    try:
        file = os.open(os.path.join(root, name), _FLAGS)
    except (OSError, ValueError):
        return None
    try:
        head = os.read(file, HEAD) if size > 0 else b""
        tail = os.pread(file, TAIL, size - TAIL) if size > HEAD else head[-TAIL:]
    except OSError:
        return None
    finally:
        os.close(file)
    found = plain_size(head)
    if found is None or not ends(head, tail, found[2], size):
        return None
    return Header(found[0], found[1], 1, None, _digest(size, head, tail))


def _read(file: tuple[Path, str, int], max_pixels: int) -> Header | ImageFault:
    path = file[0] / file[1]
    try:
        with opened(path) as image:
            if image.width * image.height > max_pixels:
                raise too_large(path, image.size, max_pixels)
            orientation = 1 if image.format == "TIFF" else exif_orientation(image)
            width, height = size_as_seen(image)
            _check_one_picture(path, image)
            digest = _checked_ends(image)
            return Header(width, height, orientation, brightest(image), digest)
    except ImageFault as fault:
        return fault


def _check_one_picture(path: Path, image: ImageFile) -> None:
    pages = 1
    if image.format == "TIFF":
        kinds = [_page_kind(image, page) for page in range(image.n_frames)]
        image.seek(0)
        if kinds[0] & _THUMBNAIL:
            raise ImageFault("raw image", f"{shown(path)}: expected a readable image, got a camera's raw image, or a "
                                          "TIFF that begins with a thumbnail; convert it to JPEG or PNG")
        pages = sum(not kind & (_THUMBNAIL | _MASK) for kind in kinds)
    elif image.format in ("GIF", "PNG", "WEBP"):
        pages = image.n_frames
    if pages > 1:
        raise ImageFault("frames", f"{shown(path)}: expected one picture, got {pages} frames of a {image.format} file; "
                                   "save the annotated one as a file of its own")


def _page_kind(image: ImageFile, page: int) -> int:
    image.seek(page)
    kind = image.tag_v2.get(_PART_OF, 0)
    return kind if isinstance(kind, int) else 0


def _checked_ends(image: ImageFile) -> str:
    """A hash of the file's size, beginning and end; decodes the image where the end does not look like one."""
    file, start = image.fp, image.fp.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - TAIL))
    tail = file.read()
    file.seek(0)
    head = file.read(HEAD)
    file.seek(start)
    if not _ends_well(image, start, size, head, tail):
        load(image)
    return _digest(size, head, tail)


def _digest(size: int, head: bytes, tail: bytes) -> str:
    return hashlib.blake2b(b"%d:%b%b" % (size, head[:1024], tail[-1024:]), digest_size=8).hexdigest()


def _ends_well(image: ImageFile, start: int, size: int, head: bytes, tail: bytes) -> bool:
    """Whether the file has the end that its format has; false where that cannot be told."""
    if image.format in ("JPEG", "PNG"):
        return ends(head, tail, start, size)
    if image.format == "TIFF":
        return _holds_its_strips(image, size)
    declared = {"BMP": head[2:6], "WEBP": head[4:8]}.get(image.format, b"")
    length = int.from_bytes(declared, "little") + (8 if image.format == "WEBP" else 0)
    return length == size


def _holds_its_strips(image: ImageFile, size: int) -> bool:
    for offsets, counts in ((273, 279), (324, 325)):
        if offsets in image.tag_v2 and counts in image.tag_v2:
            ends = np.add(image.tag_v2[offsets], image.tag_v2[counts])
            return bool(np.max(ends, initial=0) <= size)
    return False


def _header(values: tuple) -> Header:
    width, height, orientation, top, digest = values
    return Header(width, height, orientation, None if top < 0 else top, digest.decode())


def _rows(headers: Iterable[Header]) -> np.ndarray:
    return np.array([(header.width, header.height, header.orientation,
                      -1 if header.brightest is None else header.brightest, header.digest.encode())
                     for header in headers], dtype=_ROW)


def _report(root: Path, names: Sequence[str], faults: Mapping[int, ImageFault], findings: Findings) -> None:
    missing = [place for place, fault in sorted(faults.items()) if fault.kind == "missing"]
    if missing:
        findings.problem(_missing(root, names, missing, faults[missing[0]]))
    for _, fault in sorted(faults.items()):
        if fault.kind != "missing":
            findings.problem(str(fault), fault.kind)


def _missing(root: Path, names: Sequence[str], missing: Sequence[int], first: ImageFault) -> str:
    if len(missing) == 1:
        return f"{first} or take it out of the data set (1 of {len(names)} images)"
    some = ", ".join(shown(names[place]) for place in missing[:3]) + (", …" if len(missing) > 3 else "")
    if len(missing) == len(names):
        return f"{root}: expected {len(names)} image files, got none of them ({some}); check that the folder is right"
    return (f"{root}: expected {len(names)} image files, got nothing at {len(missing)} of them ({some}); restore them "
            "or take them out of the data set")


def _small_enough(root: Path, headers: Mapping[str, Header | None], most: int,
                  findings: Findings) -> Iterator[tuple[str, Header]]:
    for name, header in headers.items():
        if header is not None and header.width * header.height > most:
            findings.problem(str(too_large(root / name, (header.width, header.height), most)), "pixels")
        elif header is not None:
            yield name, header
