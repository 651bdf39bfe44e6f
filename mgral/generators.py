"""Generators that yield what they measure on the way and return what it comes to."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

Result = TypeVar("Result")


def finished(running: Generator[Any, None, Result], keep: Callable[[Any], None] | None = None) -> Result:
    """What a generator returns; what it yields on the way is given to `keep`, if anybody keeps it."""
    while True:
        try:
            found = next(running)
        except StopIteration as end:
            return end.value
        if keep is not None:
            keep(found)
