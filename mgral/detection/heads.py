"""How an mmdet model's head is trained and read: one interface over one-stage and two-stage detectors.

Here stand the general cases, which call mmdet's own code image by image; `anchors` has batched ones for RetinaNet and
SSD.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mgral.detection.targets import Target
from mgral.errors import ConfigError

Features = Sequence[Tensor]
"""Maps of the neck, (B, D, h, w) each, finest first."""
Found = tuple[Tensor, Tensor, Tensor]
"""Boxes of one image: xyxy (n, 4) canvas pixels, scores (n,), labels (n,); best first."""
Losses = dict[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """What a one-stage head says of all N places, before anything is chosen.

    `logits` (B, N, K): K is the number of classes where each has a sigmoid of its own, and one more, background last,
    where a softmax goes over them. `deltas` (B, N, 4) move the `anchors` (N, 4), xyxy canvas pixels, as the head's box
    coder says. `sizes` (h, w) of each level and `each`, its anchors a cell; places go by level, row, column, anchor
    (mmdet's order).
    """

    logits: Tensor
    deltas: Tensor
    anchors: Tensor
    sizes: list[tuple[int, int]]
    each: list[int]


class Head(ABC):
    """What stands on the neck of a detector."""

    @abstractmethod
    def losses(self, features: Features, targets: Sequence[Target], canvas: tuple[int, int]) -> Losses:
        """Scalar losses of a batch, each divided as the model's config says (usually by the positives)."""

    @abstractmethod
    def read(self, features: Features, contents: Sequence[tuple[int, int]], canvas: tuple[int, int],
             locations: int) -> tuple[list[Found], Tensor]:
        """Detections after suppression, and class probabilities (B, locations, C) of the surest places before it."""

    @abstractmethod
    def object_losses(self, features: Features, targets: Sequence[Target], canvas: tuple[int, int]) -> list[Tensor]:
        """For each image the loss of each truth box (n,); NaN for a box that the model cannot represent."""

    def dense(self, features: Features) -> Dense:
        """The outputs at every place.

        Raises:
            ConfigError: the detector has no anchors at fixed places, or not in a form that `anchors` knows.
        """
        raise self._without_places()

    def decode(self, anchors: Tensor, deltas: Tensor) -> Tensor:
        """Where `deltas` (n, 4) of `dense` take the `anchors` (n, 4): xyxy canvas pixels. Raises as `dense` does."""
        raise self._without_places()

    def _without_places(self) -> ConfigError:
        return ConfigError(f"dense outputs: expected a one-stage detector with anchors, got {self.name}; "
                           "use detector.preset tiny, retinanet_r50 or ssd300")

    @property
    @abstractmethod
    def name(self) -> str:
        """What mmdet calls it."""


class DenseHead(Head):
    """A one-stage detector's head, by mmdet's own methods."""

    def __init__(self, head: nn.Module) -> None:
        self.head = head
        if not hasattr(head, "loss_cls"):
            head.loss_cls = None  # mmdet's prediction looks at it, and its SSD head has none

    @property
    def name(self):
        return type(self.head).__name__

    def losses(self, features, targets, canvas):
        return summed(self.head.loss(features, samples(metas([canvas] * len(targets), canvas), targets)))

    def read(self, features, contents, canvas, locations):
        outputs = self.head(features)
        results = self.head.predict_by_feat(*outputs, batch_img_metas=metas(contents, canvas), rescale=False)
        detections = [(result.bboxes, result.scores, result.labels) for result in results]
        return detections, surest(self._probabilities(outputs[0]), locations)

    def object_losses(self, features, targets, canvas):
        contents = [canvas] * len(targets)
        keep_all = {**self.head.test_cfg, "score_thr": LEAST_QUALITY, "nms_pre": -1}
        results = self.head.predict_by_feat(*self.head(features), batch_img_metas=metas(contents, canvas),
                                            cfg=_config(keep_all), with_nms=False)
        return [quality_loss(target, result.bboxes, result.scores, result.labels)
                for target, result in zip(targets, results, strict=True)]

    def _probabilities(self, levels: Sequence[Tensor]) -> Tensor:
        channels = self.head.cls_out_channels
        logits = torch.cat([flat(level, channels) for level in levels], dim=1)
        return logits.sigmoid() if self.head.use_sigmoid_cls else logits.softmax(dim=-1)[..., :-1]


class ProposalHead(Head):
    """A two-stage detector's proposal network and RoI head, by mmdet's own methods."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @property
    def name(self):
        return type(self.model).__name__

    def losses(self, features, targets, canvas):
        # mmdet's two-stage `loss` starts from pixels: give it the features that are already there.
        self.model.extract_feat = tuple
        try:
            return summed(self.model.loss(features, samples(metas([canvas] * len(targets), canvas), targets)))
        finally:
            del self.model.extract_feat

    def read(self, features, contents, canvas, locations):
        from mmdet.models.layers import multiclass_nms

        rules = self.model.test_cfg.rcnn
        detections, probabilities = [], []
        for result in self._proposals(features, contents, canvas):
            boxes, labels = multiclass_nms(result.bboxes, result.scores, rules.score_thr, rules.nms, rules.max_per_img)
            detections.append((boxes[:, :4], boxes[:, -1], labels))
            probabilities.append(surest(result.scores[None, :, :-1], locations))
        return detections, torch.cat(probabilities)

    def object_losses(self, features, targets, canvas):
        losses = []
        for target, result in zip(targets, self._proposals(features, [canvas] * len(targets), canvas), strict=True):
            count, classes = result.scores.shape[0], result.scores.shape[1] - 1
            boxes = result.bboxes.reshape(count, -1, 4).expand(count, classes, 4).reshape(-1, 4)
            labels = torch.arange(classes, device=boxes.device).repeat(count)
            losses.append(quality_loss(target, boxes, result.scores[:, :-1].reshape(-1), labels))
        return losses

    def _proposals(self, features, contents, canvas):
        inputs = metas(contents, canvas)
        proposals = self.model.rpn_head.predict(features, samples(inputs), rescale=False)
        return self.model.roi_head.predict_bbox(features, inputs, proposals, rcnn_test_cfg=None, rescale=False)


LEAST_QUALITY = 1e-3


def quality_loss(target: Target, xyxy: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
    """-log of the best (score × IoU) that any candidate of the right class has with each truth box; at most -log 1e-3.

    For detectors that assign truth to no fixed places.
    """
    from torchvision.ops import box_iou

    worth = box_iou(target.xyxy, xyxy) * scores * (target.labels[:, None] == labels)
    best = worth.amax(dim=1) if len(xyxy) else worth.sum(dim=1)
    return -best.clamp(min=LEAST_QUALITY).log()


def flat(level: Tensor, channels: int) -> Tensor:
    """(B, A × channels, h, w) → (B, h × w × A, channels), mmdet's order of places."""
    return level.permute(0, 2, 3, 1).reshape(len(level), -1, channels)


def surest(probabilities: Tensor, locations: int) -> Tensor:
    """Rows of (B, N, C) with the largest probability of any class, best first; zeros where N is too small."""
    count = min(locations, probabilities.shape[1])
    rows = probabilities.amax(dim=2).topk(count, dim=1).indices
    chosen = probabilities.gather(1, rows[:, :, None].expand(-1, -1, probabilities.shape[2]))
    return nn.functional.pad(chosen, (0, 0, 0, locations - count))


def metas(contents: Sequence[tuple[int, int]], canvas: tuple[int, int]) -> list[dict[str, Any]]:
    """What mmdet wants to know of each image."""
    return [{"img_shape": tuple(content), "ori_shape": tuple(content), "pad_shape": canvas,
             "batch_input_shape": canvas, "scale_factor": (1.0, 1.0)} for content in contents]


def samples(metas: Sequence[dict[str, Any]], targets: Sequence[Target] | None = None) -> list:
    """mmdet's data samples, with truth where `targets` are given."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    data_samples = [DetDataSample(metainfo=meta) for meta in metas]
    for sample, target in zip(data_samples, targets or (), strict=bool(targets)):
        sample.gt_instances = InstanceData(bboxes=target.xyxy, labels=target.labels)
        sample.ignored_instances = InstanceData(bboxes=target.ignore)
    return data_samples


def summed(losses: dict[str, Any]) -> Losses:
    """One number for each loss; what mmdet reports beside them (accuracy) is left out."""
    return {name: sum(level.mean() for level in value) if isinstance(value, list | tuple) else value.mean()
            for name, value in losses.items() if "loss" in name}


def _config(values: dict[str, Any]) -> Any:
    from mmengine.config import ConfigDict

    return ConfigDict(values)
