"""One training over several processes, as `torchrun` starts them: each computes its share of every batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

from mgral.errors import ConfigError

PATIENCE = timedelta(minutes=10)
"""How long a process waits for the others before it gives up."""


@dataclass(frozen=True, slots=True)
class World:
    """The processes of one training; alone where nothing else was asked for."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """The one that writes files."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Which of a batch's `count` images are this process's.

        Raises:
            ConfigError: the batch cannot be divided evenly.
        """
        if count % self.size:
            raise ConfigError(f"training.batch_size: expected a multiple of the {self.size} processes, got {count}; "
                              "change one of them")
        part = count // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a detached value over all processes."""
        if self.size == 1:
            return value
        value = value.detach().clone()
        distributed.all_reduce(value)
        return value / self.size

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            distributed.barrier()

    def same(self, text: str) -> bool:
        """Whether all processes say the same, for instance of the images that they train on."""
        if self.size == 1:
            return True
        texts: list[str] = [""] * self.size
        distributed.all_gather_object(texts, text)
        return len(set(texts)) == 1


ALONE = World()


@contextmanager
def joined(device: str) -> Iterator[tuple[World, str]]:
    """The world that torchrun started this process in, and the device that is this process's own.

    Raises:
        ConfigError: not started by torchrun, or more processes than GPUs.
    """
    if "RANK" not in os.environ:
        raise ConfigError("expected to be started by torchrun, which says how many processes there are; "
                          "for one process use `mgral cycle`")
    rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    on_gpu = device.startswith("cuda")
    if on_gpu and local >= torch.cuda.device_count():
        raise ConfigError(f"torchrun: expected at most {torch.cuda.device_count()} processes on this machine, one a "
                          "GPU, got more; lower --nproc-per-node or set device: cpu")
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
    try:
        yield World(rank, distributed.get_world_size()), f"cuda:{local}" if on_gpu else device
    finally:
        distributed.destroy_process_group()


def mean_number(number: Tensor) -> Tensor:
    """A count averaged over the processes of a training, so that dividing by it agrees with one process's division."""
    if not distributed.is_available() or not distributed.is_initialized():
        return number
    number = number.detach().to(torch.float32).clone()
    distributed.all_reduce(number)
    return number / distributed.get_world_size()
