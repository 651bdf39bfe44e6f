"""Images that look like another one: a budget spent on them buys the same labels twice.

The one place that says what a near-duplicate is; strategies, shortlist and search ask it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mgral.arrays import copied
from mgral.data.dataset import ImageId
from mgral.pool.inspection import Inspection

NEAR = 0.25
"""Images closer than this share of the root-mean-square distance between two images are near-duplicates."""
PENALTY = 1e6
"""What a near-duplicate is worth less: more than any gain, yet finite, so that it is taken when nothing else is
left."""


class NearDuplicates:
    """Which of N pool images look like one that is labelled or chosen: their embeddings lie closer than `NEAR` times
    the root-mean-square distance between two pool images. Memory O(N); without an inspection there are none.

    `penalty` (N,) is `PENALTY` for near-duplicates and 0 for all others; labelled images that were not inspected do
    not count.
    """

    def __init__(self, inspection: Inspection | None, pool: Sequence[ImageId], labelled: Sequence[ImageId]) -> None:
        self.penalty = np.zeros(len(pool))
        self._embedding = np.zeros((len(pool), 0), dtype=np.float32)
        if inspection is not None:
            embedding = copied(inspection.embedding, inspection.rows(pool))
            mean = embedding.mean(axis=0)
            self._embedding = embedding - mean
            self._squares = (self._embedding**2).sum(axis=1)
            # The mean squared distance of two points is twice that of one from the mean.
            self._near = NEAR**2 * 2 * self._squares.mean()
            known = [image_id for image_id in labelled if image_id in inspection.row]
            for labelled_embedding in copied(inspection.embedding, inspection.rows(known)) - mean:
                self._mark(labelled_embedding)

    def take(self, row: int) -> None:
        """Counts that pool image as chosen: from now on its near-duplicates are known."""
        if self._embedding.shape[1]:
            self._mark(self._embedding[row])

    def _mark(self, embedding: np.ndarray) -> None:
        # |x - y|² by a product, ten times as fast as by differences; around the mean its rounding is far below `_near`.
        self.penalty[self._squares - 2 * (self._embedding @ embedding) + embedding @ embedding < self._near] = PENALTY
