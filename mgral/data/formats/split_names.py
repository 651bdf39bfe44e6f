"""Splits are known by their names, and by those of folders."""

from __future__ import annotations

from functools import lru_cache
from pathlib import PurePosixPath

KNOWN_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
                "test": "test", "testing": "test"}
"""What the usual names of splits mean; a split keeps the name that it has."""


def meaning(split: str) -> str | None:
    """What a split is by its name: "train", "val" or "test" (`val2017` and `Valid` are "val"), or None."""
    return KNOWN_SPLITS.get(split.lower().rstrip("0123456789_-"))


def split_of(path: str) -> str | None:
    """The part of a path that names a split, the innermost: "train" for `set/train/images/a.jpg`."""
    return _split_of_folder(path.rpartition("/")[0])


@lru_cache(10_000)
def _split_of_folder(folder: str) -> str | None:
    return next((part for part in reversed(PurePosixPath(folder).parts) if meaning(part)), None)


def split_meaning(path: str) -> str | None:
    """What the innermost folder that names a split means: "train", "val", "test" or None."""
    split = split_of(path)
    return meaning(split) if split else None


def of_one_split(path: str, other: str) -> bool:
    """Whether two paths may mean the same: not if both name a split, and not the same."""
    return len({split_meaning(path), split_meaning(other)} - {None}) < 2
