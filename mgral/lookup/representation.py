"""How a batch of images is described to the lookup table: one row of numbers, made of named blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from scipy import sparse

from mgral.config import Block
from mgral.data.dataset import ImageId
from mgral.inspection import Inspection
from mgral.lookup.described import Described
from mgral.lookup.images import class_mass, location_entropy, principal
from mgral.lookup.index import clusters, nearest

AXES = 8
"""Principal components that stand for the embedding beside other blocks."""
PROBES = 256
"""Random batches over which the columns are standardised."""

Columns = tuple[list[str], Callable[[sparse.csr_array], np.ndarray]]
"""The names of a block, and what makes it (M, columns) from the shares (M, N) that images have in batches."""


class Representation:
    """Describes batches; fitted on an inspection that holds the pool and the labelled images.

    The lone block `mean` is the mean embedding of the batch, the paper's visual representation v (section III-F), as it
    is. Otherwise the columns are, block by block:

    - `mean`: the mean on the first principal components of the embedding;
    - `spread`: the standard deviation on the same components;
    - `histogram`: per class log1p(objects predicted in the batch / (1 + those in the labelled set)), its growth;
    - `uncertainty`: entropy of the images' locations, mean and largest over the locations, and the mean class by class;
    - `diversity`: root mean square distance between its images, share of distinct cells (of `budget` k-means cells)
      among them, mean distance to the nearest labelled image;

    each standardised over random batches of the pool and divided by the root of its block's number of columns, so that
    every block weighs the same in a distance. `names` has the columns.

    Raises:
        ValueError: no block, or one twice or unknown; a pool smaller than the budget; no labelled image.
    """

    def __init__(self, blocks: Sequence[Block], inspection: Inspection, pool: Sequence[ImageId],
                 labelled: Sequence[ImageId], budget: int, seed: int) -> None:
        makers = {"mean": self._mean, "spread": self._spread, "histogram": self._histogram,
                  "uncertainty": self._uncertainty, "diversity": self._diversity}
        if not blocks or len(set(blocks)) < len(blocks) or not set(blocks) <= set(makers):
            raise ValueError(f"expected some of {', '.join(makers)}, each once, got {', '.join(blocks) or 'none'}")
        if not 1 <= budget <= len(pool):
            raise ValueError(f"expected a budget of 1 to {len(pool)} images, got {budget}")
        if not labelled:
            raise ValueError("expected labelled images, got none")
        self._inspection = inspection.of(sorted({*pool, *labelled}))
        self._budget, self._seed = budget, seed
        self._pool, self._labelled = self._inspection.rows(sorted(pool)), self._inspection.rows(sorted(labelled))
        self._components = principal(self._inspection.embedding, AXES)
        literal = tuple(blocks) == ("mean",)
        self._parts = [self._embedding()] if literal else [makers[block]() for block in blocks]
        self.names = tuple(name for names, _ in self._parts for name in names)
        self._centre, self._scale = np.zeros(len(self.names)), np.ones(len(self.names))
        if not literal:
            self._standardise()

    def __call__(self, batches: Sequence[Sequence[ImageId]]) -> Described:
        """Describes M batches of pool or labelled images; shares are over the images of both, sorted by id."""
        return self._describe([self._inspection.rows(batch) for batch in batches])

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
        entropy = location_entropy(self._inspection)
        whole = entropy.sum(axis=2)
        return np.column_stack([whole.mean(axis=1), whole.max(axis=1), entropy.mean(axis=1)])

    def _describe(self, batches: Sequence[np.ndarray]) -> Described:
        sizes = np.array([len(rows) for rows in batches])
        ends = np.concatenate([[0], sizes.cumsum()])
        columns = np.concatenate([np.sort(rows) for rows in batches])  # sorted: the order within a batch says nothing
        shares = sparse.csr_array((np.repeat(1 / sizes, sizes), columns, ends),
                                  shape=(len(batches), len(self._inspection.ids)))
        rows = (np.hstack([make(shares) for _, make in self._parts]) - self._centre) / self._scale
        return Described(rows, shares)

    def _standardise(self) -> None:
        rng = np.random.default_rng(self._seed)
        probes = self._describe([rng.choice(self._pool, self._budget, replace=False) for _ in range(PROBES)]).rows
        widths = np.concatenate([np.full(len(names), len(names) ** 0.5) for names, _ in self._parts])
        deviation = probes.std(axis=0)
        self._centre, self._scale = probes.mean(axis=0), np.where(deviation > 1e-9, deviation, 1.0) * widths

    def _embedding(self) -> Columns:
        embedding = self._inspection.embedding.astype(float)
        return [f"mean/{column}" for column in range(embedding.shape[1])], lambda shares: shares @ embedding

    def _mean(self) -> Columns:
        return [f"mean/{axis}" for axis in range(self._components.shape[1])], lambda shares: shares @ self._components

    def _spread(self) -> Columns:
        names = [f"spread/{axis}" for axis in range(self._components.shape[1])]
        return names, lambda shares: _deviation(shares, self._components)

    def _histogram(self) -> Columns:
        mass = class_mass(self._inspection)
        growth = mass / (1 + mass[self._labelled].sum(axis=0))
        names = [f"histogram/{label}" for label in range(mass.shape[1])]
        return names, lambda shares: np.log1p((shares > 0).astype(float) @ growth)

    def _uncertainty(self) -> Columns:
        classes = range(self._entropies.shape[1] - 2)
        names = ["uncertainty/mean", "uncertainty/max", *(f"uncertainty/{label}" for label in classes)]
        return names, lambda shares: shares @ self._entropies

    def _diversity(self) -> Columns:
        components, count = self._components, len(self._inspection.ids)
        cells = clusters(components, self._budget, self._seed)
        membership = sparse.csr_array((np.ones(count), (np.arange(count), cells)), shape=(count, cells.max() + 1))
        novelty = nearest(components, components[self._labelled])[0].astype(float)

        def columns(shares: sparse.csr_array) -> np.ndarray:
            distance = np.sqrt(2 * (_deviation(shares, components) ** 2).sum(axis=1))
            distinct = np.diff((shares @ membership).indptr) / np.diff(shares.indptr)
            return np.column_stack([distance, distinct, shares @ novelty])

        return ["diversity/distance", "diversity/distinct", "diversity/novelty"], columns


def _deviation(shares: sparse.csr_array, values: np.ndarray) -> np.ndarray:
    """Standard deviation within each batch, (M, columns)."""
    return np.sqrt(np.maximum(shares @ values**2 - (shares @ values) ** 2, 0.0))
