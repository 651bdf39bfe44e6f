"""Soft Teacher (Xu et al. 2021): a teacher that also says how surely a place is background and where a box lies.

For two-stage detectors as published, with the numbers of mmdet's `SoftTeacher`; for heads with anchors our own
variant.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor
from torchvision.ops import box_iou

from mgral.config import SemisupConfig, SoftTeacherConfig
from mgral.data.augment import STRONG, STRONGEST, WEAK, View, between, move_boxes, twins, view
from mgral.detection import (
    BACKGROUND,
    AnchorHead,
    Detector,
    Features,
    Found,
    Losses,
    ProposalHead,
    Stages,
    Target,
    evaluating,
    moved,
)
from mgral.training.inputs import contents_of
from mgral.training.method import Draw, Method, follow, weighted

Canvas = tuple[int, int]
JITTER_SCALE = 0.06
"""Deviation of the jittered corners, in sides of the box (reference code)."""


@final
class SoftTeacher(Method):
    """Pseudo boxes classify where the teacher is sure of the class, and locate where it is sure of the place.

    What no pseudo box covers is background only as far as an indicator, by default the teacher, says so. With the
    static teacher of `multi_stage` the training yields the student, otherwise the teacher.
    """

    summary = "pseudo boxes, background weighted by the teacher's own score, boxes by how stable they are"

    def __init__(self, student, teacher, store, truth, config) -> None:
        super().__init__(student, teacher, store, truth, config)
        adapter = ProposalAdapter if isinstance(student.head, ProposalHead) else AnchorAdapter
        self.adapter: Adapter = adapter(student, teacher, config.soft_teacher)

    @classmethod
    def is_staged(cls, config: SemisupConfig) -> bool:
        return config.soft_teacher.scheme == "multi_stage"

    @classmethod
    def refusal(cls, detector):
        if isinstance(detector.head, ProposalHead):
            return Stages.refusal(detector.head.model)
        if isinstance(detector.head, AnchorHead):
            return None
        return f"{type(detector.model).__name__} has neither proposals nor RetinaNet's anchors to ask a teacher about"

    def losses(self, draw: Draw) -> Losses:
        labelled, truth = self.sure(draw)
        pseudo = self.pseudo_labels(draw)
        known, unknown = self.features(labelled, pseudo.student_view)
        sure, unsure = self.adapter.losses(known, truth, unknown, pseudo, self.store.canvas)
        return weighted(sure, 1.0, "labelled") | weighted(unsure, self.config.unlabelled_weight, "unlabelled")

    def pseudo_labels(self, draw: Draw) -> PseudoLabels:
        """What the teacher says of the step's unlabelled images."""
        rules, canvas = self.config.soft_teacher, self.store.canvas
        pixels, contents = self.store.pixels(draw.unlabelled), contents_of(self.store, draw.unlabelled)
        teacher_view, student_view = self.adapter.views(pixels.to(self.teacher.device), contents, draw.generator)
        with evaluating(self.teacher):
            evidence = self.adapter.evidence(self.teacher.features(teacher_view.pixels))
            # A view may put content anywhere on the canvas.
            detections = self.adapter.detections(evidence, [canvas] * len(pixels), canvas)
            likely = [tuple(part[scores >= rules.teacher_threshold] for part in (xyxy, scores, labels))
                      for xyxy, scores, labels in detections]
            refined = self.adapter.refined(evidence, likely, canvas, draw.generator)
        to_student = between(teacher_view, student_view)
        sure = [scores >= rules.foreground_threshold for _, scores, _ in likely]
        stable = sure if rules.box_variance is None else [spread(boxes) < rules.box_variance for boxes in refined]
        return PseudoLabels(student_view, moved(_chosen(likely, sure), to_student, canvas),
                            moved(_chosen(likely, stable), to_student, canvas), evidence,
                            between(student_view, teacher_view))

    def after(self, step: int) -> None:
        scheme = self.config.soft_teacher.scheme
        if scheme == "ema":
            super().after(step)
        elif scheme == "end_to_end":
            follow(self.teacher, self.student, 0.0)

    @property
    def result(self) -> Detector:
        return self.student if self.is_staged(self.config) else self.teacher


@dataclass(frozen=True, slots=True, eq=False)
class PseudoLabels:
    """What the teacher says of unlabelled images: boxes to classify and boxes to locate in the `student_view`.

    `evidence` is what the adapter keeps of the teacher's pass; `back` (B, 3, 3) leads from `student_view` to the
    teacher's view.
    """

    student_view: View
    classified: list[Target]
    located: list[Target]
    evidence: Any
    back: Tensor


class Adapter(ABC):
    """How one kind of detector is asked. `evidence` is what it keeps of the teacher's pass over its view."""

    def __init__(self, student: Detector, teacher: Detector, rules: SoftTeacherConfig) -> None:
        self.student, self.teacher, self.rules = student, teacher, rules

    @abstractmethod
    def views(self, pixels: Tensor, contents: Tensor, generator: torch.Generator) -> tuple[View, View]:
        """What the teacher sees, and what the student sees."""

    @abstractmethod
    def evidence(self, features: Features) -> Any:
        """What `detections`, `refined` and `losses` need of the teacher's features of its view."""

    @abstractmethod
    def detections(self, evidence: Any, contents: Sequence[Canvas], canvas: Canvas) -> list[Found]:
        """The teacher's detections in its view, of an image each, after suppression."""

    @abstractmethod
    def refined(self, evidence: Any, detections: Sequence[Found], canvas: Canvas,
                generator: torch.Generator) -> list[Tensor]:
        """(J, n, 4) an image: each of its n boxes as the teacher places it from J different starts."""

    @abstractmethod
    def losses(self, known: Features, truth: Sequence[Target], unknown: Features, pseudo: PseudoLabels,
               canvas: Canvas) -> tuple[Losses, Losses]:
        """The student's losses on labelled and on unlabelled images."""


@final
class ProposalAdapter(Adapter):
    """As published: the student's proposals, judged by the teacher's RoI head in the teacher's own, weak view."""

    def __init__(self, student, teacher, rules):
        super().__init__(student, teacher, rules)
        self.student_stages, self.teacher_stages = Stages(student.head.model), Stages(teacher.head.model)

    def views(self, pixels, contents, generator):
        return view(pixels, contents, WEAK, generator), view(pixels, contents, STRONGEST, generator)

    def evidence(self, features):
        return features

    def detections(self, evidence, contents, canvas):
        return self.teacher.head.read(evidence, contents, canvas, 1)[0]

    def refined(self, evidence, detections, canvas, generator):
        starts = [jittered(xyxy, self.rules.jitters, JITTER_SCALE, generator) for xyxy, _, _ in detections]
        labels = [labels.repeat(self.rules.jitters) for _, _, labels in detections]
        relocated = self.teacher_stages.refine(evidence, [start.flatten(0, 1) for start in starts], labels, canvas)
        return [boxes.reshape(start.shape) for boxes, start in zip(relocated, starts, strict=True)]

    def losses(self, known, truth, unknown, pseudo, canvas):
        sure, stages = self.student.head.losses(known, truth, canvas), self.student_stages
        unsure, proposals = stages.propose(unknown, pseudo.classified, canvas)
        sampled = stages.sample(unknown, proposals, pseudo.classified)
        logits = stages.classify(unknown, sampled.xyxy)
        overlap = torch.cat([_overlap(xyxy, target)
                             for xyxy, target in zip(sampled.xyxy, pseudo.classified, strict=True)])
        trust = reliability(self.rules.indicator, logits.detach().softmax(dim=1)[:, -1],
                            self._background(pseudo, sampled.xyxy, canvas), overlap)
        weights = torch.where(sampled.labels == stages.background, trust, sampled.weights)
        classification = stages.classification_losses(logits, sampled.labels)
        unsure["loss_cls"] = (weights * classification).sum() / weights.sum().clamp(min=1)
        unsure["loss_bbox"] = stages.box_loss(unknown, stages.sample(unknown, proposals, pseudo.located))
        return sure, unsure

    def _background(self, pseudo: PseudoLabels, boxes: Sequence[Tensor], canvas: Canvas) -> Tensor:
        """The teacher's background score (N,) of boxes in the student's view."""
        most = pseudo.back.new_tensor(canvas).flip(0).repeat(2)
        there = [torch.minimum(move_boxes(xyxy, matrix.expand(len(xyxy), 3, 3)).clamp(min=0), most)
                 for xyxy, matrix in zip(boxes, pseudo.back, strict=True)]
        with evaluating(self.teacher):
            logits = self.teacher_stages.classify(pseudo.evidence, there)
        return logits.softmax(dim=1)[:, -1]


@final
class AnchorAdapter(Adapter):
    """Ours, for heads with an anchor at every place: the teacher sees what the student sees, before it is coloured.

    With one geometry for both an anchor means the same to both; moved by a matrix it would not be an anchor any more,
    and what the teacher's head says of a place holds for its anchors only. So one pass of the teacher gives pseudo
    boxes and background scores. Losses are divided by the positives of the labelled half, image for image: pseudo
    boxes of high score are too few to divide by, and so each place weighs the same in both halves.
    """

    def views(self, pixels, contents, generator):
        return twins(pixels, contents, STRONG, generator)

    def evidence(self, features):
        return self.teacher.head.dense(features)

    def detections(self, evidence, contents, canvas):
        return self.teacher.head.found(evidence, contents)

    def refined(self, evidence, detections, canvas, generator):
        return self.teacher.head.looks(evidence, [xyxy for xyxy, _, _ in detections], self.rules.jitters, canvas)

    def losses(self, known, truth, unknown, pseudo, canvas):
        head = self.student.head
        certain, dense = head.compare(head.dense(known), truth), head.dense(unknown)
        classified, located = head.compare(dense, pseudo.classified), head.compare(dense, pseudo.located)
        overlap = torch.stack([_overlap(dense.anchors, target) for target in pseudo.classified])
        trust = reliability(self.rules.indicator, head.nothing(dense.logits.detach()),
                            head.nothing(pseudo.evidence.logits), overlap)
        weights = torch.where(classified.assigned == BACKGROUND, trust, 1.0)
        number = certain.number * len(pseudo.classified) / len(truth)
        return certain.losses, {"loss_cls": (weights * classified.classification).sum() / number,
                                "loss_bbox": located.box.sum() / number}


INDICATORS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "none": lambda student, teacher, overlap: torch.ones_like(teacher),
    "iou": lambda student, teacher, overlap: overlap,
    "reverse_iou": lambda student, teacher, overlap: 1 - overlap,
    "prediction_difference": lambda student, teacher, overlap: 1 - (student - teacher).abs(),
    "student_background": lambda student, teacher, overlap: student,
    "teacher_background": lambda student, teacher, overlap: teacher,
}


def reliability(indicator: str, student: Tensor, teacher: Tensor, overlap: Tensor) -> Tensor:
    """How far each place is to count as background, 0 to 1 (section 3.2 and Table 7 of the paper).

    From its background scores by student and teacher and its largest IoU with a pseudo box, of equal shape.
    """
    return INDICATORS[indicator](student, teacher, overlap)


def jittered(xyxy: Tensor, count: int, scale: float, generator: torch.Generator) -> Tensor:
    """(count, n, 4): boxes whose corners moved by Gaussian noise of `scale` times their sides (equation 7)."""
    noise = torch.randn(count, len(xyxy), 4, generator=generator).to(xyxy.device)
    return xyxy + noise * (_sides(xyxy) * scale)


def spread(boxes: Tensor) -> Tensor:
    """Box variance (n,) of boxes placed J times, (J, n, 4): standard deviation by side, mean of the four (equation 8).

    Each coordinate is divided by its own side of the mean box, as in the reference code; equation 9 has the mean side.
    """
    if not boxes.shape[1]:  # torch warns of a deviation of nothing
        return boxes.new_zeros(0)
    return (boxes.std(dim=0) / _sides(boxes.mean(dim=0))).mean(dim=1)


def _sides(xyxy: Tensor) -> Tensor:
    """(n, 4): width, height, width, height; at least a pixel."""
    return (xyxy[:, 2:] - xyxy[:, :2]).clamp(min=1).repeat(1, 2)


def _chosen(detections: Sequence[Found], keep: Sequence[Tensor]) -> list[Target]:
    return [Target(xyxy[rows], labels[rows], xyxy.new_zeros(0, 4))
            for (xyxy, _, labels), rows in zip(detections, keep, strict=True)]


def _overlap(xyxy: Tensor, target: Target) -> Tensor:
    """(n,) largest IoU of each box with any of the target's."""
    return box_iou(xyxy, target.xyxy).amax(dim=1) if len(target) else xyxy.new_zeros(len(xyxy))
