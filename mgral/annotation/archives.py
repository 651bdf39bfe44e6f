"""Archives as annotation tools hand them out: only the annotation files in them are taken out."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO

from mgral.data.formats.text import LARGEST_TEXT
from mgral.errors import DataError

ENDINGS = (".json", ".xml", ".txt", ".yaml", ".yml", ".names", ".data", ".labels")
"""Of files that a reader of annotations may want."""
MOST_FILES = 500_000
MOST_BYTES = 2 * LARGEST_TEXT
"""Of all files of an archive together, unpacked."""
CHUNK = 2**20
ENCRYPTED, IS_UTF8 = 0x1, 0x800
"""Flags of a file in an archive."""
HEADS = (b"PK\x03\x04", b"PK\x05\x06")
"""How archives begin, those with nothing in them too."""


@contextmanager
def opened(path: Path) -> Iterator[Path]:
    """Where the files of a path lie, for as long as the block lasts: an archive's annotation files are unpacked, links
    are followed. What the block refuses names the path that was given.

    Raises:
        DataError: an archive that is damaged, encrypted or too large, or holds a path that leads out of it.
    """
    try:
        place = path.resolve()
        packed = _is_archive(place)
    except (OSError, ValueError, RuntimeError) as error:  # a link in a circle, a NUL, no permission
        raise DataError(f"{path}: expected what came back of the batch, got {getattr(error, 'strerror', None) or error}"
                        "; check the path and its permissions") from error
    try:
        if packed:
            with TemporaryDirectory(prefix="mgral-") as folder:
                place = Path(folder).resolve()
                _unpack_all(path, place)
                yield place
        else:
            yield place
    except DataError as error:
        raise DataError(*(as_given(line, place, path) for line in error.problems)) from error


def as_given(line: str, place: Path, path: Path) -> str:
    """A line about a place with the path that was given for it."""
    return line.replace(str(place), str(path))


def _unpack_all(path: Path, folder: Path) -> None:
    try:
        _unpack(path, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError,
            OverflowError) as error:
        got = str(getattr(error, "strerror", None) or error) or type(error).__name__
        raise DataError(f"{path}: expected a zip archive that can be unpacked, got {got}; export or copy it again"
                        ) from error


def _is_archive(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return path.suffix.lower() == ".zip" or file.read(4) in HEADS


def _unpack(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members: dict[str, zipfile.ZipInfo] = {}
        for member in archive.infolist():
            name = _name(member)
            if not _is_wanted(member, name):
                continue
            _check(path, member, name, members)
            members[name] = member
        if len(members) > MOST_FILES:
            raise DataError(f"{path}: expected at most {MOST_FILES:,} annotation files, got {len(members):,}; give the "
                            "batch alone")
        left = MOST_BYTES
        for name, member in members.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("xb") as copy:
                left -= _copied(path, source, copy, name, min(left, LARGEST_TEXT))


def _name(member: zipfile.ZipInfo) -> str:
    """The path of a file in an archive. Macs write UTF-8 without saying so, Windows may write backslashes."""
    name = member.filename
    if not member.flag_bits & IS_UTF8:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _is_wanted(member: zipfile.ZipInfo, name: str) -> bool:
    hidden = any((part.startswith(".") and part.strip(".")) or part == "__MACOSX" for part in name.split("/"))
    return name.lower().endswith(ENDINGS) and not hidden and not stat.S_ISLNK(member.external_attr >> 16)


def _check(path: Path, member: zipfile.ZipInfo, name: str, known: dict[str, zipfile.ZipInfo]) -> None:
    if PurePosixPath(name).is_absolute() or ".." in name.split("/") or ":" in name.split("/")[0]:
        raise DataError(f"{path}: expected paths that stay within the archive, got {name[:200]!r}; do not trust it")
    if name in known:
        raise DataError(f"{path}: expected each file once, got {name[:200]!r} again; export it again")
    if member.flag_bits & ENCRYPTED:
        raise DataError(f"{path}: expected an archive without a password, got {name[:200]!r} encrypted; unpack it and "
                        "give the folder")


def _copied(path: Path, source: IO[bytes], copy: IO[bytes], name: str, most: int) -> int:
    """Copies a file and gives its bytes: what an archive says of its size proves nothing."""
    count = 0
    while chunk := source.read(CHUNK):
        count += len(chunk)
        if count > most:
            raise DataError(f"{path}: expected annotations of at most {MOST_BYTES >> 30} GiB, got more, in "
                            f"{name[:200]!r}; unpack it and give the folder, if it is what it should be")
        copy.write(chunk)
    return count
