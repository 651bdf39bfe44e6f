"""What is in an image, before anybody looks: expected objects of each class, learned from the annotated images.

A detector's boxes miss the classes that it has seldom seen; its embedding, or that of a pretrained network, knows more
of them. So the objects of each class are regressed on what is known of an image, and judged on images left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict

from mgral.data.dataset import Boxes, ImageId
from mgral.pool.inspection import Inspection
from mgral.pool.statistics import class_mass, principal

AXES = 32
"""Principal components of the embedding that objects are told by."""
ALPHAS = np.logspace(-1, 4, 16)
"""Weights of the penalty that cross-validation chooses from, class by class."""
IMAGENET = "imagenet"
"""The signal that holds components of a pretrained network's embedding."""
FOLDS = 10
FEWEST = 10
"""Annotated images from which anything is learned."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Annotated images as they look to a model that was not shown them: `expected` and `counted` objects (n, C).

    `seen` (n, C) are the detector's own counts, brought to scale class by class on the images shown; zeros where there
    are no predictions.
    """

    classes: tuple[str, ...]
    counted: np.ndarray
    expected: np.ndarray
    seen: np.ndarray

    @property
    def dispersion(self) -> np.ndarray:
        """Variance (C,) of the true objects about the expected, for each object expected (1 is Poisson's)."""
        wrong = ((self.counted - self.expected) ** 2).sum(axis=0)
        return wrong / np.maximum(self.expected.sum(axis=0), 1e-9)

    def explained(self, counts: np.ndarray) -> float:
        """Share of the variation in counts between images that these (n, C) explain, over the classes that occur; below
        0 where the mean of a class would be nearer."""
        there = self.counted.sum(axis=0) > 0
        wrong = ((self.counted - counts)[:, there] ** 2).sum(axis=0)
        spread = ((self.counted - self.counted.mean(axis=0))[:, there] ** 2).sum(axis=0)
        return float((1 - wrong / np.maximum(spread, 1e-12)).mean()) if there.any() else 0.0


    @property
    def verdict(self) -> str:
        """Whether to believe it more than the detector's own counts, in words."""
        ours, seen = self.explained(self.expected), self.explained(self.seen)
        shares = f"{100 * max(ours, 0):.0f} % of how counts of objects vary among {len(self.counted)} annotated images"
        if not self.seen.any():
            return f"What is expected in images explains {shares}."
        if ours > seen:
            return f"What is expected in images explains {shares}; the detector's own, {100 * max(seen, 0):.0f} %."
        return (f"What is expected in images explains {shares}, no more than the detector's own counts "
                f"({100 * max(seen, 0):.0f} %): classes that it does not see are not seen here either.")


@dataclass(frozen=True, eq=False)
class Content:
    """Expected objects of each class in N images: `objects` (N, C), the true ones of annotated images."""

    ids: tuple[ImageId, ...]
    objects: np.ndarray
    calibration: Calibration

    def of(self, ids: Sequence[ImageId]) -> np.ndarray:
        """Objects of each class (n, C) in these images."""
        return self.objects[[self._row[image_id] for image_id in ids]]

    @cached_property
    def _row(self) -> dict[ImageId, int]:
        return {image_id: row for row, image_id in enumerate(self.ids)}


def fit_content(inspection: Inspection, annotated: Mapping[ImageId, Boxes], classes: Sequence[str],
                trained_on: Collection[ImageId] = ()) -> Content | None:
    """Learns from the annotated images what is in the others; None where fewer than `FEWEST` of them were inspected.

    For each class a ridge regression of its objects, `ignore` apart, on log1p of the objects predicted of each class,
    the root of the best score of each class at any location, and the first principal components of the embedding, as
    far as the inspection knows them. The penalty is chosen by leaving images out; what is expected is never below 0. It
    is judged on annotated images that the detector was not `trained_on`, for in those it sees what it was told; on all
    where too few are left.
    """
    shown = [image_id for image_id in inspection.ids if image_id in annotated]
    if len(shown) < FEWEST:
        return None
    known, features = objects_in([annotated[image_id] for image_id in shown], len(classes)), _features(inspection)
    rows = inspection.rows(shown)
    expected = np.maximum(_model().fit(features[rows], known).predict(features), 0.0).reshape(-1, len(classes))
    left_out = np.maximum(_left_out(features[rows], known), 0.0)
    new = [row for row, image_id in enumerate(shown) if image_id not in trained_on]
    judged = slice(None) if len(new) < FEWEST else new
    calibration = Calibration(tuple(classes), known[judged], left_out[judged],
                              _to_scale(_seen(inspection, rows, len(classes))[judged], known[judged]))
    expected[rows] = known
    return Content(inspection.ids, expected, calibration)


def growth(objects: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What objects (…, C) add to those that are annotated (C,): Σ_c log(1 + n_c / (1 + known_c)), (…,).

    The first object of a class is worth most and each further one less, so that a batch is worth at most what its
    images are worth alone (submodular: choosing them greedily is near the best, Nemhauser et al. 1978).
    """
    return np.log1p(objects / (1 + known)).sum(axis=-1)


def objects_in(boxes: Sequence[Boxes], classes: int) -> np.ndarray:
    """Objects of each class (n, C) in n annotated images; those to ignore do not count."""
    counts = [np.bincount(image.labels[~image.ignore], minlength=classes) for image in boxes]
    return np.stack(counts).astype(float) if counts else np.zeros((0, classes))


def _features(inspection: Inspection) -> np.ndarray:
    """What objects are told by (N, f), each column standardised; one column of zeros where nothing is known."""
    parts = [np.zeros((len(inspection.ids), 1))]
    _, locations, classes = inspection.class_scores.shape
    if classes:
        parts.append(np.log1p(class_mass(inspection)))
    if classes and locations:
        parts.append(np.concatenate([block.class_scores.max(axis=1) ** 0.5 for block in inspection.blocks()]))
    if IMAGENET in inspection.signals:  # made for telling what is in an image, as an embedding of looks is not
        parts.append(inspection.signals[IMAGENET].astype(float))
    elif inspection.embedding.shape[1]:
        parts.append(principal(inspection.embedding, AXES))
    features = np.hstack(parts)
    deviation = features.std(axis=0)
    return (features - features.mean(axis=0)) / np.where(deviation > 1e-9, deviation, 1.0)


def _model() -> RidgeCV:
    return RidgeCV(alphas=ALPHAS, alpha_per_target=True)


def _left_out(features: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What is expected of each annotated image (n, C) by a model of the others: a tenth of them is left out in turn."""
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    return cross_val_predict(_model(), features, known, cv=folds).reshape(known.shape)


def _seen(inspection: Inspection, rows: np.ndarray, classes: int) -> np.ndarray:
    """The detector's own counts (n, C): scores summed."""
    mass = class_mass(inspection)[rows]
    return np.pad(mass, ((0, 0), (0, classes - mass.shape[1])))


def _to_scale(mass: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Counts of the detector (n, C), each class times the factor that brings it nearest to the truth."""
    return mass * ((mass * known).sum(axis=0) / np.maximum((mass**2).sum(axis=0), 1e-9))
