"""What was learned of files, kept until a file changes: a second look costs a `stat` each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from stat import S_ISREG

import numpy as np

from mgral.files import writing


class FileCache:
    """A row of numbers for each of many files below a folder, in one .npz file.

    A row holds as long as its file's size, time of writing and time of change stay. A cache that is damaged, of
    another version or of another folder counts as empty. Without a path nothing is kept.
    """

    def __init__(self, path: Path | None, root: Path, version: str) -> None:
        self._path = path
        self._mark = f"{version} {root.resolve()}"
        self._names: list[str] = []
        self._stamps = np.zeros((0, 3), dtype=np.int64)
        self._rows: np.ndarray | None = None
        if path is not None and path.is_file():
            self._read(path)

    def known(self, names: Sequence[str], stamps: np.ndarray) -> dict[int, int]:
        """Of the names whose stamps (n, 3) are as they were: their places in `rows`, by their places in `names`."""
        place = {name: row for row, name in enumerate(self._names)}
        found = np.array([place.get(name, -1) for name in names], dtype=np.int64)
        if not self._names:
            return {}
        same = (found >= 0) & (self._stamps[found] == stamps).all(axis=1)
        return dict(zip(np.flatnonzero(same).tolist(), found[same].tolist(), strict=True))

    @property
    def rows(self) -> np.ndarray:
        return np.zeros(0) if self._rows is None else self._rows

    def write(self, names: Sequence[str], stamps: np.ndarray, rows: np.ndarray) -> None:
        """Keeps these rows (n, …), and those of other names as they are."""
        if self._path is None:
            return
        new = set(names)
        kept = [row for row, name in enumerate(self._names) if name not in new]
        names = [*names, *(self._names[row] for row in kept)]
        if kept:
            stamps, rows = np.concatenate([stamps, self._stamps[kept]]), np.concatenate([rows, self.rows[kept]])
        with writing(self._path) as temporary, temporary.open("wb") as file:
            np.savez(file, mark=_packed([self._mark]), names=_packed(names), stamps=stamps, rows=rows)

    def _read(self, path: Path) -> None:
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                names, stamps, rows = _unpacked(content["names"]), content["stamps"], content["rows"]
                whole = _unpacked(content["mark"]) == [self._mark] and stamps.shape == (len(names), 3)
        except Exception:  # a damaged archive makes its reader raise almost anything
            return
        if whole and len(rows) == len(names):
            self._names, self._stamps, self._rows = names, stamps, rows


def stamps_of(root: Path, names: Sequence[str]) -> tuple[np.ndarray, Mapping[int, Exception]]:
    """Size, time of writing and of change (n, 3) int64 of files below `root`; by their place, those that have none.

    What is no regular file has size -1.
    """
    stamps, faults = [(0, 0, 0)] * len(names), {}
    folder = os.fspath(root)
    for row, name in enumerate(names):
        try:
            found = os.stat(os.path.join(folder, name))
        except (OSError, ValueError) as error:
            faults[row] = error
        else:
            stamps[row] = found.st_size if S_ISREG(found.st_mode) else -1, found.st_mtime_ns, found.st_ctime_ns
    return np.array(stamps, dtype=np.int64).reshape(-1, 3), faults


def _packed(names: Sequence[str]) -> np.ndarray:
    return np.frombuffer("\0".join(names).encode("utf-8", "surrogateescape"), dtype=np.uint8)


def _unpacked(packed: np.ndarray) -> list[str]:
    return packed.tobytes().decode("utf-8", "surrogateescape").split("\0")
