"""Heads on anchors for a whole batch at once: the same numbers as mmdet's, without its loops over images and boxes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mgral.detection.distributed import mean_number
from mgral.detection.heads import Dense, Features, Found, Head, Losses, flat, surest
from mgral.detection.targets import Target

BACKGROUND, IGNORED = -1, -2
LEAST_UNION = 1e-6
"""Square pixels (mmdet)."""


class AnchorHead(Head):
    """Wraps a one-stage mmdet head with a `MaxIoUAssigner`. Anchors are made once for each canvas."""

    def __init__(self, head: nn.Module) -> None:
        self.head = head
        self._anchors: dict[tuple, Tensor] = {}

    @property
    def name(self):
        return type(self.head).__name__

    @staticmethod
    @abstractmethod
    def fits(head: nn.Module) -> bool:
        """Whether the batched form is exact for this head."""

    @abstractmethod
    def nothing(self, logits: Tensor) -> Tensor:
        """Probability (B, N) that a place shows no object."""

    @abstractmethod
    def _probabilities(self, logits: Tensor) -> Tensor:
        """(B, N, C) of the classes, without the background."""

    @abstractmethod
    def _class_losses(self, logits: Tensor, classes: Tensor, assigned: Tensor) -> Tensor:
        """(B, N), from the class (B, N) that each place is to show; the background is class C."""

    @abstractmethod
    def _distances(self, predicted: Tensor, expected: Tensor) -> Tensor:
        """(P,) or (P, 4): losses of boxes, or of deltas, against what they should be."""

    def losses(self, features, targets, canvas):
        return self._measure(features, targets).losses

    def object_losses(self, features, targets, canvas):
        measured = self._measure(features, targets)
        image, place, truth = measured.positive
        most = max(1, max(len(target) for target in targets))
        total = measured.classification[image, place] + measured.box
        sums, counts = (total.new_zeros(len(targets) * most).index_add_(0, image * most + truth, values)
                        for values in (total, torch.ones_like(total)))
        means = (sums / counts).reshape(-1, most)  # 0 / 0 where another object took all anchors
        return [row[:len(target)] for row, target in zip(means, targets, strict=True)]

    def read(self, features, contents, canvas, locations):
        dense = self.dense(features)
        probabilities = self._probabilities(dense.logits)
        return self._detections(probabilities, dense, contents), surest(probabilities, locations)

    def dense(self, features):
        scores, deltas = self.head(tuple(features))
        sizes = [tuple(level.shape[-2:]) for level in scores]
        return Dense(torch.cat([flat(level, self.head.cls_out_channels) for level in scores], dim=1),
                     torch.cat([flat(level, 4) for level in deltas], dim=1), self._grid(sizes, scores[0].device), sizes,
                     list(self.head.prior_generator.num_base_priors))

    def decode(self, anchors, deltas):
        return self.head.bbox_coder.decode(anchors, deltas)

    def _grid(self, sizes: Sequence[tuple[int, int]], device: torch.device) -> Tensor:
        key = (tuple(sizes), device)
        if key not in self._anchors:
            with torch.inference_mode(False):
                self._anchors[key] = torch.cat(self.head.prior_generator.grid_priors(sizes, device=device))
        return self._anchors[key]

    def found(self, dense: Dense, contents: Sequence[tuple[int, int]]) -> list[Found]:
        """Detections after suppression."""
        return self._detections(self._probabilities(dense.logits), dense, contents)

    def looks(self, dense: Dense, boxes: Sequence[Tensor], count: int, canvas: tuple[int, int]) -> list[Tensor]:
        """(count, n, 4) an image: where the `count` anchors that overlap each of its boxes (n, 4) most move to."""
        anchors, moved = dense.anchors, []
        for xyxy, deltas in zip(boxes, dense.deltas, strict=True):
            places = self.head.assigner.iou_calculator(xyxy, anchors).topk(count, dim=1).indices.T.flatten()
            decoded = self.head.bbox_coder.decode(anchors[places], deltas[places], max_shape=canvas)
            moved.append(decoded.reshape(count, len(xyxy), 4))
        return moved

    def _measure(self, features: Features, targets: Sequence[Target]) -> Measured:
        return self.compare(self.dense(features), targets)

    def compare(self, dense: Dense, targets: Sequence[Target]) -> Measured:
        """Losses place by place."""
        logits, deltas, anchors = dense.logits, dense.deltas, dense.anchors
        xyxy, labels, real = padded(targets, logits.device)
        assigned = self._assign(anchors, xyxy, real, targets)
        image, place = (assigned >= 0).nonzero().unbind(1)
        truth = assigned[image, place]
        classes = torch.full_like(assigned, self.head.num_classes)
        classes[image, place] = labels[image, truth]
        box = self._box_losses(anchors[place], deltas[image, place], xyxy[image, truth])
        return Measured(self._class_losses(logits, classes, assigned), box, (image, place, truth), assigned)

    def _box_losses(self, anchors: Tensor, deltas: Tensor, xyxy: Tensor) -> Tensor:
        coder = self.head.bbox_coder
        if self.head.reg_decoded_bbox:
            deltas = coder.decode(anchors, deltas)
        else:
            xyxy = coder.encode(anchors, xyxy)
        # The empty sum keeps the box branch in the graph when nothing is there to find.
        loss = self._distances(deltas, xyxy) if len(xyxy) else deltas.sum(dim=1)
        return loss if loss.ndim == 1 else loss.sum(dim=1)  # IoU losses give one number a box

    def _assign(self, anchors: Tensor, xyxy: Tensor, real: Tensor, targets: Sequence[Target]) -> Tensor:
        """(B, N): row of the truth box that an anchor is to find, else BACKGROUND or IGNORED (`MaxIoUAssigner`)."""
        rules = self.head.assigner
        owner, row = real.nonzero().unbind(1)  # of each true box; padding, half of all rows, costs nothing
        overlaps = _overlaps(xyxy[owner, row], anchors)
        ignored = self._in_ignored_region(anchors, targets)
        if ignored is not None:
            overlaps = overlaps.masked_fill(ignored[owner], -1.0)
        by_image = overlaps.new_full((*real.shape, len(anchors)), -1.0).index_put_((owner, row), overlaps)
        best, truth = by_image.max(dim=1)
        assigned = torch.where(best >= rules.pos_iou_thr, truth,
                               torch.where(best < rules.neg_iou_thr, BACKGROUND, IGNORED))
        if rules.match_low_quality:
            # Each truth box also takes its best anchors (or the first of them), even poor ones; of several such boxes
            # the last one does.
            top, first = overlaps.max(dim=1, keepdim=True)
            chosen = (overlaps == top if rules.gt_max_assign_all
                      else torch.arange(len(anchors), device=anchors.device) == first)
            box, place = (chosen & (top >= rules.min_pos_iou)).nonzero().unbind(1)
            last = torch.full_like(assigned, -1).flatten().scatter_reduce_(
                0, owner[box] * len(anchors) + place, row[box], "amax").view_as(assigned)
            assigned = torch.where(last >= 0, last, assigned)
        return assigned if ignored is None else assigned.masked_fill(ignored, IGNORED)

    def _in_ignored_region(self, anchors: Tensor, targets: Sequence[Target]) -> Tensor | None:
        share = self.head.assigner.ignore_iof_thr
        if share <= 0 or not any(len(target.ignore) for target in targets):
            return None
        ignores = [target.ignore for target in targets]
        regions = [Target(boxes, boxes.new_zeros(len(boxes)).long(), boxes) for boxes in ignores]
        xyxy, _, real = padded(regions, anchors.device)
        covered = self.head.assigner.iou_calculator(anchors.expand(len(xyxy), -1, -1), xyxy, mode="iof")
        return ((covered > share) & real[:, None]).any(dim=2)

    def _detections(self, probabilities: Tensor, dense: Dense, contents: Sequence[tuple[int, int]]) -> list:
        from mmcv.ops import batched_nms

        rules, deltas, anchors = self.head.test_cfg, dense.deltas, dense.anchors
        places = [height * width * each for (height, width), each in zip(dense.sizes, dense.each, strict=True)]
        scores, keys = _best(probabilities, places, rules.get("nms_pre", -1))
        image, column = (scores > rules.get("score_thr", 0)).nonzero().unbind(1)
        keys, scores = keys[image, column], scores[image, column]
        place, labels = keys // probabilities.shape[2], keys % probabilities.shape[2]
        sides = torch.as_tensor(contents, dtype=deltas.dtype, device=deltas.device)[image].flip(1).repeat(1, 2)
        xyxy = self.head.bbox_coder.decode(anchors[place], deltas[image, place])
        xyxy = torch.minimum(xyxy.clamp(min=0), sides) if self.head.bbox_coder.clip_border else xyxy
        wide = (xyxy[:, 2:] - xyxy[:, :2] > rules.get("min_bbox_size", -1)).all(dim=1)
        counts = torch.bincount(image[wide], minlength=len(probabilities)).tolist()
        detections = []
        for detection in zip(*(values[wide].split(counts) for values in (xyxy, scores, labels)), strict=True):
            if len(detection[0]):
                boxes, keep = batched_nms(*detection, rules.nms)
                detection = detection[0][keep], boxes[:, -1], detection[2][keep]
            detections.append(tuple(values[:rules.max_per_img] for values in detection))
        return detections


@final
class RetinaHead(AnchorHead):
    """Wraps RetinaNet's head: sigmoids of classes with focal loss at every anchor, no sampling."""

    @staticmethod
    def fits(head):
        from mmdet.models.dense_heads import RetinaHead as Original
        from mmdet.models.losses import FocalLoss

        return (type(head) is Original and _takes_all_anchors(head) and type(head.loss_cls) is FocalLoss
                and head.use_sigmoid_cls)

    def nothing(self, logits):
        return 1 - logits.sigmoid().amax(dim=2)

    def _probabilities(self, logits):
        return logits.sigmoid()

    def _class_losses(self, logits, classes, assigned):
        losses = self.head.loss_cls(logits.flatten(0, 1), classes.flatten(),
                                    (assigned != IGNORED).flatten().to(logits.dtype), reduction_override="none")
        return losses.reshape(*assigned.shape, -1).sum(dim=2)

    def _distances(self, predicted, expected):
        return self.head.loss_bbox(predicted, expected, reduction_override="none")


@final
class SSDHead(AnchorHead):
    """Wraps SSD's head, an mmdet `SSDHead` with a `MaxIoUAssigner`: a softmax with the background as last class, and
    of the places without object only the worst few (`neg_pos_ratio` for each positive) in the loss of an image."""

    @staticmethod
    def fits(head):
        from mmdet.models.dense_heads import SSDHead as Original

        return type(head) is Original and _takes_all_anchors(head)

    def nothing(self, logits):
        return logits.softmax(dim=2)[..., -1]

    def _probabilities(self, logits):
        return logits.softmax(dim=2)[..., :-1]

    def _class_losses(self, logits, classes, assigned):
        each = F.cross_entropy(logits.transpose(1, 2), classes, reduction="none")
        each = each.masked_fill(assigned == IGNORED, 0.0)
        positive = assigned >= 0
        worst = each.detach().masked_fill(positive, -1.0).argsort(dim=1, descending=True)
        most = self.head.train_cfg["neg_pos_ratio"] * positive.sum(dim=1, keepdim=True)
        mined = torch.zeros_like(positive).scatter(1, worst, torch.arange(each.shape[1], device=each.device) < most)
        return each.masked_fill(~(positive | mined), 0.0)

    def _distances(self, predicted, expected):
        from mmdet.models.losses import smooth_l1_loss

        return smooth_l1_loss(predicted, expected, beta=self.head.train_cfg["smoothl1_beta"], reduction="none")


def _takes_all_anchors(head: nn.Module) -> bool:
    """Whether truth goes to anchors by `MaxIoUAssigner` alone: no sampling, no anchor left out, none weighed."""
    from mmdet.models.task_modules import BboxOverlaps2D, MaxIoUAssigner, PseudoSampler

    if not head.train_cfg or type(head.assigner) is not MaxIoUAssigner or type(head.sampler) is not PseudoSampler:
        return False
    rules = head.assigner
    return (type(rules.iou_calculator) is BboxOverlaps2D and head.train_cfg["allowed_border"] < 0
            and head.train_cfg["pos_weight"] <= 0 and isinstance(rules.neg_iou_thr, float)
            and rules.ignore_wrt_candidates and rules.perm_repeat_gt_cfg is None)


@dataclass(frozen=True, eq=False)
class Measured:
    """Losses place by place: `classification` (B, N), `box` (P,) of the `positive` (image, place, truth) rows.

    `assigned` (B, N): row of the truth box that a place is to find, else BACKGROUND or IGNORED.
    """

    classification: Tensor
    box: Tensor
    positive: tuple[Tensor, Tensor, Tensor]
    assigned: Tensor

    @cached_property
    def by_image(self) -> tuple[Tensor, Tensor, Tensor]:
        """(B,) each: sums of the classification and box losses, and the number of positives."""
        image = self.positive[0]
        images = len(self.assigned)
        box = self.box.new_zeros(images).index_add(0, image, self.box)
        return self.classification.sum(dim=1), box, torch.bincount(image, minlength=images)

    @cached_property
    def number(self) -> Tensor:
        """What mmdet divides the losses by: the positives, an image without any counted as one."""
        return mean_number(self.by_image[2].clamp(min=1).sum())

    @property
    def losses(self) -> Losses:
        classification, box, _ = self.by_image
        return {"loss_cls": classification.sum() / self.number, "loss_bbox": box.sum() / self.number}


def _overlaps(xyxy: Tensor, anchors: Tensor) -> Tensor:
    """IoU (n, N) of boxes (n, 4) and anchors (N, 4): mmdet's formula, on planes and in place."""
    sides = []
    for axis in (0, 1):
        end = torch.minimum(xyxy[:, axis + 2, None], anchors[:, axis + 2])
        sides.append(end.sub_(torch.maximum(xyxy[:, axis, None], anchors[:, axis])).clamp_(min=0))
    shared = sides[0].mul_(sides[1])
    areas, anchor_areas = ((boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (xyxy, anchors))
    union = torch.add(areas[:, None], anchor_areas, out=sides[1])
    return shared.div_(union.sub_(shared).clamp_(min=LEAST_UNION))


def padded(targets: Sequence[Target], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (B, M, 4), labels (B, M) and which of them are real (B, M), M the most of any image, at least one."""
    counts = torch.tensor([len(target) for target in targets], device=device)
    real = torch.arange(max(1, int(counts.max())), device=device) < counts[:, None]
    xyxy = torch.zeros(*real.shape, 4, device=device)
    labels = torch.zeros(real.shape, dtype=torch.int64, device=device)
    xyxy[real] = torch.cat([target.xyxy for target in targets])
    labels[real] = torch.cat([target.labels for target in targets])
    return xyxy, labels, real


def _best(probabilities: Tensor, places: Sequence[int], most: int) -> tuple[Tensor, Tensor]:
    """The `most` best (place, class) pairs of each level: scores (B, k) and keys (B, k) = place × C + class."""
    classes = probabilities.shape[2]
    scores, keys, start = [], [], 0
    for count in places:
        level = probabilities[:, start:start + count].flatten(1)
        top = level.topk(most, dim=1) if 0 < most < level.shape[1] else None
        scores.append(level if top is None else top.values)
        rows = torch.arange(level.shape[1], device=level.device).expand_as(level) if top is None else top.indices
        keys.append(rows + start * classes)
        start += count
    return torch.cat(scores, dim=1), torch.cat(keys, dim=1)
