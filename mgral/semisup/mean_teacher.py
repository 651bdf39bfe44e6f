"""Mean Teacher for detection: a running mean of the student labels the images on which the student learns.

Tarvainen & Valpola 2017, with the pseudo boxes and the momentum ramp of Soft Teacher (Xu et al. 2021, section 3.1).
"""

from __future__ import annotations

from mgral.detection.heads import Losses
from mgral.semisup.method import Draw, Method, pseudo_view, weighted


class MeanTeacher(Method):
    """The boxes that the teacher finds in a weak view of an unlabelled image are its truth in a strong view.

    Each half's losses are divided by its own positives.
    """

    summary = "pseudo boxes of a running mean of the student; ours, cheap, for every detector"

    def losses(self, draw: Draw) -> Losses:
        rules = self.config.mean_teacher
        seen, truth = self.sure(draw)
        guessed, pseudo = pseudo_view(self.teacher, self.store, draw.unlabelled, rules.threshold, draw.generator)
        known, unknown = self.features(seen, guessed)
        head, canvas = self.student.head, self.store.canvas
        return weighted(head.losses(known, truth, canvas), 1.0, "labelled") | weighted(
            head.losses(unknown, pseudo, canvas), rules.weight, "unlabelled")
