"""One process at a time: two that work on one part of a study would write the same files and the same runs.

Different strategies and seeds may be worked on at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mgral.config import folder_name
from mgral.files import why_unreadable
from mgral.progress import current
from mgral.study.workspace import Workspace

DATA, REPORT = "the data", "the report"
"""Parts of a seed; no strategy is called so."""

_locks: dict[Path, FileLock] = {}


@contextmanager
def alone(workspace: Workspace, part: str) -> Iterator[None]:
    """Holds a part of a study's seed: a strategy, `DATA` or `REPORT`. A process may hold what it holds already.

    While another process holds it, says so and waits. The operating system frees what a killed process held.
    """
    path = workspace.locks.resolve() / f"{workspace.study}-seed-{workspace.seed}-{folder_name(part)}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _locks.setdefault(path, FileLock(path, thread_local=False))
    holder = path.with_name(f"{path.name}.pid")  # opening the lock's own file empties it
    try:
        lock.acquire(timeout=0)
    except Timeout:
        process = "" if why_unreadable(holder) else f" (process {holder.read_text()})"
        current.get().note(f"another mgral{process} works on {workspace.seed_folder} ({part}); waiting until it "
                           "is done.")
        lock.acquire()
    try:
        holder.write_text(str(os.getpid()))
        yield
    finally:
        lock.release()
