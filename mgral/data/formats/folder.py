"""The files of a data folder, and where an image lies that somebody's file names in somebody's way."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from mgral.data.formats.split_names import of_one_split
from mgral.data.formats.text import is_text, text_of
from mgral.findings import Findings

ENDINGS = frozenset({".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo",
                     ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"})
"""Of the files that are images, those among them that cannot be read: that is said of each."""
PASSED_OVER = ("__MACOSX", "Thumbs.db", "desktop.ini")
"""Names that systems leave behind; those that begin with a dot besides (`.DS_Store`, `._a.jpg`)."""
OURS = {"runs": "table.db", "mlruns": "mlflow.db", "batches": "about-mgral.txt"}
"""Folders that mgral itself writes, and a file by which they are known."""

Ends = list[tuple[tuple[str, ...], str]]


@dataclass(frozen=True)
class Folder:
    """A data folder. Paths are posix text below `root`; none that is found leads out of it.

    A link to a folder is followed where it leads into the data folder or to a folder beside it, but no link within it;
    a link to a file where it leads into the data folder.
    """

    root: Path
    left_out: dict[str, str] = field(default_factory=dict)
    """What is there and cannot be taken in, by path: what was expected and got, and what to do."""
    near: Collection[str] = ()
    """Files of which one is meant where a name fits several alike."""
    given_names: Callable[[], Mapping[str, str]] = dict
    """Gives other names under which files were given away."""
    _linked: set[str] = field(default_factory=set, repr=False)

    @cached_property
    def files(self) -> dict[str, None]:
        """All files by path, in their order; what systems and mgral leave behind is passed over."""
        return dict.fromkeys(sorted(self._walk()))

    @cached_property
    def images(self) -> list[str]:
        """All image files, each once: none that is reached by a link to a folder too."""
        return [name for name in self.ending(*ENDINGS) if is_image(name)]

    @cached_property
    def known_as(self) -> Mapping[str, str]:
        """Files by other names under which they were given away."""
        return self.given_names()

    @classmethod
    def of(cls, root: Path, names: Iterable[str], near: Collection[str] = (),
           given_names: Callable[[], Mapping[str, str]] = dict) -> Folder:
        """A folder as if it held these files and no others."""
        folder = cls(root, near=near, given_names=given_names)
        vars(folder)["files"] = dict.fromkeys(sorted(names))
        return folder

    def ending(self, *endings: str) -> list[str]:
        """All files of these endings (".txt"), whatever the case of their letters; each once, in their order."""
        return sorted(chain.from_iterable(self._by_ending.get(ending.lower(), ()) for ending in endings))

    def inside(self, name: str) -> bool:
        """Whether a path named in a file stays within the folder."""
        path = PurePosixPath(name)
        return not path.is_absolute() and ".." not in path.parts and "\0" not in name

    def images_in(self, place: str) -> list[str]:
        """The images at or below a folder, in their order; linked ones too, for somebody named them."""
        inner = self.below(place)
        if inner is None:
            return []
        prefix = "" if inner == "." else f"{inner}/"
        start, end = (bisect_left(self._sorted, text) for text in (prefix, f"{prefix}\U0010ffff"))
        return [name for name in self._sorted[start:end] if is_image(name)]

    def is_folder(self, place: str) -> bool:
        """Whether there is a folder of this name with a file in it."""
        below = self.below(place)
        return below in self._folders or below == "."

    def below(self, place: str) -> str | None:
        """A place as the path below the root that it is, or None where it leads out: `./a/../b/` is `b`."""
        for root in self._roots if place.startswith("/") else ():
            if _is_below(place, root):
                place = place[len(root):].lstrip("/")
                break
        path = posixpath.normpath(place)
        return None if path.startswith(("../", "/")) or path == ".." else path

    def find(self, name: str, places: Sequence[str], where: str, findings: Findings) -> str | None:
        """The path of the file that `name` means, or None, with a problem where it may mean several.

        Tried in this order: the name as it is written in each of the `places` (folders below the root), with `/` for
        a backslash, percent-decoded once, in Unicode's composed form, and as the longest tail that exists and is
        unique in the folder, though never in the folder of another split. What had to be done is noted, once for all
        names.
        """
        for place in places:  # most are found so, and need no other reading
            path = self._joined(place, name)
            if path in self.files:
                return path
        if name in self.known_as:
            return _noted(self.known_as[name], name, "as it was given away", where, findings)
        variants = list(_variants(name))
        for variant, done in variants[1:]:
            for place in places:
                path = self._joined(place, variant)
                if path in self.files:
                    return _noted(path, name, done, where, findings)
        for place in places:
            path = self._composed.get(composed(self._joined(place, variants[-1][0])))
            if path:
                return _noted(path, name, "in Unicode's composed form", where, findings)
        return self._by_tail(name, variants[-1][0], where, findings)

    def fitting(self, name: str) -> tuple[list[str], int, str]:
        """The images, two at most, that share the longest tail with a path, how many parts that has, and what it is to
        them. Of several those that are near, if any are; where none is, one stands for all that are not meant."""
        parts = [part for part in composed(name).split("/") if part not in ("..", ".", "")]
        fitting, count = self._fitting(parts, False)
        if fitting:
            return fitting, count, "the only file whose path ends so"
        return *self._fitting([part.casefold() for part in parts], True), "but for its capitals"

    def text(self, name: str | Path, what: str, findings: Findings, xml: bool = False) -> str | None:
        """A file's text, or None and one more problem: see `text_of`."""
        return text_of(self.root / name, what, findings, self.root, xml)

    @cached_property
    def _sorted(self) -> list[str]:
        return list(self.files)

    @cached_property
    def _roots(self) -> tuple[str, str]:
        return os.path.abspath(self.root), os.path.realpath(self.root)

    @cached_property
    def _once(self) -> list[str]:
        names = list(self.files)  # walking finds the links
        linked = tuple(self._linked)
        return [name for name in names if not name.startswith(linked)] if linked else names

    @cached_property
    def _by_ending(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self._once:
            _, dot, ending = name.rpartition(".")
            found.setdefault(dot + ending, []).append(name)
        lowered: dict[str, list[str]] = {}
        for ending, names in found.items():
            lowered.setdefault(ending.lower(), []).extend(names)
        return lowered

    @cached_property
    def _folders(self) -> set[str]:
        own = {name.rpartition("/")[0] or "." for name in self.files}
        return {str(path) for name in own for path in (PurePosixPath(name), *PurePosixPath(name).parents)}

    @cached_property
    def _composed(self) -> dict[str, str]:
        """Files by path in composed form, where one file fits; names of ASCII are what they are."""
        by_path: dict[str, list[str]] = {}
        for name in self.files:
            if not name.isascii():
                by_path.setdefault(composed(name), []).append(name)
        return {path: names[0] for path, names in by_path.items() if len(names) == 1}

    @cached_property
    def _ends(self) -> Ends:
        """The images by the parts of their paths from the last on, in composed form."""
        own = ((tuple(reversed(composed(name).split("/"))), name) for name in self.images)
        others = ((tuple(reversed(composed(name).split("/"))), path) for name, path in self.known_as.items()
                  if name != path and path.rpartition("/")[2] != name)
        return sorted([*own, *others])

    @cached_property
    def _folded_ends(self) -> Ends:
        return _folded(self._ends)

    @cached_property
    def _near_ends(self) -> tuple[Ends, Ends]:
        """Those of the files that are near, as they are and without capitals."""
        ends = [end for end in self._ends if end[1] in self.near]
        return ends, _folded(ends)

    def _joined(self, place: str, name: str) -> str:
        """A path below the root; a name that leaves its folder stays as it is, to be found nowhere."""
        if name.startswith("/"):
            return self.below(name) or name
        path = name if place in ("", ".") else f"{place}/{name}"
        return posixpath.normpath(path) if "./" in path or "//" in path else path

    def _by_tail(self, name: str, plain: str, where: str, findings: Findings) -> str | None:
        fitting, _, how = self.fitting(plain)
        if len(fitting) == 1 and (self.near or of_one_split(plain, fitting[0])):
            findings.note(f"{where}: {name!r} was taken for {fitting[0]!r}, {how}", f"name by tail, {how}")
            return fitting[0]
        if len(fitting) > 1:
            findings.problem(f"{where}: expected a path that means one file, got {name!r}, which could be "
                             f"{fitting[0]!r} or {fitting[1]!r}; write the path below {self.root}",
                             "name of several files")
        return None

    def _fitting(self, parts: list[str], folded: bool) -> tuple[list[str], int]:
        fitting, count = _longest(self._folded_ends if folded else self._ends, parts)
        if len(fitting) < 2 or not self.near:
            return fitting, count
        near, shared = _longest(self._near_ends[folded], parts)
        return near if shared == count else fitting[:1], count

    def _walk(self) -> Iterator[str]:
        # Each folder with its path below the root, and what links in it may lead to.
        root = os.path.realpath(self.root)
        waiting = [(os.fspath(self.root), "", root)]
        while waiting:
            folder, prefix, home = waiting.pop()
            for entry in self._entries(folder, prefix):
                path = f"{prefix}{entry.name}"
                target = self._target(entry, path, root, home) if entry.is_symlink() else home
                if target is None:
                    continue
                if not _is_folder(entry):
                    yield path
                elif not _is_ours(entry):
                    waiting.append((entry.path, f"{path}/", target))

    def _entries(self, folder: str, prefix: str) -> list[os.DirEntry]:
        try:
            with os.scandir(folder) as entries:
                found = [entry for entry in entries
                         if not entry.name.startswith(".") and entry.name not in PASSED_OVER]
        except OSError as error:
            self.left_out[prefix] = f"expected a folder that can be read, got {error.strerror}; check its permissions"
            return []
        for entry in found:
            if not is_text(entry.name):
                name = os.fsencode(entry.name).decode("utf-8", "backslashreplace")
                self.left_out[f"{prefix}{name}"] = "expected a file name in UTF-8, got other bytes; rename it"
        return [entry for entry in found if is_text(entry.name)]

    def _target(self, entry: os.DirEntry, path: str, root: str, home: str) -> str | None:
        """Where a link leads, if it may be followed; `home` is where the folder that it lies in really is."""
        real, beside = os.path.realpath(entry.path), os.path.dirname(root)
        if _is_folder(entry):
            again = home != root or _is_below(root, real)
            if not again and _is_below(real, root):
                self._linked.add(f"{path}/")
            if not again and (_is_below(real, root) or (beside != os.path.dirname(beside) and _is_below(real, beside))):
                return real
            if again:
                return None
        elif _is_below(real, home) or _is_below(real, root):
            return real
        self.left_out[path] = f"expected a path inside {self.root}, got a link to {real}; copy what is linked"
        return None


def place_of(name: str) -> str:
    """The folder of a file below the root, "." for the root itself; both as they are in `Folder.files`."""
    return name.rpartition("/")[0] or "."


def is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in ENDINGS


def composed(name: str) -> str:
    """A name in Unicode's composed form: é as one character, as Macs do not write it."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _noted(path: str, name: str, done: str, where: str, findings: Findings) -> str:
    if done:
        findings.note(f"{where}: {name!r} was found as {path!r}, {done}", f"name {done}")
    return path


def _variants(name: str) -> Iterator[tuple[str, str]]:
    """The name in all its readings, from the nearest on, and what was done to it."""
    yield name, ""
    if name.strip() != name:
        name = name.strip()
        yield name, "without the blanks around it"
    slashed = name.replace("\\", "/")
    if slashed != name:
        yield slashed, "with / for \\"
    decoded = unquote(slashed).replace("\\", "/")
    if decoded != slashed:
        yield decoded, "percent-decoded"
    query = decoded.rpartition("?d=")[2]
    if query != decoded:
        yield query, "as Label Studio serves local files"
    elif "://" in decoded and "?" in decoded:
        yield decoded.partition("?")[0], "without the query of its address"


def _folded(ends: Ends) -> Ends:
    return sorted((tuple(part.casefold() for part in parts), name) for parts, name in ends)


def _longest(ends: Ends, parts: Sequence[str]) -> tuple[list[str], int]:
    """The files, two at most, that share the longest tail with the path of these parts, and how many parts it has."""
    key = tuple(reversed(parts))
    row = bisect_left(ends, (key,))
    near = ends[max(row - 2, 0):row + 2]  # all that share the longest tail are neighbours
    shared = [_shared(other, key) for other, _ in near]
    best = max(shared, default=0)
    return [path for (_, path), count in zip(near, shared, strict=True) if count == best][:2] if best else [], best


def _shared(ours: Sequence[str], theirs: Sequence[str]) -> int:
    count = 0
    for our, their in zip(ours, theirs, strict=False):
        if our != their:
            break
        count += 1
    return count


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or to where one may not look
        return False


def _is_ours(entry: os.DirEntry) -> bool:
    known = OURS.get(entry.name)
    return known is not None and os.path.exists(os.path.join(entry.path, known))
