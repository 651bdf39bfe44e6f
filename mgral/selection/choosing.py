"""The choice itself: the folder is looked at, a strategy chooses, and what was done is kept in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mgral import strategies
from mgral.data.dataset import Boxes, Dataset, ImageId
from mgral.errors import ConfigError, DataError
from mgral.pool.content import FEWEST, fit_content
from mgral.pool.inspection import Detections
from mgral.pool.statistics import LEAST_SCORE
from mgral.randomness import derived_seed
from mgral.selection.images import Given, given_images
from mgral.selection.request import Request
from mgral.selection.seeing import Seen, see, shown
from mgral.strategies import INSPECTION, Need, PoolView, Selection, Strategy

LEAST_EXPLAINED = 0.1
"""Share of the variation in counts below which `content` is not chosen by unless it is asked for."""
REMEDIES = {
    Need.PREDICTIONS: "give --predictions or --checkpoint",
    Need.CLASS_SCORES: "give --checkpoint, as predictions do not hold them",
    Need.CONTENT: f"give --labelled, with at least {FEWEST} annotated images",
    Need.EXPERIMENTS: "it trains detectors: use `mgral run`",
    Need.OWN_HEADS: "it trains heads: use `mgral run`",
    Need.OWN_TRAINING: "it trains a detector: use `mgral run`",
    Need.TRUTH: "it is a reference for simulations: use `mgral run`",
}


@dataclass(frozen=True, slots=True, eq=False)
class Selected:
    """A batch, best first, with all that is needed to write and to explain it.

    `dataset` holds all images of the folder and the boxes of the labelled ones; `detections` are those of the chosen
    images; `passed_over` images were left out because they look like a labelled one or like another one.
    """

    request: Request
    key: str
    dataset: Dataset
    strategy: Strategy
    selection: Selection
    detections: Mapping[ImageId, Detections]
    labelled: int
    unboxed: int
    passed_over: int
    source: str
    notes: tuple[str, ...]


def select(request: Request) -> Selected:
    """Chooses images as the request says; the same request gives the same batch.

    Raises:
        ConfigError: options that do not go together, a strategy that needs more than is given, or too large a budget.
        DataError, StateError: files that cannot be used.
    """
    request.check()
    if request.strategy is not None:
        _check_needs(strategies.get(request.strategy), request)
    given = given_images(request.images, request.labelled, request.unboxed, request.without)
    images = given.images
    _check_budget(request, len(images), len(given.boxes))
    seen = see(request, images, given.classes)
    classes, boxes = _joined_classes(seen, given, request)
    dataset = Dataset(request.images, tuple(classes), tuple(classes.values()), images, boxes)
    view = _view(seen, dataset)
    strategy = strategies.get(request.strategy or _usual(request, view))
    _check_content(strategy, view, request)
    thinned = strategies.distinct_only(view, request.budget)
    selection = _chosen(strategy, thinned, request)
    key = request.key([seen.told_apart, *([image.id, image.width, image.height, dataset.path(image.id).stat().st_size]
                                          for image in images.values())])
    return Selected(request, key, dataset, strategy, selection, shown(seen.inspection, selection.ids), len(boxes),
                    given.unboxed, len(view.pool) - len(thinned.pool), seen.source,
                    (*_known(view), *_unsaid(view), *given.notes, *seen.notes))


def _usual(request: Request, view: PoolView) -> str:
    """`content` where enough is known of it, else what the predictions say, else what covers the pool."""
    calibration = view.content and view.content.calibration
    if calibration is not None and calibration.explained(calibration.expected) >= LEAST_EXPLAINED:
        return "content"
    return "coreset" if request.predictions is None and request.checkpoint is None else "balanced_entropy"


def _check_budget(request: Request, images: int, labelled: int) -> None:
    if request.budget > images - labelled:
        raise ConfigError(f"--budget: expected at most the {images - labelled} images of {request.images} that are not "
                          f"labelled, got {request.budget}; lower it or add images")


def _joined_classes(seen: Seen, given: Given,
                    request: Request) -> tuple[dict[str, int], dict[ImageId, Boxes]]:
    """The detector's classes and those that only labelled images have, and the labelled boxes numbered by them."""
    folded = {name.casefold().strip(): name for name in seen.classes}
    near = [f"{request.labelled}: expected the detector's class {folded[name.casefold().strip()]!r}, got {name!r}; "
            "write both alike" for name in given.classes if seen.classes and name not in seen.classes
            and name.casefold().strip() in folded]
    if near:
        raise DataError(*near)
    classes = dict(seen.classes or given.classes)
    for name in given.classes:
        classes.setdefault(name, max(classes.values(), default=0) + 1)
    rows = np.array([list(classes).index(name) for name in given.classes], dtype=np.int64)
    return classes, {image_id: Boxes(boxes.xyxy, rows[boxes.labels], boxes.ignore)
                     for image_id, boxes in given.boxes.items()}


def _view(seen: Seen, dataset: Dataset) -> PoolView:
    """All that a strategy may know; classes that no detector predicts count too where any are predicted."""
    from dataclasses import replace

    inspection, pool = seen.inspection, tuple(name for name in dataset.images if name not in dataset.boxes)
    count, locations, predicted = inspection.class_scores.shape
    if predicted and predicted < len(dataset.classes):
        more = np.zeros((count, locations, len(dataset.classes) - predicted), np.float32)
        inspection = replace(inspection, class_scores=np.concatenate([inspection.class_scores, more], axis=2))
    return PoolView(pool, tuple(dataset.boxes), inspection, dataset.classes, annotated=dataset.boxes,
                    content=fit_content(inspection, dataset.boxes, dataset.classes) if dataset.classes else None,
                    near_duplicates="skip")


def _check_needs(strategy: Strategy, request: Request) -> None:
    """Says what a strategy lacks before anything is read; of what only a pipeline has, nothing else besides."""
    there = {Need.EMBEDDINGS}
    there |= {Need.PREDICTIONS} if request.predictions is not None else set()
    there |= INSPECTION if request.checkpoint is not None else set()
    there |= {Need.CONTENT} if request.labelled is not None else set()
    missing = sorted(strategy.needs - there)
    missing = [need for need in missing if need not in INSPECTION] or missing
    if missing:
        raise ConfigError(*(f"--strategy {strategy.name}: expected {need}, got none; {REMEDIES[need]}"
                            for need in missing))


def _check_content(strategy: Strategy, view: PoolView, request: Request) -> None:
    if Need.CONTENT in strategy.needs and view.content is None:
        raise ConfigError(f"--labelled: expected at least {FEWEST} annotated images with boxes to learn from what is "
                          f"in the others, got {len(view.labelled)} in {request.labelled}; label more, or choose by "
                          "--strategy coreset")


def _known(view: PoolView) -> tuple[str, ...]:
    """How far to believe what is expected in the images, where something was learned of it."""
    return () if view.content is None else (view.content.calibration.verdict,)


def _unsaid(view: PoolView) -> tuple[str, ...]:
    """A note where a detector finds nothing that counts: a choice by its predictions is then one by chance."""
    scores = view.inspection.detections.scores
    if Need.PREDICTIONS not in view.offers or (scores >= LEAST_SCORE).any():
        return ()
    return (f"no detection in any image has a score of {LEAST_SCORE} or more, so predictions decide nothing; check the "
            "detector, or choose by --strategy coreset"),


def _chosen(strategy: Strategy, view: PoolView, request: Request) -> Selection:
    rng = np.random.default_rng(derived_seed(request.seed, strategy.name, "select"))
    try:
        return strategies.chosen(strategy, view, request.budget, rng)
    except Exception as error:
        if not (request.strategy or "").endswith(".py"):
            raise
        raise ConfigError(f"{request.strategy}: expected a strategy that chooses, got {type(error).__name__}: "
                          f"{' '.join(str(error).split())}; correct its code") from error
