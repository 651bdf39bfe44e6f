"""What a file was called before Label Studio named it."""

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
LONGEST = 4096
"""Characters of a path; what is longer is none."""


def names_of_upload(name: str) -> list[str]:
    """The names that are meant by one that Label Studio gave, from the likeliest on: as it is written, as a path below
    a server, a bucket or its folder of uploads, and each of them without the prefix of an uploaded file.

    A prefix is eight hexadecimal digits and a hyphen; files may be called so by themselves, so that a name without it
    counts only where it is that of one file.
    """
    slashed = name.replace("\\", "/")
    local = slashed.rpartition("?d=")[2]
    if "://" in local:
        local = local.partition("://")[2].partition("?")[0].partition("#")[0].partition("/")[2]
    # What stood before an address or a folder of uploads is no folder of ours: two files would share nothing with it.
    within = [PLACE.sub("", text) for text in ((name,) if local == slashed else ()) + (local, unquote(local))]
    names = dict.fromkeys(text for text in (name, slashed, local, unquote(local), *within) if text)
    return list(names | dict.fromkeys(PREFIX.sub(r"\1", text) for text in within if text))


class Uploads:
    """Finds images by the names that Label Studio gave.

    A name without its prefix has lost its folder too: it is looked for in the folder `images` that the settings name,
    and otherwise has to be the only one of its kind.
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
            near = places if PREFIX.search(meant) or not PREFIX.search(name) else self._sure
            path = reading.folder.find(meant, near, where, findings)
            if findings.refused or (path and meant == name):
                return reading.locate(meant, near, where)
            if path:
                return self._noted(name, path, where)
        return self._by_cleaned(name, where) or reading.locate(name, places, where)

    def _by_cleaned(self, name: str, where: str) -> str | None:
        """The only image whose name becomes this one by what an upload does to names: blanks and marks."""
        if self._cleaned is None:
            self._cleaned = {}
            for path in self.reading.folder.images:
                self._cleaned.setdefault(_cleaned(PurePosixPath(path).name), []).append(path)
        candidates = self._cleaned.get(PurePosixPath(names_of_upload(name)[-1]).name, [])
        if len(candidates) != 1:
            return None
        return self._noted(name, candidates[0], where)

    def _noted(self, name: str, path: str, where: str) -> str:
        self.reading.findings.note(f"{where}: {name!r} was found as {path!r}, as Label Studio renames files", "upload")
        return path


def _cleaned(name: str) -> str:
    return re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_"))
