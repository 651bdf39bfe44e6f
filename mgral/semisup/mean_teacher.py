"""Mean Teacher for detection: a running mean of the student labels the images on which the student learns.

Tarvainen & Valpola 2017, with the pseudo boxes and the momentum ramp of Soft Teacher (Xu et al. 2021, section 3.1).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from itertools import islice

import torch

from mgral.config import SemisupConfig
from mgral.data.augment import STRONG, WEAK, View, between, view
from mgral.data.dataset import Boxes, ImageId
from mgral.data.images import ImageStore
from mgral.detection.detector import Detector
from mgral.detection.inspecting import evaluating
from mgral.detection.optimisation import Optimiser
from mgral.detection.randomness import isolated, shuffled, stream
from mgral.detection.targets import Target, moved
from mgral.detection.training import contents_of, targets_of, total, training_view


def mean_teacher(start: Detector, store: ImageStore, labelled: Mapping[ImageId, Boxes], unlabelled: Sequence[ImageId],
                 config: SemisupConfig, seed: int) -> Detector:
    """The teacher after `config.steps` steps from `start`, which stays as it is.

    Each step the student sees labelled images and, strongly augmented, unlabelled ones in one pass; the boxes that the
    teacher finds in a weak view of the latter with a score of at least `config.threshold` are their truth. Each half's
    losses are divided by its own positives, the unlabelled half weighs `config.unlabelled_weight`.

    Raises:
        ValueError: no labelled or no unlabelled images.
        TrainingError: a loss that is not finite.
    """
    student, teacher = copy.deepcopy(start), copy.deepcopy(start)
    targets = targets_of(store, labelled, list(labelled), student.device)
    known = shuffled(list(labelled), 0, seed, "labelled")
    unknown = shuffled(unlabelled, 0, seed, "unlabelled")
    optimiser = Optimiser(student, config.steps, config.lr, config.weight_decay, config.clip_norm)
    student.train()
    for step in range(config.steps):
        first, second = (list(islice(order, count)) for order, count in
                         ((known, config.labelled_per_step), (unknown, config.unlabelled_per_step)))
        with isolated(student.device, seed, "step", step):
            generator = stream(seed, "view", step)
            sure, truth = training_view(store, targets, first, student.device, generator)
            guessed, pseudo = pseudo_view(teacher, store, second, config.threshold, generator)
            losses = student.group_losses(torch.cat([sure.pixels, guessed.pixels]), truth + pseudo,
                                          [len(first), len(second)])
            loss = total(losses[0]) + config.unlabelled_weight * total(losses[1])
            optimiser.step(step, loss, first + second)
        follow(teacher, student, momentum(step, config.ema_momentum))
    return teacher.eval()


def pseudo_view(teacher: Detector, store: ImageStore, ids: Sequence[ImageId], threshold: float,
                generator: torch.Generator) -> tuple[View, list[Target]]:
    """A strong view of unlabelled images, and in it the boxes of which the teacher was sure in a weak view."""
    pixels, contents = store.pixels(ids).to(teacher.device), contents_of(store, ids)
    weak = view(pixels, contents, WEAK, generator)
    with evaluating(teacher):
        # A view may put content anywhere on the canvas.
        found = teacher.predict(weak.pixels, [store.canvas] * len(ids))
    strong = view(pixels, contents, STRONG, generator)
    return strong, moved([_sure(one, threshold) for one in found], between(weak, strong), store.canvas)


def momentum(step: int, end: float) -> float:
    """Share of the teacher kept at 0-based `step`: min(end, 1 - 1/(step + 1)), a plain mean at first.

    The ramp is that of Soft Teacher's reference code; with a constant the teacher of a short training lags behind.
    """
    return min(end, 1 - 1 / (step + 1))


def follow(teacher: Detector, student: Detector, kept: float) -> None:
    """Moves the teacher towards the student: weights and batch-norm statistics alike, counters are copied.

    The statistics belong to the weights: averaged weights with statistics of another model predict badly.
    """
    pairs = list(zip(teacher.state_dict().values(), student.state_dict().values(), strict=True))
    averaged = [pair for pair in pairs if pair[0].is_floating_point()]
    torch._foreach_lerp_([mine for mine, _ in averaged], [its for _, its in averaged], 1 - kept)
    for mine, its in pairs:
        if not mine.is_floating_point():
            mine.copy_(its)


def _sure(found: tuple[torch.Tensor, torch.Tensor, torch.Tensor], threshold: float) -> Target:
    xyxy, scores, labels = found
    keep = scores >= threshold
    return Target(xyxy[keep].clone(), labels[keep].clone(), xyxy.new_zeros(0, 4))
