"""What all sections of settings share: their base, and kinds of values with their bounds."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# Upper bounds are beyond reason, and below what would end in exhausted memory or in overflow.
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0, le=1000.0)]
Weight = Annotated[float, Field(ge=0.0, le=1e6)]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
AtLeastOne = Annotated[int, Field(ge=1, le=1_000_000_000)]
Scenes = Annotated[int, Field(ge=1, le=1_000_000)]
Batch = Annotated[int, Field(ge=1, le=10_000)]
Few = Annotated[int, Field(ge=1, le=1000)]
Side = Annotated[int, Field(ge=32, le=8192)]
"""Pixels."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def fits_into_path(text: str) -> bool:
    """Whether a file system takes it for a path, or for a part of one."""
    parts = text.encode(errors="surrogateescape").split(b"/")
    return "\0" not in text and len(parts) <= 100 and all(len(part) <= 200 for part in parts)


def fit_into_paths(value: object) -> object:
    """Refuses texts that `fits_into_path` does not take; other values pass.

    Raises:
        ValueError: such a text, as pydantic wants it of a validator.
    """
    if isinstance(value, str) and not fits_into_path(value):
        raise ValueError(f"expected a path or name with at most 200 bytes between slashes, got {value[:60]!r}…")
    return value


def alone_or_several(value: object) -> object:
    """A text stands for a list of itself."""
    return (value,) if isinstance(value, str) else value


def pairs(value: object) -> object:
    """A mapping as a tuple of pairs, which a frozen section can hold."""
    return tuple(value.items()) if isinstance(value, dict) else value


STRATEGY_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}"
FOLDERS_TAKEN = ("scenes", "prepared", "seconds", "first", "waiting", "pulled", "export")
"""Folders that lie beside those of the strategies."""


def folder_name(strategy: str) -> str:
    """What a strategy is called in paths: its name, or that of its file without .py."""
    return PurePath(strategy).stem if strategy.endswith(".py") else strategy
