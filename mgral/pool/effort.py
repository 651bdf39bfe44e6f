"""What it takes to annotate an image: how many boxes somebody will draw in it, as far as a detector can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mgral.data.dataset import Boxes, ImageId
from mgral.pool.inspection import Inspection
from mgral.pool.statistics import class_mass


def expected_boxes(inspection: Inspection, ids: Sequence[ImageId], labelled: Mapping[ImageId, Boxes]) -> np.ndarray:
    """Boxes to expect in each of these images (n,): the scores of their detections summed, in the measure in which
    those of the `labelled` images add up to the boxes that are there; where that says nothing, as they are."""
    known = [image_id for image_id in inspection.ids if image_id in labelled]
    there = sum(len(labelled[image_id]) for image_id in known)
    seen = class_mass(inspection.of(known)).sum() if known else 0.0
    return class_mass(inspection.of(ids)).sum(axis=1) * (there / seen if there and seen else 1.0)


def affordable(boxes: np.ndarray, budget: float) -> int:
    """How many of the images that have so many boxes (n,), best first, fit into a budget of boxes: at least one."""
    return max(1, int((np.cumsum(boxes) <= budget).sum()))
