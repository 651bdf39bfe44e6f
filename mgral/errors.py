"""What can go wrong in the world outside the code, one class a kind.

A fault of the caller is a plain `ValueError`; everything here is a fault of a file, a setting or a run, worded
"where: expected …, got …; what to do", one line a problem. All problems found together are raised together.
"""

from __future__ import annotations


class MgralError(Exception):
    """A fault of the world. `problems` holds one line for each thing that is wrong."""

    def __init__(self, *problems: str) -> None:
        if not problems:
            raise ValueError("expected at least one problem, got none")
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class ConfigError(MgralError):
    """A setting that cannot be used."""


class DataError(MgralError):
    """A data set, split or annotation file that cannot be used."""


class TrainingError(MgralError):
    """A training that had to stop, for instance at a non-finite loss."""


class TableError(MgralError):
    """A lookup table that cannot be opened, read or trusted."""


class StateError(MgralError):
    """A step asked for before the step that it builds on, or files of another run."""


class MemoryFault(TrainingError):
    """A training that does not fit into the memory of its device."""
