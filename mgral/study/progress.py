"""Progress with an honest remaining time.

Work is counted in units of a kind (training steps, images, experiments, search iterations). A kind that has been
measured counts with its measured rate; while some kind has not, the remaining time is a lower bound and says so.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar


class Progress:
    """Counts work; what it says goes to `say`. The base class is silent."""

    def __init__(self) -> None:
        self._left: Counter[str] = Counter()
        self._done: Counter[str] = Counter()
        self._spent: Counter[str] = Counter()

    @contextmanager
    def phase(self, title: str, kind: str, total: int) -> Iterator[Callable[[int], None]]:
        """Gives a function to call with the number of units just done."""
        done, last = 0, time.monotonic()

        def advance(units: int = 1) -> None:
            nonlocal done, last
            now = time.monotonic()
            done += units
            self._spent[kind] += now - last
            self._done[kind] += units
            self._left[kind] -= units
            last = now
            self.show(title, done, total)

        yield advance
        self.close(title, done, total)

    def expect(self, plan: Mapping[str, int]) -> None:
        """Adds work to come, in units by kind."""
        self._left.update(plan)

    def skip(self, kind: str, units: int) -> None:
        """Units that need not be done, because an earlier run did them."""
        self._left[kind] -= units

    def remaining(self) -> tuple[float, bool]:
        """Seconds left, and whether every kind still to come has been measured."""
        left = {kind: units for kind, units in self._left.items() if units > 0}
        known = [kind for kind in left if self._done[kind]]
        return sum(left[kind] * self._spent[kind] / self._done[kind] for kind in known), len(known) == len(left)

    def show(self, title: str, done: int, total: int) -> None:
        pass

    def close(self, title: str, done: int, total: int) -> None:
        pass

    def note(self, line: str) -> None:
        pass


class LineProgress(Progress):
    """One line that is rewritten on a terminal; elsewhere a line every `every` seconds and at the end of a phase."""

    def __init__(self, say: Callable[[str], None] | None = None, every: float = 10.0) -> None:
        super().__init__()
        self._live = say is None and sys.stderr.isatty()
        self._say = say or (lambda line: sys.stderr.write(f"{line}\n"))
        self._every = 0.2 if self._live else every
        self._last = time.monotonic()

    def show(self, title: str, done: int, total: int) -> None:
        if time.monotonic() - self._last >= self._every:
            self._last = time.monotonic()
            self._write(f"{title} {done}/{total} · {self._left_in_words()}", self._live)

    def close(self, title: str, done: int, total: int) -> None:
        if done:
            self._last = time.monotonic()
            self._write(f"{title} {done}/{total} · {self._left_in_words()}", False)

    def note(self, line: str) -> None:
        self._write(line, False)

    def _left_in_words(self) -> str:
        seconds, complete = self.remaining()
        return f"{'about' if complete else 'at least'} {int(seconds) // 60}:{int(seconds) % 60:02d} left"

    def _write(self, line: str, rewrite: bool) -> None:
        if self._live:
            sys.stderr.write(f"\r\x1b[K{line}" + ("" if rewrite else "\n"))
            sys.stderr.flush()
        else:
            self._say(line)


current: ContextVar[Progress] = ContextVar("progress", default=Progress())  # noqa: B039 - silent and shared on purpose
