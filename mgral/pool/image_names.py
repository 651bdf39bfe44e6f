"""Which image of a folder is meant by a name that another program wrote."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote

from mgral.data.dataset import ImageId

UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the name of a file that was uploaded."""


class ImageNames:
    """Finds images by the names that programs give them: their path, its end, the name without ending, or its number.

    Tried in this order: the path as it is written, with `/` for a backslash, percent-decoded, from a web address; then
    the images of the same last part, without its ending too, or of the same number, of which that with the longest
    common end of its path is meant. Names are compared in Unicode's composed form.
    """

    def __init__(self, ids: Iterable[ImageId]) -> None:
        self.ids = tuple(ids)
        self._by_path: dict[str, ImageId] = {}
        self._by_last: dict[str, list[ImageId]] = {}
        self._by_stem: dict[str, list[ImageId]] = {}
        self._by_number: dict[int, list[ImageId]] = {}
        self._found: dict[str, tuple[ImageId, ...]] = {}
        for image_id in self.ids:
            path = PurePosixPath(_composed(image_id))
            self._by_path[str(path)] = image_id
            self._by_last.setdefault(path.name, []).append(image_id)
            self._by_stem.setdefault(path.stem, []).append(image_id)
            if _is_number(path.stem):
                self._by_number.setdefault(int(path.stem), []).append(image_id)

    def find(self, name: str) -> tuple[ImageId, ...]:
        """The images that may be meant: one if all is well, none or several otherwise."""
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: str) -> tuple[ImageId, ...]:
        readings = list(_readings(name))
        for reading in readings:
            if reading in self._by_path:
                return self._by_path[reading],
        *_, plain = readings
        for last in dict.fromkeys((PurePosixPath(plain).name, UPLOADED.sub("", PurePosixPath(plain).name, count=1))):
            candidates = self._by_last.get(last) or self._by_stem.get(last) or self._of_number(last)
            if candidates:
                return _nearest(candidates, PurePosixPath(plain).with_name(last).parts)
        return ()

    def _of_number(self, last: str) -> list[ImageId]:
        return self._by_number.get(int(last), []) if _is_number(last) else []


def _readings(name: str) -> Iterator[str]:
    """The name in all its readings, the plainest last."""
    yield _plain(name)
    slashed = _composed(name.replace("\\", "/"))
    yield _plain(slashed)
    local = slashed.rpartition("?d=")[2]
    if "://" in local:
        local = local.partition("://")[2].partition("?")[0].partition("#")[0]
    yield _plain(unquote(local))


def _plain(name: str) -> str:
    return str(PurePosixPath(*(part for part in PurePosixPath(_composed(name)).parts if part not in ("..", "/"))))


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20


def _nearest(candidates: Sequence[ImageId], parts: Sequence[str]) -> tuple[ImageId, ...]:
    """Those whose folders agree with the name's for longest, from the last on."""
    if len(candidates) == 1:
        return candidates[0],
    shared = [_shared(PurePosixPath(_composed(image_id)).parts[:-1], parts[:-1]) for image_id in candidates]
    return tuple(image_id for image_id, count in zip(candidates, shared, strict=True) if count == max(shared))


def _shared(ours: Sequence[str], theirs: Sequence[str]) -> int:
    count = 0
    for first, second in zip(reversed(ours), reversed(theirs), strict=False):
        if first != second:
            break
        count += 1
    return count
