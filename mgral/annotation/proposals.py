"""A detector's boxes as annotators get them: inside the image, rounded, without those that have no area."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mgral.data.dataset import ImageInfo
from mgral.pool.inspection import Detections

MODEL = "model"
"""Who is named as the source of boxes that no person has drawn."""
MIN_SCORE = 0.3
"""Least score of a box that is worth correcting."""

LEAST_SIDE = 0.1
"""Pixels: a box that is narrower in its image is none that a person could correct, and formats may round it away."""
NO_CLASS = "object"
"""What there is to label where nobody has named a class."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A box: `corners` x1, y1, x2, y2 in pixels to two digits, `label` the row of its class, `score` to four digits."""

    corners: tuple[float, float, float, float]
    label: int
    score: float


def proposals(image: ImageInfo, detections: Detections, min_score: float = MIN_SCORE) -> list[Proposal]:
    """The boxes of at least `min_score`, best first."""
    sure = detections.above(min_score)
    xyxy = np.clip(sure.xyxy.astype(float), 0, [image.width, image.height] * 2).round(2)
    sides = (xyxy[:, 2:] - xyxy[:, :2]).min(axis=1, initial=np.inf)
    return [Proposal(tuple(xyxy[row].tolist()), int(sure.labels[row]),
                     round(float(sure.scores[row]), 4)) for row in np.flatnonzero(sides > LEAST_SIDE)]
