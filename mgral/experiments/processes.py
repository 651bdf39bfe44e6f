"""Experiments in processes of their own, as many at once as the machine holds.

One small network does not fill a GPU, and on a CPU two processes of one thread do more than one process of two. All
map the same decoded images; each opens the cycle's detector from its checkpoint once.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import psutil
import torch

from mgral.config import SemisupConfig
from mgral.data.dataset import Boxes, ImageId
from mgral.data.images import ImageStore
from mgral.detection import Detector, load_checkpoint
from mgral.errors import MemoryFault, TrainingError
from mgral.experiments.experiment import Outcome, run_experiment
from mgral.progress import current
from mgral.randomness import derived_seed

MARGIN = 0.8
"""Share of the free memory that experiments may fill."""
CONTEXT = 600 * 2**20
"""Bytes of GPU memory that a process takes before its first tensor."""


@dataclass(frozen=True, slots=True)
class Planned:
    """An experiment to run: a batch, its seed, the file of its checkpoints, the step after which it pauses, and how
    many times the batch was planned before."""

    ids: tuple[ImageId, ...]
    seed: int
    checkpoint: Path | None = None
    until: int | None = None
    repeat: int = 0

    def __str__(self) -> str:
        return f"experiment on {', '.join(self.ids[:3])}…"


@dataclass(frozen=True, eq=False)
class ExperimentSetup:
    """All that the experiments of a cycle have in common; travels to other processes with `detector` as a file.

    `given` holds boxes of images that may be in a batch: an experiment on them takes them for labelled.
    """

    detector: Path
    device: str
    store: ImageStore
    labelled: Mapping[ImageId, Boxes]
    truth: Mapping[ImageId, Boxes]
    config: SemisupConfig
    measurements: int = 1
    given: Mapping[ImageId, Boxes] = field(default_factory=dict)

    @cached_property
    def start(self) -> Detector:
        return load_checkpoint(self.detector, self.device)

    def __getstate__(self) -> dict:
        """Without the opened detector: another process opens the file, and no GPU memory is shared."""
        return {name: value for name, value in vars(self).items() if name != "start"}

    def seed(self, study: int, batch: Sequence[ImageId], repeat: int) -> int:
        """Of an experiment in the study of that seed."""
        # Not from the fingerprint: an edit of code that changes no number must draw the same, and so must the same
        # pictures in another folder. Nor from the batch: what chance does to all batches alike does not make one look
        # better.
        return derived_seed(study, "experiment", len(self.labelled), repeat)

    def run(self, planned: Planned) -> Outcome:
        """Runs one experiment here. Raises `TrainingError` for a loss that is not finite."""
        labelled = {**self.labelled, **{image_id: self.given[image_id] for image_id in planned.ids
                                       if image_id in self.given}}
        return run_experiment(self.start, self.store, labelled, planned.ids, self.truth, self.config, planned.seed,
                              planned.checkpoint, self.measurements, planned.until)


Result = Outcome | MemoryFault
Item, Yield = TypeVar("Item"), TypeVar("Yield")


class Setup(Protocol[Item, Yield]):
    """Where work is done item by item, each independent of the others; it can be pickled."""

    device: str

    def run(self, item: Item) -> Yield: ...


def run_all(setup: Setup[Item, Yield], planned: Sequence[Item],
            at_once: int | Literal["auto"] = 1) -> Iterator[tuple[Item, Yield | MemoryFault]]:
    """Every item with what it yielded, in the order in which they end.

    With `auto` the number at once is what cores and memory allow, which is noted; how much memory one needs is seen
    when the first of its kind runs in this process. An experiment that runs out of GPU memory yields its fault and the
    others go on.

    Raises:
        TrainingError: a loss that is not finite, or a process that was killed; what was yielded before is complete.
    """
    waiting = list(planned)
    if at_once == "auto" and len(waiting) > 2:
        if type(setup) not in _known:
            first = waiting.pop(0)
            yield first, _attempt(setup, first)
            _known.add(type(setup))
        at_once, reason = fitting(setup.device, _needed(setup.device))
        current.get().note(f"{min(at_once, len(waiting))} experiments at once ({reason}).")
    if at_once in (1, "auto") or len(waiting) < 2:
        yield from ((item, _attempt(setup, item)) for item in waiting)
        return
    yield from _in_processes(setup, waiting, min(at_once, len(waiting)))


def fitting(device: str, need: int) -> tuple[int, str]:
    """How many experiments of `need` bytes each run at once on this machine, at least one, and the reason in words."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    on_gpu = device.startswith("cuda")
    free = torch.cuda.mem_get_info(device)[0] + need if on_gpu else psutil.virtual_memory().available
    count = max(1, min(cores, int(free * MARGIN // max(1, need))))
    kind = "GPU memory" if on_gpu else "memory"
    return count, f"{cores} cores, {free / 2**30:.1f} GiB of free {kind}, {need / 2**30:.1f} GiB each"


def warm_up() -> None:
    """Starts the process that experiments are forked from; it loads mmdet while this one goes on."""
    _context()
    forkserver.ensure_running()


_known: set[type] = set()
"""Kinds of work that this process has done once, so that its memory tells what they need."""


def _needed(device: str) -> int:
    """The most memory, in bytes, that this process has taken on the device."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_reserved(device) + CONTEXT
    return psutil.Process().memory_info().rss


def _attempt(setup: Setup[Item, Yield], item: Item) -> Yield | MemoryFault:
    try:
        return setup.run(item)
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        return MemoryFault(f"{item}: expected to fit into the memory of {setup.device}, got "
                           f"{str(error).split('.')[0]}; lower table.at_once, training.batch_size, "
                           "semisup.unlabelled_per_step or detector.image_size")


def _in_processes(setup: Setup[Item, Yield], planned: Sequence[Item],
                  count: int) -> Iterator[tuple[Item, Yield | MemoryFault]]:
    with ProcessPoolExecutor(count, _context(), _settle_in, (setup,)) as pool:
        running: dict[Future, Item] = {pool.submit(_work, item): item for item in planned}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        except BrokenProcessPool as error:
            raise TrainingError(f"experiments: expected {count} processes that live until they are done, got one that "
                                "was killed, perhaps for want of memory; lower table.at_once, then run again: "
                                "what was recorded stays") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _context():
    """Processes are forked from one that has loaded mmdet and has neither threads nor a GPU context."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mgral.detection.loaded"])
    return context


_setup: Setup | None = None


def _settle_in(setup: Setup) -> None:
    global _setup
    _setup = setup
    torch.set_num_threads(1)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A killed run must not leave processes behind that go on computing for nobody."""
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _work(item: Item) -> object:
    return _attempt(_setup, item)
