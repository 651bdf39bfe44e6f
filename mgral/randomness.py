"""Random numbers that depend on a seed and a name only: not on what was drawn before, and never on global state.

There are two derivations, and merging them would change every number that was ever drawn:

- `derived_seed` gives a run's pieces of work their seeds: from the run's seed and what the work is (its kind, the
  number of labelled images it builds on), whatever order the work is done in and wherever the images lie;
- `seed_of`, and `stream`, `isolated` and `shuffled` over it, give the draws within one piece of work, from its seed and
  the draw's name and step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch

from mgral.files import canonical_json, sha256

Item = TypeVar("Item")


def derived_seed(*parts: str | int) -> int:
    """A 63-bit seed for a piece of work: the same for the same parts and unrelated for others."""
    return int(sha256(*(canonical_json(part) for part in parts))[:16], 16) >> 1


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed for the draws of a seed under any names and numbers, such as `seed_of(7, "step", 12)`."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(*parts: int | str) -> torch.Generator:
    """A CPU generator of its own for the named purpose."""
    return torch.Generator().manual_seed(seed_of(*parts))


@contextmanager
def isolated(device: torch.device, *parts: int | str) -> Iterator[None]:
    """Seeds torch's global generators inside the block and gives them back as they were.

    For code that draws from them without taking a generator: mmdet's samplers, dropout, initialisers.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.random.default_generator.manual_seed(seed_of(*parts))
        if device.type == "cuda":
            torch.cuda.manual_seed(seed_of(*parts))
        yield


def shuffled(items: Sequence[Item], start: int, *parts: int | str) -> Iterator[Item]:
    """Items without end, each once an epoch, every epoch in another order; the first `start` draws are left out.

    Raises:
        ValueError: there are no items.
    """
    if not items:
        raise ValueError("expected at least one item to draw from, got none")
    epoch, skip = divmod(start, len(items))
    while True:
        order = torch.randperm(len(items), generator=stream(*parts, epoch)).tolist()
        yield from (items[row] for row in order[skip:])
        epoch, skip = epoch + 1, 0
