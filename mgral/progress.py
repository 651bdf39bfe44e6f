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
from typing import Protocol


class Display(Protocol):
    """Where progress is shown. `left` is the remaining time in words, empty where none was planned."""

    def show(self, title: str, done: int, total: int, left: str) -> None:
        """A phase has come so far."""

    def close(self, title: str, done: int, total: int, left: str) -> None:
        """A phase in which something was done has ended."""

    def note(self, line: str) -> None:
        """Something that one should know."""


class Silence:
    """Shows nothing."""

    def show(self, title: str, done: int, total: int, left: str) -> None:
        pass

    close = show

    def note(self, line: str) -> None:
        pass


class Progress:
    """Counts work, and shows it on a display."""

    def __init__(self, display: Display | None = None) -> None:
        self._display = display or Silence()
        self.subject = ""
        """What is worked on, such as a strategy's cycle: all that is shown begins with it."""
        self._planned = False
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
            self._display.show(self._named(title), done, total, self._left_in_words())

        yield advance
        if done:
            self._display.close(self._named(title), done, total, self._left_in_words())

    def report(self, title: str) -> Callable[[int, int], None]:
        """Gives a function to call with (units done, units in all) of work that nobody planned."""
        def counted(done: int, total: int) -> None:
            show = self._display.close if done == total else self._display.show
            show(self._named(title), done, total, "")

        return counted

    def expect(self, plan: Mapping[str, int]) -> None:
        """Adds work to come, in units by kind."""
        self._planned = True
        self._left.update(plan)

    def skip(self, kind: str, units: int) -> None:
        """Units that need not be done, because an earlier run did them."""
        self._left[kind] -= units

    def remaining(self) -> tuple[float, bool]:
        """Seconds left, and whether every kind still to come has been measured."""
        left = {kind: units for kind, units in self._left.items() if units > 0}
        known = [kind for kind in left if self._done[kind]]
        return sum(left[kind] * self._spent[kind] / self._done[kind] for kind in known), len(known) == len(left)

    def note(self, line: str) -> None:
        self._display.note(self._named(line))

    def _named(self, text: str) -> str:
        return f"{self.subject} {text}".lstrip()

    def _left_in_words(self) -> str:
        if not self._planned:
            return ""
        seconds, complete = self.remaining()
        return f"{'about' if complete else 'at least'} {int(seconds) // 60}:{int(seconds) % 60:02d} left"


class Lines:
    """One line that is rewritten on a terminal; elsewhere a line every `every` seconds and at the end of a phase."""

    def __init__(self, say: Callable[[str], None] | None = None, every: float = 10.0) -> None:
        self._live = say is None and sys.stderr.isatty()
        self._say = say or (lambda line: sys.stderr.write(f"{line}\n"))
        self._every = 0.2 if self._live else every
        self._last = time.monotonic()

    def show(self, title: str, done: int, total: int, left: str) -> None:
        if time.monotonic() - self._last >= self._every:
            self._write_count(title, done, total, left, self._live)

    def close(self, title: str, done: int, total: int, left: str) -> None:
        self._write_count(title, done, total, left, False)

    def note(self, line: str) -> None:
        self._write(line, False)

    def _write_count(self, title: str, done: int, total: int, left: str, rewrite: bool) -> None:
        self._last = time.monotonic()
        self._write(f"{title} {done}/{total}" + (f" · {left}" if left else ""), rewrite)

    def _write(self, line: str, rewrite: bool) -> None:
        if self._live:
            sys.stderr.write(f"\r\x1b[K{line}" + ("" if rewrite else "\n"))
            sys.stderr.flush()
        else:
            self._say(line)


current: ContextVar[Progress] = ContextVar("progress", default=Progress())  # noqa: B039 - silent and shared on purpose
