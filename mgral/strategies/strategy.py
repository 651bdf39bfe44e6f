"""What a query strategy is: a declared thing that scores and selects, and says what it needs and why it chose."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

import numpy as np

from mgral.data.dataset import Boxes, ImageId
from mgral.generators import finished
from mgral.pool.content import Content
from mgral.pool.inspection import Inspection
from mgral.pool.near_duplicates import distinct


class Need(StrEnum):
    """What a strategy cannot do without."""

    PREDICTIONS = "predictions"
    EMBEDDINGS = "embeddings"
    CLASS_SCORES = "class scores"
    CONTENT = "annotated images to learn from what is in the others"
    OWN_HEADS = "heads of its own"
    OWN_TRAINING = "a training of its own"
    EXPERIMENTS = "experiments"
    TRUTH = "the true boxes of the pool"


INSPECTION = frozenset({Need.PREDICTIONS, Need.EMBEDDINGS, Need.CLASS_SCORES})
"""What an inspection by a detector of ours holds; one made of predictions or pictures alone holds less."""


@dataclass(frozen=True, slots=True, eq=False)
class PoolView:
    """What a strategy may know: `pool` may be chosen from, `labelled` is annotated already.

    `inspection` is the current detector's, of at least the pool; `classes` names what its labels mean. `truth`
    holds true boxes, of the pool too, for strategies that serve as an upper reference only. `setup` is what a strategy
    that runs experiments works with (`mgral.search.Setup`), `fitted` what its `fit` learned. `annotated` holds true
    boxes of labelled images, to be counted in place of what the detector sees in them; `content` what is expected in
    all inspected images. `near_duplicates` says whether images of the pool that look like another one are passed over.
    """

    pool: tuple[ImageId, ...]
    labelled: tuple[ImageId, ...]
    inspection: Inspection | None = None
    classes: tuple[str, ...] = ()
    truth: Mapping[ImageId, Boxes] | None = None
    setup: Any = None
    fitted: Any = None
    annotated: Mapping[ImageId, Boxes] = field(default_factory=dict)
    content: Content | None = None
    near_duplicates: Literal["skip", "allow"] = "allow"

    @property
    def offers(self) -> frozenset[Need]:
        offered = set() if self.inspection is None else set(_held(self.inspection))
        if self.truth is not None and all(image_id in self.truth for image_id in self.pool):
            offered.add(Need.TRUTH)
        if self.content is not None:
            offered.add(Need.CONTENT)
        if self.setup is not None:
            offered.add(Need.EXPERIMENTS)
        return frozenset(offered)


def _held(inspection: Inspection) -> frozenset[Need]:
    """What an inspection knows of its images: of a class, dimension or location that is not there, nothing."""
    _, locations, classes = inspection.class_scores.shape
    there = {Need.PREDICTIONS: classes, Need.EMBEDDINGS: inspection.embedding.shape[1],
             Need.CLASS_SCORES: locations * classes}
    return frozenset(need for need, size in there.items() if size)


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """A batch, best first: ids, a score and a reason each; `origin` says how it was found.

    `outcome` is what a strategy found out besides (`mgral.search.Outcome` for a search).
    """

    ids: tuple[ImageId, ...]
    scores: tuple[float, ...]
    reasons: tuple[str, ...]
    origin: str = ""
    outcome: Any = None


def no_fit(view: PoolView) -> Generator[object, None, None]:
    """Learns nothing."""
    yield from ()


def no_score(view: PoolView) -> np.ndarray:
    """Zeros (N,): on its own an image says nothing."""
    return np.zeros(len(view.pool))


@dataclass(frozen=True, slots=True)
class Strategy:
    """A query strategy, declared by its module.

    - `select(view, budget, rng)` gives a `Selection`, or just the ids, of `budget` images of the pool. The same view
      and the same state of `rng` give the same batch, whatever the order of the pool.
    - `score(view)` gives the acquisition (N,) of each pool image on its own, in the order of the pool.
    - `fit(view)` is run first; it is a generator that yields what it measures on the way, for the caller to keep, and
      returns what it learned, which `select` and `score` find as `view.fitted`.
    """

    name: str
    summary: str
    select: Callable[[PoolView, int, np.random.Generator], Selection | tuple[ImageId, ...]]
    source: str = ""
    needs: frozenset[Need] = frozenset()
    score: Callable[[PoolView], np.ndarray] = no_score
    fit: Callable[[PoolView], Generator[object, None, Any]] = no_fit


def choose(strategy: Strategy, view: PoolView, budget: int,
           rng: np.random.Generator) -> Generator[object, None, Selection]:
    """Lets a strategy choose: yields what it measures on the way and returns the selection.

    Raises:
        ValueError: a budget below 1 or above the size of the pool, an id twice in the pool, one that is labelled
            already, something that the strategy needs and the view lacks, or a strategy that breaks its contract.
    """
    if not 1 <= budget <= len(view.pool):
        raise ValueError(f"expected a budget from 1 to the {len(view.pool)} images of the pool, got {budget}")
    if len(set(view.pool)) < len(view.pool) or set(view.pool) & set(view.labelled):
        raise ValueError("expected a pool of distinct images that are not labelled, got some twice or labelled")
    missing = strategy.needs - view.offers
    if missing:
        raise ValueError(f"strategy {strategy.name}: expected {', '.join(sorted(missing))}, got a pool without")
    view = distinct_only(view, budget)
    fitted = yield from strategy.fit(view)
    selection = _completed(strategy, strategy.select(replace(view, fitted=fitted), budget, rng))
    if len(set(selection.ids)) != budget or len(selection.ids) != budget or not set(selection.ids) <= set(view.pool):
        raise ValueError(f"strategy {strategy.name}: expected {budget} distinct images of the pool, got "
                         f"{len(selection.ids)}, {len(set(selection.ids) & set(view.pool))} of them distinct and of "
                         "the pool")
    return selection


def distinct_only(view: PoolView, budget: int) -> PoolView:
    """The view as strategies, table and search see it: without near-duplicates if they are to be skipped, as far as the
    budget allows. All are thinned alike, so that none wins only because it alone passes over copies."""
    if view.near_duplicates == "allow" or view.inspection is None:
        return view
    return replace(view, pool=distinct(view.inspection, view.pool, view.labelled, budget), near_duplicates="allow")


def chosen(strategy: Strategy, view: PoolView, budget: int, rng: np.random.Generator) -> Selection:
    """The same for callers that keep nothing of what is measured on the way."""
    return finished(choose(strategy, view, budget, rng))


def _completed(strategy: Strategy, selected: Selection | tuple[ImageId, ...]) -> Selection:
    """A strategy in ten lines gives ids alone."""
    if isinstance(selected, Selection):
        return selected if selected.origin else replace(selected, origin=strategy.name)
    ids = tuple(selected)
    return Selection(ids, (0.0,) * len(ids), (strategy.summary,) * len(ids), strategy.name)
