"""What every method is: a student, perhaps a teacher, and the losses of one step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mgral.config import SemisupConfig
from mgral.data.augment import STRONG, WEAK, WHOLE, View, between, view
from mgral.data.dataset import ImageId
from mgral.data.images import ImageStore
from mgral.detection import Detector, Features, Losses, Target, evaluating, moved
from mgral.training.inputs import contents_of, training_view


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """What 0-based `step` of `steps` works on. Everything random in it comes from `generator`."""

    step: int
    steps: int
    labelled: Sequence[ImageId]
    unlabelled: Sequence[ImageId]
    generator: torch.Generator


class Method(ABC):
    """One way to train.

    `student` is trained. `teacher` starts as another copy of the same detector, or as another one that is handed in,
    and follows the student as the method says; only `Supervised` does without. `truth` holds the targets of the
    labelled images.
    """

    summary: ClassVar[str]
    """One line for people."""
    unlabelled: ClassVar[bool] = True
    """Whether it looks at unlabelled images at all."""
    staged: ClassVar[bool] = False
    """Whether the published method first trains a supervised detector, which then labels for another."""

    def __init__(self, student: Detector, teacher: Detector | None, store: ImageStore,
                 truth: Mapping[ImageId, Target], config: SemisupConfig | None) -> None:
        self.student, self.teacher, self.store, self.truth, self.config = student, teacher, store, truth, config

    @classmethod
    def is_staged(cls, config: SemisupConfig) -> bool:
        """`staged`, for a method that has both kinds of training."""
        return cls.staged

    @classmethod
    def refusal(cls, detector: Detector) -> str | None:
        """Why the method makes no sense for this detector; None when it does."""
        return None

    @abstractmethod
    def losses(self, draw: Draw) -> Losses:
        """Named scalar losses; the student learns by their sum, so each is weighted already."""

    def after(self, step: int) -> None:
        """The teacher follows the student once its 0-based `step` is done."""
        follow(self.teacher, self.student, momentum(step, self.config.ema_momentum))

    @property
    def result(self) -> Detector:
        """What the training yields."""
        return self.teacher

    @final
    def features(self, sure: View, unsure: View) -> tuple[Features, Features]:
        """The student's features of labelled and of unlabelled views; only the former enter its running statistics."""
        known = self.student.features(sure.pixels)
        with statistics_kept(self.student):
            return known, self.student.features(unsure.pixels)

    @final
    def sure(self, draw: Draw, part: slice = WHOLE) -> tuple[View, list[Target]]:
        """A random view of the labelled images, or of `part` of them, and their targets in it."""
        return training_view(self.store, self.truth, draw.labelled, self.student.device, draw.generator, part)


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Batch norm in training mode normalises by the images at hand, but its running statistics stay as they are.

    For views that are no images of the data set: painted over, turned, halved or mixed ones in the statistics cost a
    detector that is later asked about whole images more than it learns from them.
    """
    norms = [module for module in module.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def pseudo_view(teacher: Detector, store: ImageStore, ids: Sequence[ImageId], threshold: float,
                generator: torch.Generator) -> tuple[View, list[Target]]:
    """A strong view of unlabelled images, and in it the boxes of which the teacher was sure in a weak view."""
    pixels, contents = store.pixels(ids).to(teacher.device), contents_of(store, ids)
    weak = view(pixels, contents, WEAK, generator)
    with evaluating(teacher):
        # A view may put content anywhere on the canvas.
        detections = teacher.predict(weak.pixels, [store.canvas] * len(ids))
    strong = view(pixels, contents, STRONG, generator)
    sure = [sure_boxes(image_detections, threshold) for image_detections in detections]
    return strong, moved(sure, between(weak, strong), store.canvas)


def sure_boxes(detections: tuple[Tensor, Tensor, Tensor], threshold: float) -> Target:
    """Detections with a score of at least `threshold`, taken for truth."""
    xyxy, scores, labels = detections
    keep = scores >= threshold
    return Target(xyxy[keep].clone(), labels[keep].clone(), xyxy.new_zeros(0, 4))


def weighted(losses: Losses, weight: float, prefix: str) -> Losses:
    return {f"{prefix}/{name}": weight * value for name, value in losses.items()}


def momentum(step: int, end: float) -> float:
    """Share of the teacher kept at 0-based `step`: min(end, 1 - 1/(step + 1)), a plain mean at first.

    The ramp is that of Soft Teacher's reference code; with a constant the teacher of a short training lags behind.
    """
    return min(end, 1 - 1 / (step + 1))


def ramp(step: int, steps: int, up: float, down: float = 1.0) -> float:
    """Weight in [0, 1] of losses without truth at 0-based `step`: a Gaussian rise over the share `up` of the steps, 1,
    and a steeper fall after the share `down` (ISD-SSD's reference code; its very first step alone has weight 0)."""
    if step < up * steps:
        return math.exp(-5.0 * (1 - step / (up * steps)) ** 2)
    if step > down * steps:
        return math.exp(-12.5 * (1 - (steps - step) / ((1 - down) * steps)) ** 2)
    return 1.0


def follow(teacher: Detector, student: Detector, decay: float) -> None:
    """Moves the teacher towards the student: weights and batch-norm statistics alike, counters are copied.

    The statistics belong to the weights: averaged weights with statistics of another model predict badly.
    """
    pairs = list(zip(teacher.state_dict().values(), student.state_dict().values(), strict=True))
    averaged = [pair for pair in pairs if pair[0].is_floating_point()]
    torch._foreach_lerp_([old for old, _ in averaged], [new for _, new in averaged], 1 - decay)
    for old, new in pairs:
        if not old.is_floating_point():
            old.copy_(new)
