"""What a file was called before Label Studio or Roboflow named it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote

from mgral.data.formats.reading import Reading, shown
from mgral.findings import Findings

PLACE = re.compile(r"^/?(?:data/)?upload/\d+/")
"""Where Label Studio keeps what was uploaded, by project."""
PREFIX = re.compile(r"(^|[/\\])[0-9a-f]{8}-(?=[^/\\]+$)")
"""What it puts before the name of a file that is uploaded."""
VERSION = re.compile(r"(?:^|.*[/\\])([^/\\]+)_([A-Za-z0-9]{3,4})\.rf\.[0-9A-Za-z]{8,64}\.[A-Za-z0-9]{3,4}")
"""How Roboflow calls the files of a version: name and ending as they were, a hash, and the ending that they have now.
"""
LONGEST = 4096
"""Characters of a path; what is longer is none."""


def names_of_upload(name: str) -> list[str]:
    """The names that are meant by one that a tool gave, from the likeliest on: as it is written, as a path below a
    server, a bucket or Label Studio's folder of uploads, before Roboflow made a version of it, and each of them without
    the prefix of an uploaded file.

    A prefix is eight hexadecimal digits and a hyphen; files may be called so by themselves, so that a name without it
    counts only where it is that of one file.
    """
    slashed = name.replace("\\", "/")
    local = slashed.rpartition("?d=")[2]
    if "://" in local:
        local = local.partition("://")[2].partition("?")[0].partition("#")[0].partition("/")[2]
    # What stood before an address or a folder of uploads is no folder of ours: two files would share nothing with it.
    within = [PLACE.sub("", text) for text in ((name,) if local == slashed else ()) + (local, unquote(local))]
    version = VERSION.fullmatch(within[-1])
    within += [f"{version[1]}.{version[2]}"] if version else []
    names = dict.fromkeys(text for text in (name, slashed, local, unquote(local), *within) if text)
    return list(names | dict.fromkeys(PREFIX.sub(r"\1", text) for text in within if text))


def is_renamed(name: str) -> bool:
    """Whether a name may be one that Label Studio or Roboflow gave."""
    return PREFIX.search(name) is not None or VERSION.fullmatch(name) is not None


class Uploads:
    """Finds images by the names that Label Studio or Roboflow gave.

    A name as it was before has lost its folder: it is looked for in the folder `images` that the settings name, and
    otherwise has to be the only one of its kind.
    """

    def __init__(self, reading: Reading, images: str = "") -> None:
        self.reading = reading
        self._sure = (str(PurePosixPath(images)),) if images else ()
        self._cleaned: dict[str, list[str]] | None = None

    def locate(self, name: str, places: Sequence[str], where: str) -> str | None:
        """The path of an image, looked for in these folders first; None and a problem, or one more missing image."""
        reading = self.reading
        if name.startswith("data:") or len(name) > LONGEST:
            reading.findings.problem(f"{where}: expected an image's path, got {shown(name)}; write the image to a file "
                                     f"below {reading.folder.root} and name that", "no path")
            return None
        names = names_of_upload(name)
        inside = next((path for place in self._sure for meant in names
                       if (path := f"{place}/{meant}") in reading.folder.files), None)
        if inside:
            return inside if inside.endswith(name) else self._noted(name, inside, where)
        for meant in names:
            findings = Findings()
            near = places if is_renamed(meant) or not is_renamed(name) else self._sure
            path = reading.folder.find(meant, near, where, findings)
            if findings.refused or (path and meant == name):
                return reading.locate(meant, near, where)
            if path:
                return self._noted(name, path, where)
        path = self.by_cleaned(name)
        return self._noted(name, path, where) if path else reading.locate(name, places, where)

    def by_cleaned(self, name: str) -> str | None:
        """The only image whose name becomes this one by what a tool does to names: blanks and marks."""
        folder = self.reading.folder
        if self._cleaned is None:
            self._cleaned = {}
            for path in folder.images:
                for cleaned in {_cleaned(PurePosixPath(path).name), _hyphened(PurePosixPath(path).name)}:
                    self._cleaned.setdefault(cleaned, []).append(path)
        candidates = self._cleaned.get(PurePosixPath(names_of_upload(name)[-1]).name, [])
        if len(candidates) > 1 and folder.near:
            candidates = [path for path in candidates if path in folder.near] or candidates[:1]
        return candidates[0] if len(candidates) == 1 else None

    def _noted(self, name: str, path: str, where: str) -> str:
        self.reading.findings.note(f"{where}: {name!r} was found as {path!r}, as "
                                   f"{'Roboflow' if VERSION.fullmatch(name) else 'Label Studio'} renames files",
                                   "upload")
        return path


def _cleaned(name: str) -> str:
    """As Label Studio makes a name harmless."""
    return re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_"))


def _hyphened(name: str) -> str:
    """As Roboflow does."""
    stem, dot, ending = name.rpartition(".")
    return re.sub(r"\W+", "-", stem) + dot + ending
