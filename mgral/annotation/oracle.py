"""Who answers when the boxes of an image are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from mgral.data.dataset import Boxes, Dataset, ImageId
from mgral.errors import DataError


class Oracle(Protocol):
    def annotate(self, ids: Sequence[ImageId]) -> dict[ImageId, Boxes]:
        """The boxes of each image asked for, in the order asked."""


class SimulatedOracle:
    """Reveals the boxes that the data set holds already."""

    def __init__(self, dataset: Dataset) -> None:
        self._boxes = dataset.boxes

    def annotate(self, ids: Sequence[ImageId]) -> dict[ImageId, Boxes]:
        """Raises DataError naming all images whose boxes nobody knows."""
        unknown = [image_id for image_id in ids if image_id not in self._boxes]
        if unknown:
            raise DataError(*(f"image {image_id!r}: expected true boxes to reveal, got an image without annotation; "
                              "annotate it or take it out of the pool" for image_id in unknown))
        return {image_id: self._boxes[image_id] for image_id in ids}


class CorrectedOracle:
    """What a person has said of an image comes before what another oracle says."""

    def __init__(self, corrections: Mapping[ImageId, Boxes], otherwise: Oracle) -> None:
        self._corrections, self._otherwise = corrections, otherwise

    def annotate(self, ids: Sequence[ImageId]) -> dict[ImageId, Boxes]:
        """Asks the other oracle only for images that nobody has corrected."""
        boxes = self._otherwise.annotate([image_id for image_id in ids if image_id not in self._corrections])
        return {image_id: self._corrections.get(image_id, boxes.get(image_id)) for image_id in ids}
