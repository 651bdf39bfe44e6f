"""How a batch of images is described to the lookup table: one row of numbers, made of named blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
from scipy import sparse

from mgral.config import Block as BlockName
from mgral.data.dataset import ImageId
from mgral.lookup.described import Described
from mgral.pool.content import Content
from mgral.pool.inspection import Inspection
from mgral.pool.neighbours import clusters, nearest
from mgral.pool.statistics import class_mass, location_summary, principal

AXES = 8
"""Principal components that stand for the embedding beside other blocks."""
PROBES = 256
"""Random batches over which the columns are standardised."""
CHUNK = 1024
"""Batches at a time."""


class Block(NamedTuple):
    """A block's columns: `names`; `images` (N, k), whose means over a batch it needs; and what makes the columns of
    M batches (M, columns) of `Facts` and those means (M, k)."""

    names: list[str]
    images: np.ndarray
    columns: Callable[[Facts, np.ndarray], np.ndarray]


class Facts(NamedTuple):
    """Of M batches: the rows of their images, batch by batch; how many each has, (M, 1); the mean of their principal
    components, (M, axes)."""

    members: np.ndarray
    sizes: np.ndarray
    centre: np.ndarray


class Representation:
    """Describes batches; fitted on an inspection that holds the pool and the labelled images.

    The lone block `mean` is the mean embedding of the batch, the paper's visual representation v (section III-F), as it
    is. Otherwise the columns are, block by block:

    - `mean`: the mean on the first principal components of the embedding;
    - `histogram`: per class log1p(objects in the batch / (1 + those in the labelled set)), its growth: objects that
      `content` expects, and the true ones of labelled images; those that the detector predicts where it is not known;
    - `uncertainty`: entropy of the images' locations, mean and largest over the locations, and the mean class by class;
    - `diversity`: root mean square distance between its images, share of distinct cells (of `budget` k-means cells)
      among them, mean distance to the nearest labelled image;

    each standardised over random batches of the pool and divided by the root of its block's number of columns, so that
    every block weighs the same in a distance. `names` has the columns.

    Raises:
        ValueError: no block, or one twice or unknown; a pool smaller than the budget; no labelled image.
    """

    def __init__(self, blocks: Sequence[BlockName], inspection: Inspection, pool: Sequence[ImageId],
                 labelled: Sequence[ImageId], budget: int, seed: int, content: Content | None = None) -> None:
        makers = {"mean": self._mean, "histogram": self._histogram, "uncertainty": self._uncertainty,
                  "diversity": self._diversity}
        if not blocks or len(set(blocks)) < len(blocks) or not set(blocks) <= set(makers):
            raise ValueError(f"expected some of {', '.join(makers)}, each once, got {', '.join(blocks) or 'none'}")
        if not 1 <= budget <= len(pool):
            raise ValueError(f"expected a budget of 1 to {len(pool)} images, got {budget}")
        if not labelled:
            raise ValueError("expected labelled images, got none")
        self._inspection = inspection.of(sorted({*pool, *labelled}))
        self._budget, self._seed, self._content = budget, seed, content
        self._pool, self._labelled = self._inspection.rows(sorted(pool)), self._inspection.rows(sorted(labelled))
        self._components = principal(self._inspection.embedding, AXES)
        literal = tuple(blocks) == ("mean",)
        self._blocks = [self._embedding()] if literal else [makers[block]() for block in blocks]
        self._images = np.hstack([self._components, *(block.images for block in self._blocks)])
        self.names = tuple(name for block in self._blocks for name in block.names)
        self._centre, self._scale = np.zeros(len(self.names)), np.ones(len(self.names))
        if not literal:
            self._standardise()

    def __call__(self, batches: Sequence[Sequence[ImageId]]) -> Described:
        """Describes M batches of pool or labelled images; shares are over the images of both, sorted by id."""
        sizes = np.array([len(batch) for batch in batches])
        members = map(self._inspection.row.__getitem__, chain.from_iterable(batches))
        return self._describe(np.fromiter(members, dtype=np.int32, count=sizes.sum()), sizes)

    @cached_property
    def images(self) -> np.ndarray:
        """What is known of each image (N, f), float64, sorted by id: principal components of the embedding, log1p of
        the objects predicted of each class, and entropies as for `uncertainty`; standardised over the images.

        Nothing in it depends on which of them are labelled.
        """
        features = np.column_stack([self._components, np.log1p(class_mass(self._inspection)), self._entropies])
        deviation = features.std(axis=0)
        return (features - features.mean(axis=0)) / np.where(deviation > 1e-9, deviation, 1.0)

    @cached_property
    def _entropies(self) -> np.ndarray:
        return location_summary(self._inspection)

    def _describe(self, members: np.ndarray, sizes: np.ndarray) -> Described:
        """Of M batches of these sizes (M), whose images come one after the other; they are sorted in place."""
        ends = np.concatenate([[0], sizes.cumsum()]).astype(np.int32)
        for begin, end in pairwise(ends):
            members[begin:end].sort()  # the order within a batch says nothing
        shares = sparse.csr_array((np.repeat(1 / sizes, sizes), members, ends),
                                  shape=(len(sizes), len(self._inspection.ids)))
        rows = [self._columns(shares[begin:begin + CHUNK]) for begin in range(0, len(sizes), CHUNK)]
        return Described((np.vstack(rows) - self._centre) / self._scale, shares)

    def _columns(self, shares: sparse.csr_array) -> np.ndarray:
        means = shares @ self._images
        ends = np.cumsum([self._components.shape[1], *(block.images.shape[1] for block in self._blocks)])
        centre, *parts = np.split(means, ends[:-1], axis=1)
        facts = Facts(shares.indices, np.diff(shares.indptr)[:, None], centre)
        return np.hstack([block.columns(facts, part) for block, part in zip(self._blocks, parts, strict=True)])

    def _standardise(self) -> None:
        rng, count = np.random.default_rng(self._seed), self._budget
        drawn = [rng.choice(self._pool, count, replace=False) for _ in range(PROBES)]
        probes = self._describe(np.concatenate(drawn).astype(np.int32), np.full(PROBES, count)).rows
        self._centre, deviation = probes.mean(axis=0), probes.std(axis=0)
        roots = [np.full(len(block.names), len(block.names) ** 0.5) for block in self._blocks]
        self._scale = np.where(deviation > 1e-9, deviation, 1.0) * np.concatenate(roots)

    def _embedding(self) -> Block:
        embedding = self._inspection.embedding.astype(float)
        return Block([f"mean/{column}" for column in range(embedding.shape[1])], embedding, lambda _, means: means)

    def _mean(self) -> Block:
        names = [f"mean/{axis}" for axis in range(self._components.shape[1])]
        return Block(names, self._nothing(), lambda facts, _: facts.centre)

    def _histogram(self) -> Block:
        mass = class_mass(self._inspection) if self._content is None else self._content.of(self._inspection.ids)
        growth = mass / (1 + mass[self._labelled].sum(axis=0))
        names = [f"histogram/{label}" for label in range(mass.shape[1])]
        return Block(names, growth, lambda facts, means: np.log1p(facts.sizes * means))

    def _uncertainty(self) -> Block:
        classes = range(self._entropies.shape[1] - 2)
        names = ["uncertainty/mean", "uncertainty/max", *(f"uncertainty/{label}" for label in classes)]
        return Block(names, self._entropies, lambda _, means: means)

    def _diversity(self) -> Block:
        components = self._components
        cells = clusters(components, self._budget, self._seed)
        novelty = nearest(components, components[self._labelled])[0].astype(float)

        def columns(facts: Facts, means: np.ndarray) -> np.ndarray:
            squares = np.maximum(means[:, 0] - (facts.centre**2).sum(axis=1), 0.0)
            there = np.zeros((len(facts.sizes), cells.max() + 1), dtype=bool)
            there[np.repeat(np.arange(len(facts.sizes)), facts.sizes[:, 0]), cells[facts.members]] = True
            return np.column_stack([np.sqrt(2 * squares), there.sum(axis=1) / facts.sizes[:, 0], means[:, 1]])

        return Block(["diversity/distance", "diversity/distinct", "diversity/novelty"],
                     np.column_stack([(components**2).sum(axis=1), novelty]), columns)

    def _nothing(self) -> np.ndarray:
        return np.zeros((len(self._inspection.ids), 0))
