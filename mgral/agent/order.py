"""In which order the recurrent agent reads the pool."""

from __future__ import annotations

import torch
from torch import Tensor


def reading_order(embedding: Tensor, order: str, generator: torch.Generator) -> Tensor:
    """Rows (N,) of the pool in reading order, for embeddings (N, d) sorted by image id.

    - `id`: as given.
    - `shuffled`: a random order, so that the place of an image says nothing about it.
    - `similarity`: from image to image, always to the nearest unread one, so that the score fed back comes from an
      image alike. Takes N²d steps: minutes from 20,000 images on.

    Raises:
        ValueError: unknown order.
    """
    if order == "id":
        return torch.arange(len(embedding))
    if order == "shuffled":
        return torch.randperm(len(embedding), generator=generator)
    if order == "similarity":
        return _walk(embedding)
    raise ValueError(f"expected an order id, shuffled or similarity, got {order!r}")


def _walk(embedding: Tensor) -> Tensor:
    """Greedy nearest-neighbour walk, begun at the image nearest to the mean; ties go to the smaller row."""
    halves = embedding.square().sum(1) / 2
    read = torch.zeros(len(embedding))
    row, rows = int((embedding - embedding.mean(0)).square().sum(1).argmin()), []
    for _ in range(len(embedding)):
        rows.append(row)
        read[row] = torch.inf
        row = int((halves - embedding @ embedding[row] + read).argmin())
    return torch.tensor(rows)
