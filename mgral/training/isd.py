"""ISD-SSD: what a detector says of a mixture of two images is the mixture of what it says of each.

Jeong et al., "Interpolation-based Semi-supervised Learning for Object Detection", CVPR 2021, which builds on CSD (Jeong
et al., "Consistency-based Semi-supervised Learning for Object Detection", NeurIPS 2019). What the papers leave open
follows their reference code.
"""

from __future__ import annotations

import math
from typing import NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mgral.data.augment import TRAIN, view
from mgral.detection import Losses
from mgral.training.inputs import contents_of
from mgral.training.method import Draw, Method, ramp, statistics_kept, weighted
from mgral.training.places import looked_at, mirrored

MIRROR = (-1.0, 1.0, 1.0, 1.0)
"""Signs of box deltas x, y, width, height under a flip."""
TYPE1_WEIGHT = 0.1
"""Of the places where both mixed images show an object (published)."""
BETA = 100.0
"""Images are mixed by a share drawn from Beta(BETA, BETA) (published)."""
RAMP_UP, RAMP_DOWN = 32 / 120, 100 / 120
"""Shares of the steps after which the weight is full and falls again: 32k and 100k of the published 120k."""
PROBE = 64
"""Pixels a side of the image that tells of which kind a head is."""


class Predictions(NamedTuple):
    """Log-probabilities (…, C + 1), background last, and box deltas (…, 4) of the same places."""

    log_p: Tensor
    deltas: Tensor

    @property
    def foreground(self) -> Tensor:
        """(…) whether some class beats the background."""
        return self.log_p[..., :-1].amax(dim=-1) > self.log_p[..., -1]

    def at(self, index: Tensor | slice) -> Predictions:
        return Predictions(self.log_p[index], self.deltas[index])


@final
class Isd(Method):
    """Each image is compared with its flip (CSD), and its mixture with a partner's flip with both of them (ISD).

    Every image of a step takes part, the labelled ones too; only those have supervised losses besides. There is no
    teacher and no threshold: the result is the student, as published.
    """

    summary = "consistency under flips and mixtures of images, for SSD (CVPR 2021)"

    @classmethod
    def refusal(cls, detector):
        dense = looked_at(detector, PROBE)
        if dense is None or dense.logits.shape[2] != len(detector.classes) + 1:
            return ("it compares a softmax over classes and background at fixed anchors, as SSD has it; "
                    "use detector.preset ssd300")
        return None

    def losses(self, draw: Draw) -> Losses:
        labelled, truth = self.sure(draw)
        unlabelled = view(self.store.pixels(draw.unlabelled).to(self.student.device),
                          contents_of(self.store, draw.unlabelled), TRAIN, draw.generator)
        images = torch.cat([labelled.pixels, unlabelled.pixels])
        # The whole canvas is flipped, padding included, so that places match from one end to the other.
        flipped, share = images.flip(3), mixing_share(BETA, draw.generator)
        count, mixed = len(images), share * images + (1 - share) * partners(flipped)
        with statistics_kept(self.student):
            dense = self.student.dense(torch.cat([images, flipped, mixed]))
        predictions = Predictions(dense.logits.log_softmax(dim=2), dense.deltas)
        left, flip, mixture = (predictions.at(slice(start * count, (start + 1) * count)) for start in range(3))
        right = Predictions(partners(flip.log_p), partners(flip.deltas))
        back = mirrored(dense.sizes, dense.each).to(images.device)
        unsure = {"csd": csd(left, Predictions(flip.log_p[:, back], flip.deltas[:, back])),
                  "type1": TYPE1_WEIGHT * type_one(left, right, mixture, share),
                  "type2": type_two(left, right, mixture)}
        weight = self.config.unlabelled_weight * ramp(draw.step, draw.steps, RAMP_UP, RAMP_DOWN)
        sure = self.student.losses(labelled.pixels, truth)
        return weighted(sure, 1.0, "labelled") | weighted(unsure, weight, "unlabelled")

    def after(self, step):
        """There is no teacher to follow."""

    @property
    def result(self):
        return self.student


def mixing_share(beta: float, generator: torch.Generator) -> float:
    """λ ~ Beta(beta, beta): how much of an image is left in its mixture. One number for the batch."""
    seed = int(torch.randint(2 ** 62, (1,), generator=generator))  # torch's own Beta takes no generator
    return float(np.random.default_rng(seed).beta(beta, beta))


def partners(batch: Tensor) -> Tensor:
    """For each image of a batch the image half a batch away, its partner in the mixture."""
    return batch.roll(len(batch) // 2, dims=0)


def csd(image: Predictions, flip: Predictions) -> Tensor:
    """Consistency of an image with its flip, whose places are in the image's order (CSD, for one-stage detectors).

    Mean over the image's foreground places of the classes' divergence plus the boxes' mean squared difference; zero
    where there are none. The divergence is that of the reference code, which is not quite the paper's Jensen-Shannon.
    """
    places = image.foreground
    image, flip = image.at(places), flip.at(places)
    return (_mean(divergence(image.log_p, flip.log_p))
            + _mean(distance(image.deltas, flip.deltas * flip.deltas.new_tensor(MIRROR))))


def type_one(left: Predictions, right: Predictions, mixture: Predictions, share: float) -> Tensor:
    """Where both images show an object: the mixture's classes are the mixed classes (ISD, loss of type I).

    Boxes are not compared: the mixture of two boxes is the box of nothing.
    """
    places = left.foreground & right.foreground
    mixed = torch.logaddexp(left.log_p[places] + math.log(share), right.log_p[places] + math.log1p(-share))
    return _mean(divergence(mixed, mixture.log_p[places]))


def type_two(left: Predictions, right: Predictions, mixture: Predictions) -> Tensor:
    """Where one image alone shows an object: the mixture says what that image does (ISD, loss of type II).

    The image is a fixed target, and each side has its own mean over its places. The direction is the reference code's,
    KL(image ‖ mixture).
    """
    loss = left.log_p.new_zeros(())
    for image, partner in ((left, right), (right, left)):
        places = image.foreground & ~partner.foreground
        target, prediction = image.at(places), mixture.at(places)
        loss = (loss + _mean(kl(target.log_p, prediction.log_p))
                + _mean(distance(target.deltas.detach(), prediction.deltas)))
    return loss


def kl(target: Tensor, prediction: Tensor) -> Tensor:
    """(n,) KL(target ‖ prediction) of log-probabilities (n, K); no gradient goes through the target."""
    return F.kl_div(prediction, target.detach(), reduction="none", log_target=True).sum(dim=-1)


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """(n,) mean of both KL divergences of log-probabilities (n, K), each moving towards the other, which is fixed."""
    return (kl(first, second) + kl(second, first)) / 2


def distance(first: Tensor, second: Tensor) -> Tensor:
    """(n,) mean squared difference of (n, 4)."""
    return (first - second).square().mean(dim=-1)


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(1, len(values))
