"""The baseline: the same steps on the labelled images alone."""

from __future__ import annotations

from mgral.detection.heads import Losses
from mgral.semisup.method import Draw, Method


class Supervised(Method):
    """Yields the running mean of the student, as the others do, so that averaging alone explains no difference."""

    summary = "labelled images only, the baseline"
    unlabelled = False

    def losses(self, draw: Draw) -> Losses:
        seen, truth = self.sure(draw)
        return self.student.losses(seen.pixels, truth)
