"""Where strategies are found: those of mgral, those of installed packages, and a file that a user names.

A package announces its own under the entry point group `mgral.strategies`; a name there is the strategy's.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path

from mgral.errors import ConfigError
from mgral.strategies.strategy import Strategy

GROUP = "mgral.strategies"
BUILT_IN = {"random": "mgral.strategies.random", "balanced_entropy": "mgral.strategies.balanced_entropy",
            "content": "mgral.strategies.content",
            "coreset": "mgral.strategies.coreset", "rare_first": "mgral.strategies.rare_first",
            "mgral": "mgral.search.strategy"}
"""Modules by name, each with its `STRATEGY`: none is loaded before it is asked for."""


def names() -> tuple[str, ...]:
    """All strategies that can be asked for by name."""
    return (*BUILT_IN, *(entry.name for entry in entry_points(group=GROUP) if entry.name not in BUILT_IN))


def get(name: str) -> Strategy:
    """The strategy of that name, or of the file `PATH.py` (its `STRATEGY`, or its function `select`).

    Raises:
        ConfigError: no such strategy, or a file or package that has none.
    """
    if name in BUILT_IN:
        return importlib.import_module(BUILT_IN[name]).STRATEGY
    if name.endswith(".py"):
        return _from_file(Path(name))
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            return _declared(entry.load(), name, f"entry point {entry.value}")
    raise ConfigError(f"expected a strategy of {', '.join(names())}, or a file FILE.py with a function `select`, got "
                      f"{name!r}")


def check(wanted: Iterable[str]) -> None:
    """Looks whether all of these can be found, without running a user's file.

    Raises:
        ConfigError: a line for each that cannot.
    """
    known = names()
    faults = [f"study.strategies: expected one of {', '.join(known)}, or a file FILE.py, got {name!r}"
              for name in wanted if name not in known and not (name.endswith(".py") and Path(name).is_file())]
    if faults:
        raise ConfigError(*faults)


def _from_file(path: Path) -> Strategy:
    """The file is run as Python: it is the user's own code."""
    if not path.is_file():
        raise ConfigError(f"{path}: expected a Python file with a strategy, got no file")
    spec = importlib.util.spec_from_file_location(f"mgral_strategy_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"{path}: expected a Python file with a strategy, got {type(error).__name__}: {error}"
                          ) from error
    return _declared(getattr(module, "STRATEGY", getattr(module, "select", None)), path.stem, str(path))


def _declared(declared: object, name: str, where: str) -> Strategy:
    if isinstance(declared, Strategy):
        return declared
    if callable(declared):
        summary = (declared.__doc__ or "a strategy of your own").strip().splitlines()[0]
        return Strategy(name, summary, declared)
    raise ConfigError(f"{where}: expected a `STRATEGY` or a function `select(view, budget, rng)`, got {declared!r}")
