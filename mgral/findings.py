"""What was found in files: problems that refuse them and notes of what was assumed, like ones counted, not repeated."""

from __future__ import annotations

SHOWN = 3
"""Problems of a kind that are shown in full; of notes only the first is."""


class Findings:
    """Collects problems and notes, each a whole line "where: expected …, got …; what to do".

    Those of a `kind` belong together: a thousand of them are a few lines that say how many there are. Without a kind
    a line stands alone. The order is that in which each kind was first met.
    """

    def __init__(self) -> None:
        self._problems: dict[str, tuple[list[str], int]] = {}
        self._notes: dict[str, tuple[list[str], int]] = {}
        self.refused = 0
        """Problems so far, each counted."""

    def problem(self, line: str, kind: str = "", times: int = 1) -> None:
        self.refused += times
        _add(self._problems, _on_one_line(line), kind, SHOWN, times)

    def note(self, line: str, kind: str = "", times: int = 1) -> None:
        _add(self._notes, _on_one_line(line), kind, 1, times)

    @property
    def problems(self) -> tuple[str, ...]:
        return _lines(self._problems)

    @property
    def notes(self) -> tuple[str, ...]:
        return _lines(self._notes)


def _on_one_line(line: str) -> str:
    """Whatever a file or a class is called: no line breaks, and nothing that UTF-8 cannot write."""
    if line.isprintable():
        return line
    return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in line)


def _add(lines: dict[str, tuple[list[str], int]], line: str, kind: str, most: int, times: int) -> None:
    shown, count = lines.get(kind or line, ([], 0))
    if len(shown) < most and line not in shown:
        shown.append(line)
    lines[kind or line] = (shown, count + times if kind else 1)


def _lines(lines: dict[str, tuple[list[str], int]]) -> tuple[str, ...]:
    return tuple(line for shown, count in lines.values() for line in _counted(shown, count))


def _counted(shown: list[str], count: int) -> list[str]:
    more = count - len(shown)
    return [*shown[:-1], f"{shown[-1]} (and {more} more like this)"] if more else shown
