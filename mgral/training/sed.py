"""SED-style: scale-equivalent distillation from a running mean of the student, without thresholds on classes.

After Guo et al., "Scale-Equivalent Distillation for Semi-Supervised Object Detection", CVPR 2022 (arXiv 2203.12244).
There is no public code, and the formulas here are our reading of the abstract's three claims (consistency across
scales, distillation by soft targets, re-weighting), not the paper's own: hence "SED-style".
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor

from mgral.data.augment import STRONG, WEAK, view
from mgral.detection import Losses, evaluating
from mgral.training.inputs import contents_of
from mgral.training.method import Draw, Method, ramp, statistics_kept, weighted
from mgral.training.places import counts, looked_at

COLOUR = replace(STRONG, flip=0.0, scale=(1.0, 1.0), shift=0.0)
"""The strong view's colours and erasures alone: every pixel, hence every anchor, stays where it is."""
PROBE = 64
"""Pixels a side of the image that tells of which kind a head is."""
LEAST_WEIGHT = 1e-12
# No published values: on small scenes heavier weights cost a short training accuracy.
WHOLE_WEIGHT, HALF_WEIGHT = 0.3, 0.1
"""Of the comparisons at full and at half size, at the top of the ramp."""
GAMMA = 0.5
"""A place weighs (largest difference between teacher's and student's class probability) ** GAMMA."""
FOREGROUND = 0.2
"""Least teacher score of a place whose box is compared."""
RAMP_UP = 0.2
"""Share of the steps after which the weights are full."""


class Places(NamedTuple):
    """Logits (B, n, C) and deltas (B, n, 4) of the same places, at `anchors` (n, 4)."""

    logits: Tensor
    deltas: Tensor
    anchors: Tensor

    def at(self, places: slice) -> Places:
        return Places(self.logits[:, places], self.deltas[:, places], self.anchors[places])


@final
class Sed(Method):
    """The teacher's class probabilities and boxes at every anchor are the student's target, at two scales.

    Teacher and student see one geometry of an unlabelled image, the student in stronger colours. At full size places
    are compared one to one. At half size level l - 1 has the cells of level l, with anchors half as large, so that
    the same deltas mean the same box; the student at half size is held to the teacher at full size there. Canvases
    are multiples of 32, so their halves have grids of the same cells.
    """

    summary = "soft targets of a running mean of the student at two scales, for RetinaNet; our reading of SED"

    @classmethod
    def refusal(cls, detector):
        whole, half = looked_at(detector, PROBE), looked_at(detector, PROBE // 2)
        if whole is None or half is None or whole.logits.shape[2] != len(detector.classes):
            return "it compares sigmoids of classes at fixed anchors, as RetinaNet has them; use detector.preset tiny"
        if len(whole.sizes) < 2:
            return f"it compares levels of a feature pyramid, got {len(whole.sizes)} level"
        small, large = half.anchors[:-counts(half)[-1]], whole.anchors[counts(whole)[0]:]
        if whole.sizes[1:] != half.sizes[:-1] or small.shape != large.shape or not torch.allclose(2 * small, large):
            return "it compares each level with the next, expected strides and anchors that double"
        return None

    def losses(self, draw: Draw) -> Losses:
        labelled, truth = self.sure(draw)
        contents = contents_of(self.store, draw.unlabelled)
        weak = view(self.store.pixels(draw.unlabelled).to(self.student.device), contents, WEAK, draw.generator)
        strong = view(weak.pixels, contents, COLOUR, draw.generator)
        with evaluating(self.teacher):
            taught = self.teacher.dense(weak.pixels)
        with statistics_kept(self.student):
            whole = self.student.dense(strong.pixels)
            half = self.student.dense(F.avg_pool2d(strong.pixels, 2))
        first, last = counts(taught)[0], half.logits.shape[1] - counts(half)[-1]
        teacher, student = (Places(dense.logits.clone(), dense.deltas.clone(), dense.anchors)
                            for dense in (taught, whole))
        smaller = Places(half.logits, half.deltas, half.anchors).at(slice(0, last))
        weight = self.config.unlabelled_weight * ramp(draw.step, draw.steps, RAMP_UP)
        sure = self.student.losses(labelled.pixels, truth)
        return (weighted(sure, 1.0, "labelled")
                | weighted(self._distilled(teacher, student), weight * WHOLE_WEIGHT, "same")
                | weighted(self._distilled(teacher.at(slice(first, None)), smaller), weight * HALF_WEIGHT, "half"))

    def _distilled(self, teacher: Places, student: Places) -> Losses:
        """Losses of classes and boxes. Boxes are compared at the student's anchors, for which both have deltas."""
        weights = attention(teacher.logits, student.logits, GAMMA)
        sure = teacher.logits.sigmoid().amax(dim=2) >= FOREGROUND
        image, place = sure.nonzero().unbind(1)
        target, prediction = (self.student.decode(student.anchors[place], places.deltas[image, place])
                              for places in (teacher, student))
        return {"classes": (weights * bernoulli_kl(teacher.logits, student.logits)).sum(),
                "boxes": (weights[sure] * giou_loss(target, prediction)).sum()}


def attention(teacher: Tensor, student: Tensor, gamma: float) -> Tensor:
    """(B, N) weights from logits (B, N, C): max over classes of |p_T - p_S|^gamma, adding up to one over the batch.

    Of the many places all of which are background, teacher and student agree on most: those hardly count, and the
    others are places of potential objects. No gradient goes through the weights.
    """
    weights = (teacher.sigmoid() - student.sigmoid()).detach().abs().amax(dim=2) ** gamma
    return weights / weights.sum().clamp(min=LEAST_WEIGHT)


def bernoulli_kl(target: Tensor, prediction: Tensor) -> Tensor:
    """(B, N) KL(target ‖ prediction) of logits (B, N, C), summed over classes, each a Bernoulli variable of its own."""
    probabilities = target.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(target, probabilities, reduction="none")
    return (F.binary_cross_entropy_with_logits(prediction, probabilities, reduction="none") - entropy).sum(dim=2)


def giou_loss(target: Tensor, prediction: Tensor) -> Tensor:
    """(n,) 1 - GIoU of boxes (n, 4): unlike 1 - IoU it has a gradient where the boxes are apart."""
    from torchvision.ops import generalized_box_iou_loss

    return generalized_box_iou_loss(target, prediction)
