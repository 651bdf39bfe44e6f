"""Work that overlaps: torch's kernels leave Python's lock alone, so a second thread is a second core."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item, Result = TypeVar("Item"), TypeVar("Result")


def side_by_side(work: Callable[[Item], Result], items: Iterable[Item], device: torch.device) -> Iterator[Result]:
    """`work` on every item, results in order: a thread a core on a CPU where torch keeps to one thread, else one.

    A thread starts without torch's gradient and inference modes: `work` sets what it wants.
    """
    several = device.type == "cpu" and torch.get_num_threads() == 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not several or cores == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(cores, "side") as pool:
        yield from pool.map(work, items)
