"""Files that are either whole or absent, and one canonical form of JSON."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

LEFT = 600.0
"""Seconds after which nobody writes a temporary file any more."""


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` that takes its name only when the block ends without an error.

    A process killed at any moment leaves the old file or the new one, never half of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    _sweep(path)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Removes what killed processes left of a file that is written again; who writes still has touched it lately."""
    for left in path.parent.glob(f".{escape(path.name)}.*.part"):
        with suppress(OSError):  # gone, or a folder
            if time.time() - left.stat().st_mtime > LEFT:
                left.unlink()


@contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """Gives a temporary folder beside `path` that takes its name only when the block ends without an error.

    A process killed at any moment leaves the old folder, the new one or none, never a mixture. Files are written
    through to the disk by whoever writes them.
    """
    temporary, old = (path.with_name(f".{path.name}.{os.getpid()}.{word}") for word in ("part", "old"))
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
    finally:
        for folder in (temporary, old):
            shutil.rmtree(folder, ignore_errors=True)


def why_unreadable(path: Path) -> str | None:
    """Why a path cannot be read as a file, or None if it can be. A pipe is never waited for."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        return getattr(error, "strerror", None) or str(error)
    if stat.S_ISREG(mode):
        return None
    return "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"


def canonical_json(value: Any) -> str:
    """The same text for the same value: sorted keys, no spaces to choose, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def write_json(path: Path, value: Any) -> None:
    """Writes readable JSON of one canonical form, with a closing newline."""
    text = json.dumps(value, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
    with writing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def md5(path: Path) -> str:
    """The hash under which DVC knows a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def sha256_of(path: Path) -> str:
    """The first 16 hex digits of the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def sha256(*parts: str) -> str:
    """One hash over texts, each closed off from the next."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part.encode()).to_bytes(8, "big") + part.encode())
    return digest.hexdigest()
