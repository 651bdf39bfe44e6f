"""A folder of one batch, in which nothing is ever written over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mgral.errors import StateError
from mgral.files import writing_folder


@dataclass(frozen=True, slots=True)
class Written:
    """The folder, the files that were written now, whether the batch was there before, and which files of the folder
    are for annotators."""

    folder: Path
    files: tuple[Path, ...]
    before: bool
    for_annotators: tuple[Path, ...]


def check_folder(folder: Path, record: str) -> None:
    """Looks, before work starts, whether a batch can be put there; `record` is the file by which one is known.

    Raises:
        StateError: something is there that is no batch.
    """
    if folder.exists() and not folder.is_dir():
        raise StateError(f"{folder}: expected a folder or nothing, got a file; name another by --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / record).is_file():
        raise StateError(f"{folder}: expected no folder, an empty one or that of this very batch, got one of other "
                         "files; name another by --out")


def complete_folder(folder: Path, record: str, check_same: Callable[[Path], None],
                    write: Callable[[Path], Iterable[Path]]) -> Written:
    """Has `write` fill the folder; it gives the files that are for annotators.

    A folder that holds this very batch keeps every file that it has; what is missing, such as another format, is added.
    `check_same` raises for the record of another batch.

    Raises:
        StateError: the folder holds something else, or cannot be written.
    """
    check_folder(folder, record)
    try:
        if (folder / record).is_file():
            check_same(folder / record)
            with TemporaryDirectory(prefix=".adding-", dir=folder) as fresh:
                handed = [folder / path.relative_to(fresh) for path in write(Path(fresh))]
                return Written(folder, tuple(_added(Path(fresh), folder)), True, tuple(handed))
        with writing_folder(folder) as fresh:
            handed = [folder / path.relative_to(fresh) for path in write(fresh)]
            files = [folder / path.name for path in _tops(fresh)]
        return Written(folder, tuple(files), False, tuple(handed))
    except OSError as error:
        raise StateError(f"{folder}: expected a folder that can be written, got {error.strerror or error}; name "
                         "another by --out or make room") from error


def _tops(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))


def _added(fresh: Path, folder: Path) -> Iterator[Path]:
    """Moves what the folder lacks."""
    for path in _tops(fresh):
        if not (folder / path.name).exists():
            path.rename(folder / path.name)
            yield folder / path.name
