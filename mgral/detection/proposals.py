"""The two stages of a Faster R-CNN one by one: for losses that depend on what another detector says of a proposal.

By mmdet's own assigners, samplers, coders and loss functions; its samplers draw from torch's global generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mgral.detection.heads import Features, Losses, metas, samples, summed
from mgral.detection.targets import Target


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """The N proposals that a RoI head learns from, of all images one after the other.

    `xyxy` (n_i, 4) of each image; `labels` (N,), background is C; `weights` (N,) in the classification loss; `moves`:
    what mmdet's box loss wants to know.
    """

    xyxy: list[Tensor]
    labels: Tensor
    weights: Tensor
    moves: tuple[Tensor, Tensor]


class Stages:
    """Proposal network and RoI head of a two-stage model. Boxes are lists with one (n_i, 4) tensor an image."""

    def __init__(self, model: nn.Module) -> None:
        self.rpn, self.roi, self.rules = model.rpn_head, model.roi_head, model.train_cfg
        self.proposal_rules = model.train_cfg.get("rpn_proposal", model.test_cfg.rpn)

    @staticmethod
    def refusal(model: nn.Module) -> str | None:
        """Why a model cannot be taken apart: it refines its boxes more than once, or has no background class."""
        from mmdet.models.roi_heads import StandardRoIHead

        if not isinstance(model.roi_head, StandardRoIHead):
            return f"{type(model.roi_head).__name__} is not a RoI head of one stage"
        loss = model.roi_head.bbox_head.loss_cls
        if getattr(loss, "custom_activation", False) or getattr(loss, "use_sigmoid", False):
            return "its RoI head gives no probability of background"
        return None

    @property
    def background(self) -> int:
        return self.roi.bbox_head.num_classes

    def propose(self, features: Features, targets: Sequence[Target],
                canvas: tuple[int, int]) -> tuple[Losses, list[Tensor]]:
        """The proposal network's losses, and its proposals as in training, without gradients."""
        objects = [Target(target.xyxy, torch.zeros_like(target.labels), target.ignore) for target in targets]
        losses, proposals = self.rpn.loss_and_predict(
            features, samples(metas([canvas] * len(targets), canvas), objects), proposal_cfg=self.proposal_rules)
        named = {name if "rpn" in name else f"rpn_{name}": value for name, value in losses.items()}
        return summed(named), [image.bboxes for image in proposals]

    def sample(self, features: Features, proposals: Sequence[Tensor], targets: Sequence[Target]) -> Sampled:
        """Assigns proposals to boxes or background and draws those that count, positives first in each image."""
        from mmengine.structures import InstanceData

        chosen = []
        for row, (xyxy, target) in enumerate(zip(proposals, targets, strict=True)):
            priors, truth = InstanceData(priors=xyxy), InstanceData(bboxes=target.xyxy, labels=target.labels)
            assigned = self.roi.bbox_assigner.assign(priors, truth, InstanceData(bboxes=target.ignore))
            own = [level[row:row + 1] for level in features]  # some samplers prefer hard proposals
            chosen.append(self.roi.bbox_sampler.sample(assigned, priors, truth, feats=own))
        labels, weights, *moves = self.roi.bbox_head.get_targets(chosen, self.rules.rcnn)
        return Sampled([image.priors for image in chosen], labels, weights, tuple(moves))

    def classify(self, features: Features, boxes: Sequence[Tensor]) -> Tensor:
        """Logits (N, C + 1) of the boxes of all images; the last column is the background."""
        return self._outputs(features, boxes)[0]

    def classification_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(N,) losses of the RoI classifier, one a box."""
        return self.roi.bbox_head.loss_cls(logits, labels, reduction_override="none")

    def box_loss(self, features: Features, sampled: Sampled) -> Tensor:
        """Loss of the RoI regressor, divided by the number of sampled proposals as mmdet does."""
        deltas = self._outputs(features, sampled.xyxy)[1]
        return self.roi.bbox_head.loss(None, deltas, _rois(sampled.xyxy), sampled.labels, sampled.weights,
                                       *sampled.moves)["loss_bbox"]

    def refine(self, features: Features, boxes: Sequence[Tensor], labels: Sequence[Tensor],
               canvas: tuple[int, int]) -> list[Tensor]:
        """The boxes where the RoI head moves each for its class, clipped to the canvas."""
        head, counts = self.roi.bbox_head, [len(xyxy) for xyxy in boxes]
        if not sum(counts):
            return list(boxes)
        deltas = self._outputs(features, boxes)[1].reshape(sum(counts), -1, head.bbox_coder.encode_size)
        column = torch.cat(list(labels)) * (not head.reg_class_agnostic)
        own = deltas[torch.arange(len(deltas), device=deltas.device), column]
        return list(head.bbox_coder.decode(torch.cat(list(boxes)), own, max_shape=canvas).split(counts))

    def _outputs(self, features: Features, boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (N, C + 1) and deltas (N, 4) or (N, 4 C) of the boxes of all images."""
        outputs = self.roi._bbox_forward(features, _rois(boxes))
        return outputs["cls_score"], outputs["bbox_pred"]


def _rois(boxes: Sequence[Tensor]) -> Tensor:
    from mmdet.structures.bbox import bbox2roi

    return bbox2roi(list(boxes))
