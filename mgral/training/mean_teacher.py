"""Mean Teacher for detection: a running mean of the student labels the images on which the student learns.

Tarvainen & Valpola 2017, with the pseudo boxes and the momentum ramp of Soft Teacher (Xu et al. 2021, section 3.1).
"""

from __future__ import annotations

from typing import final

from mgral.detection import Losses
from mgral.training.method import Draw, Method, pseudo_view, weighted


@final
class MeanTeacher(Method):
    """The boxes that the teacher finds in a weak view of an unlabelled image are its truth in a strong view.

    Each half's losses are divided by its own positives.
    """

    summary = "pseudo boxes of a running mean of the student; ours, cheap, for every detector"

    def losses(self, draw: Draw) -> Losses:
        labelled, truth = self.sure(draw)
        unlabelled, pseudo = pseudo_view(self.teacher, self.store, draw.unlabelled,
                                         self.config.least_score, draw.generator)
        known, unknown = self.features(labelled, unlabelled)
        head, canvas = self.student.head, self.store.canvas
        return weighted(head.losses(known, truth, canvas), 1.0, "labelled") | weighted(
            head.losses(unknown, pseudo, canvas), self.config.unlabelled_weight, "unlabelled")
