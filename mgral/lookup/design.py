"""Which batches the table's experiments are run on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mgral.data.dataset import Batch, ImageId, batch_of
from mgral.pool.content import Content
from mgral.pool.inspection import Inspection
from mgral.pool.neighbours import clusters
from mgral.pool.statistics import class_mass, image_entropy, principal
from mgral.strategies import PoolView, Strategy, balanced_entropy, chosen, content
from mgral.strategies.coreset import k_centre

AXES = 8
"""Principal components in which images are near or far."""
CELLS = 10
"""Clusters of the pool that batches are skewed by."""


def design_batches(design: str, records: int, inspection: Inspection, pool: Sequence[ImageId],
                   labelled: Sequence[ImageId], budget: int, seed: int,
                   content: Content | None = None) -> list[Batch]:
    """The batches of a table's experiments, so many `records`: each `budget` distinct ids of the pool, sorted.

    - `random`: drawn at random (MGRAL, section III-F). Their mean features lie close together.
    - `spread`: the kinds in `KINDS` by turns, so that the table reaches where a search may go; that of `content`, which
      says what is expected in the images, where that is known.

    The same inspection, sets and seed give the same batches, in whatever order the ids come.

    Raises:
        ValueError: a pool smaller than the budget, or a design `spread` without labelled images.
    """
    if not 1 <= budget <= len(pool):
        raise ValueError(f"expected a budget of 1 to {len(pool)} images, got {budget}")
    ids, rng = sorted(pool), np.random.default_rng(seed)
    if design == "random":
        return [batch_of(ids, rng.choice(len(ids), budget, replace=False)) for _ in range(records)]
    if not labelled:
        raise ValueError("expected labelled images for the design spread, got none")
    designer = _Designer(inspection, ids, sorted(labelled), budget, seed, content)
    makers = [make for name, make in KINDS.items() if name != "content" or content is not None]
    return [batch_of(ids, makers[turn % len(makers)](designer, rng, turn < len(makers))) for turn in range(records)]


class _Designer:
    """What the kinds of batches need to know of a pool of N images, row by row."""

    def __init__(self, inspection: Inspection, ids: list[ImageId], labelled: list[ImageId], budget: int, seed: int,
                 content: Content | None):
        combined = inspection.of(ids + labelled)
        self.inspection, self.ids, self.labelled_ids = combined, ids, labelled
        self.budget, self.size, self.expected = budget, len(ids), content
        components, pool = principal(combined.embedding, AXES), combined.of(ids)
        self.components, self.labelled = components[:len(ids)], components[len(ids):]
        self.mass, self.entropy = class_mass(pool), image_entropy(pool)
        self.cells = clusters(self.components, CELLS, seed)

    def top(self, priority: np.ndarray) -> np.ndarray:
        return np.argsort(-priority, kind="stable")[:self.budget]

    def random(self, rng: np.random.Generator, _first: bool) -> np.ndarray:
        return rng.choice(self.size, self.budget, replace=False)

    def cluster(self, rng: np.random.Generator, first: bool) -> np.ndarray:
        """The images nearest to the mean of one cluster."""
        mean = self.components[self.cells == rng.choice(self.cells)].mean(axis=0)
        return self.top(self._barred(rng, first) - ((self.components - mean) ** 2).sum(axis=1))

    def mixture(self, rng: np.random.Generator, _first: bool) -> np.ndarray:
        """Clusters in uneven shares: few of them dominate, none is ruled out."""
        shares = rng.dirichlet(np.full(self.cells.max() + 1, 0.3)) + 1e-3
        sizes = np.bincount(self.cells, minlength=len(shares))
        return self.top(np.log(shares / np.maximum(sizes, 1))[self.cells] + rng.gumbel(size=self.size))

    def uncertain(self, rng: np.random.Generator, _first: bool) -> np.ndarray:
        return self._tilted(self.entropy, rng)

    def certain(self, rng: np.random.Generator, _first: bool) -> np.ndarray:
        return self._tilted(-self.entropy, rng)

    def class_skewed(self, rng: np.random.Generator, _first: bool) -> np.ndarray:
        """Images of which one class, the same for all, is the larger part of what is predicted."""
        share = self.mass[:, rng.integers(self.mass.shape[1])] / (0.1 + self.mass.sum(axis=1))
        return self._tilted(share, rng)

    def coreset(self, rng: np.random.Generator, first: bool) -> np.ndarray:
        """The strategy's batch: always the image farthest from all labelled and chosen ones."""
        return k_centre(self.components, self.labelled, self.budget, self._barred(rng, first))[0]

    def content(self, rng: np.random.Generator, first: bool) -> np.ndarray:
        """The strategy's batch: from the whole pool at first, from a random half of it later."""
        return self._of(content.STRATEGY, rng, first)

    def balanced_entropy(self, rng: np.random.Generator, first: bool) -> np.ndarray:
        """Likewise."""
        return self._of(balanced_entropy.STRATEGY, rng, first)

    def _of(self, strategy: Strategy, rng: np.random.Generator, first: bool) -> np.ndarray:
        allowed = tuple(self.ids[row] for row in np.flatnonzero(self._barred(rng, first) == 0))
        classes = () if self.expected is None else self.expected.calibration.classes
        view = PoolView(allowed, tuple(self.labelled_ids), self.inspection, classes, content=self.expected)
        return np.searchsorted(self.ids, chosen(strategy, view, self.budget, rng).ids)

    def _barred(self, rng: np.random.Generator, first: bool) -> np.ndarray:
        """Minus infinity for images out of the running: none at first, a random half later, so that batches differ."""
        barred = np.full(self.size, 0.0 if first else -np.inf)
        barred[rng.choice(self.size, max(self.budget, self.size // 2), replace=False)] = 0.0
        return barred

    def _tilted(self, signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Drawn without replacement, more likely where the signal is high; how much more is drawn too."""
        deviation = signal.std()
        standard = (signal - signal.mean()) / deviation if deviation > 0 else np.zeros(self.size)
        return self.top(rng.uniform(1.0, 5.0) * standard + rng.gumbel(size=self.size))


KINDS: dict[str, Callable[[_Designer, np.random.Generator, bool], np.ndarray]] = {
    "content": _Designer.content, "balanced_entropy": _Designer.balanced_entropy, "random": _Designer.random,
    "cluster": _Designer.cluster, "uncertain": _Designer.uncertain, "mixture": _Designer.mixture,
    "class_skewed": _Designer.class_skewed, "coreset": _Designer.coreset, "certain": _Designer.certain}
"""What `spread` makes by turns; the heuristics to beat come first, so that even a small table holds their batches."""
