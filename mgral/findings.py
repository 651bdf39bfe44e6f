"""What was found in files: problems that refuse them and notes of what was assumed, like ones counted, not repeated."""

from __future__ import annotations

SHOWN = 3
"""Lines of a kind that are shown in full."""


class Findings:
    """Collects problems and notes, each a whole line "where: expected …, got …; what to do".

    Those of a `kind` belong together: a thousand of them are a few lines that say how many there are. Without a kind
    a line stands alone. The order is that in which each kind was first met.
    """

    def __init__(self) -> None:
        self._problems: dict[str, tuple[list[str], int]] = {}
        self._notes: dict[str, tuple[list[str], int]] = {}

    def problem(self, line: str, kind: str = "") -> None:
        _add(self._problems, line, kind)

    def note(self, line: str, kind: str = "") -> None:
        _add(self._notes, line, kind)

    @property
    def problems(self) -> tuple[str, ...]:
        return _lines(self._problems)

    @property
    def notes(self) -> tuple[str, ...]:
        return _lines(self._notes)


def _add(lines: dict[str, tuple[list[str], int]], line: str, kind: str) -> None:
    shown, count = lines.get(kind or line, ([], 0))
    if len(shown) < SHOWN and line not in shown:
        shown.append(line)
    lines[kind or line] = (shown, count + 1 if kind else 1)


def _lines(lines: dict[str, tuple[list[str], int]]) -> tuple[str, ...]:
    return tuple(line for shown, count in lines.values() for line in _counted(shown, count))


def _counted(shown: list[str], count: int) -> list[str]:
    more = count - len(shown)
    return [*shown[:-1], f"{shown[-1]} (and {more} more like this)"] if more else shown
