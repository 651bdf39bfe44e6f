"""SED-style: scale-equivalent distillation from a running mean of the student, without thresholds on classes.

After Guo et al., "Scale-Equivalent Distillation for Semi-Supervised Object Detection", CVPR 2022 (arXiv 2203.12244).
There is no public code, and the formulas here are our reading of the abstract's three claims (consistency across
scales, distillation by soft targets, re-weighting), not the paper's own: hence "SED-style".
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mgral.data.augment import STRONG, WEAK, view
from mgral.detection.heads import Losses
from mgral.detection.inspecting import evaluating
from mgral.detection.training import contents_of
from mgral.semisup.method import Draw, Method, ramp, statistics_kept, weighted
from mgral.semisup.places import counts, looked_at

COLOUR = replace(STRONG, flip=0.0, scale=(1.0, 1.0), shift=0.0)
"""The strong view's colours and erasures alone: every pixel, hence every anchor, stays where it is."""
PROBE = 64
"""Pixels a side of the image that tells of which kind a head is."""
LEAST_WEIGHT = 1e-12


class Places(NamedTuple):
    """Logits (B, n, C) and deltas (B, n, 4) of the same places, at `anchors` (n, 4)."""

    logits: Tensor
    deltas: Tensor
    anchors: Tensor

    def at(self, places: slice) -> Places:
        return Places(self.logits[:, places], self.deltas[:, places], self.anchors[places])


class Sed(Method):
    """The teacher's class probabilities and boxes at every anchor are the student's goal, at two scales.

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
        rules = self.config.sed
        seen, truth = self.sure(draw)
        contents = contents_of(self.store, draw.unlabelled)
        weak = view(self.store.pixels(draw.unlabelled).to(self.student.device), contents, WEAK, draw.generator)
        strong = view(weak.pixels, contents, COLOUR, draw.generator)
        with evaluating(self.teacher):
            taught = self.teacher.dense(weak.pixels)
        with statistics_kept(self.student):
            whole = self.student.dense(strong.pixels)
            half = self.student.dense(F.avg_pool2d(strong.pixels, 2))
        first, last = counts(taught)[0], half.logits.shape[1] - counts(half)[-1]
        teacher, student = (Places(one.logits.clone(), one.deltas.clone(), one.anchors) for one in (taught, whole))
        smaller = Places(half.logits, half.deltas, half.anchors).at(slice(0, last))
        rise = ramp(draw.step, draw.steps, rules.ramp_up)
        sure = self.student.losses(seen.pixels, truth)
        return (weighted(sure, 1.0, "labelled")
                | weighted(self._distilled(teacher, student), rise * rules.weight, "same")
                | weighted(self._distilled(teacher.at(slice(first, None)), smaller), rise * rules.scale_weight, "half"))

    def _distilled(self, teacher: Places, student: Places) -> Losses:
        """Losses of classes and boxes. Boxes are compared at the student's anchors, for which both have deltas."""
        rules = self.config.sed
        weights = attention(teacher.logits, student.logits, rules.gamma)
        sure = teacher.logits.sigmoid().amax(dim=2) >= rules.foreground
        image, place = sure.nonzero().unbind(1)
        goal, guess = (self.student.decode(student.anchors[place], one.deltas[image, place])
                       for one in (teacher, student))
        return {"classes": (weights * bernoulli_kl(teacher.logits, student.logits)).sum(),
                "boxes": (weights[sure] * giou_loss(goal, guess)).sum()}


def attention(teacher: Tensor, student: Tensor, gamma: float) -> Tensor:
    """(B, N) weights from logits (B, N, C): max over classes of |p_T - p_S|^gamma, adding up to one over the batch.

    Of the many places all of which are background, teacher and student agree on most: those hardly count, and the
    others are places of potential objects. No gradient goes through the weights.
    """
    weights = (teacher.sigmoid() - student.sigmoid()).detach().abs().amax(dim=2) ** gamma
    return weights / weights.sum().clamp(min=LEAST_WEIGHT)


def bernoulli_kl(goal: Tensor, guess: Tensor) -> Tensor:
    """(B, N) KL(goal ‖ guess) of logits (B, N, C), each class a Bernoulli variable of its own, summed over classes."""
    wanted = goal.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(goal, wanted, reduction="none")
    return (F.binary_cross_entropy_with_logits(guess, wanted, reduction="none") - entropy).sum(dim=2)


def giou_loss(goal: Tensor, guess: Tensor) -> Tensor:
    """(n,) 1 - GIoU of boxes (n, 4): unlike 1 - IoU it has a gradient where the boxes are apart."""
    from torchvision.ops import generalized_box_iou_loss

    return generalized_box_iou_loss(goal, guess)
