"""The detector: any one-stage or two-stage mmdet model behind the few methods that the rest of the library calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mgral.config import DetectorConfig
from mgral.data.images import PADDING
from mgral.detection.anchors import RetinaHead, SSDHead
from mgral.detection.embedding import embed
from mgral.detection.heads import Dense, DenseHead, Features, Found, Head, Losses, ProposalHead
from mgral.detection.lite0 import Lite0
from mgral.detection.targets import Target
from mgral.errors import ConfigError

LOCATIONS = 50
"""K of `Inspection.class_scores`."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A batch as the detector sees it: what it found, `embedding` (B, 256), `class_scores` (B, K, C)."""

    found: list[Found]
    embedding: Tensor
    class_scores: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """Images as the frozen stages of a detector see them: it takes them in place of their pixels.

    `maps` (B, D, h, w) float32 each, as `Lite0.frozen` gives them; `shape` (B, 3, H, W) is that of the pixels.
    """

    maps: tuple[Tensor, ...]
    shape: tuple[int, int, int, int]

    def __len__(self) -> int:
        return self.shape[0]


@final
class Detector(nn.Module):
    """An mmdet model for given classes. Pixels are RGB (B, 3, H, W), uint8 or float, 0 to 255; boxes canvas pixels.

    Whether it trains or evaluates (batch norm, dropout) follows `train()` and `eval()` as in any module.
    """

    def __init__(self, config: DetectorConfig, classes: Sequence[str], model: nn.Module, channels: Channels) -> None:
        super().__init__()
        self.config, self.classes = config, tuple(classes)
        # A quarter faster for many small convolutions. Not for all models: on a CPU, oneDNN's backward pass
        # of a strided 1 × 1 convolution of eight channels writes where it must not (seen with torch 2.11).
        ours = config.config is None and config.preset in ("tiny", "lite0")
        self.layout = torch.channels_last if ours else torch.contiguous_format
        self.model = model.to(memory_format=self.layout)
        for module in model.modules():
            if isinstance(module, nn.GroupNorm):
                module.register_forward_pre_hook(_contiguous)
        self.channels = channels
        self._head = head_of(model)  # not a module: its weights are the model's
        self._least = least_side(model)
        if config.image_size < self._least:
            raise ConfigError(f"detector.image_size: expected at least {self._least} for "
                              f"{config.config or config.preset}, got {config.image_size}; raise it")

    @property
    def head(self) -> Head:
        """What stands on the neck, for methods that look at single places."""
        return self._head

    @property
    def device(self) -> torch.device:
        return self.channels.mean.device

    def losses(self, pixels: Tensor | Maps, targets: Sequence[Target]) -> Losses:
        """Named scalar losses of the batch; their sum is what training lowers.

        Raises:
            ValueError: not a target for each image.
        """
        if len(pixels) != len(targets):
            raise ValueError(f"expected a target an image, got {len(targets)} for {len(pixels)} images")
        return self._head.losses(self.features(pixels), targets, self._canvas(pixels))

    def predict(self, pixels: Tensor | Maps, contents: Sequence[tuple[int, int]]) -> list[Found]:
        """Boxes, scores and labels of each image, best first; `contents` are (height, width) without the padding."""
        return self._head.read(self.features(pixels), contents, self._canvas(pixels), 1)[0]

    def inspect(self, pixels: Tensor | Maps, contents: Sequence[tuple[int, int]],
                locations: int = LOCATIONS) -> Reading:
        """Detections, image embedding and surest class scores from one pass."""
        features, canvas = self.features(pixels), self._canvas(pixels)
        detections, class_scores = self._head.read(features, contents, canvas, locations)
        return Reading(detections, embed(features, contents, canvas), class_scores)

    def assess(self, pixels: Tensor | Maps, contents: Sequence[tuple[int, int]],
               targets: Sequence[Target]) -> tuple[list[Found], Losses, list[Tensor]]:
        """Detections, losses, and the loss of each truth box (NaN where it has none), from one pass of the network."""
        features, canvas = self.features(pixels), self._canvas(pixels)
        return (self._head.read(features, contents, canvas, 1)[0], self._head.losses(features, targets, canvas),
                self._head.object_losses(features, targets, canvas))

    def dense(self, pixels: Tensor) -> Dense:
        """Logits and box deltas of every place, with gradients, for methods that compare two views place by place.

        Raises:
            ConfigError: not a one-stage detector with anchors.
        """
        return self._head.dense(self.features(pixels))

    def decode(self, anchors: Tensor, deltas: Tensor) -> Tensor:
        """Boxes (n, 4), xyxy canvas pixels, from `anchors` (n, 4) and the `deltas` (n, 4) that `dense` gave there."""
        return self._head.decode(anchors, deltas)

    @property
    def prefix(self) -> Lite0 | None:
        """The backbone, where its first stages do not learn and what they make of an image may be kept."""
        backbone = getattr(self.model, "backbone", None)
        return backbone if isinstance(backbone, Lite0) and backbone.frozen_stages >= 0 else None

    def frozen(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """What the `prefix` makes of an image, (1, D, h, w) float32 each."""
        pixels = self.channels(pixels).contiguous(memory_format=self.layout)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            return self.prefix.frozen(pixels)

    def features(self, pixels: Tensor | Maps) -> Features:
        """Maps of the neck, (B, D, h, w) float32 each, finest first."""
        if isinstance(pixels, Maps):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
                levels = self.model.neck(self.model.backbone.learning([each.to(self.device) for each in pixels.maps]))
            return [level.float() for level in levels]
        (height, width), canvas = pixels.shape[-2:], self._canvas(pixels)
        if canvas != (height, width):
            pixels = F.pad(pixels, (0, canvas[1] - width, 0, canvas[0] - height), value=PADDING)
        pixels = self.channels(pixels).contiguous(memory_format=self.layout)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            levels = self.model.extract_feat(pixels)
        return [level.float() for level in levels]

    def _canvas(self, pixels: Tensor | Maps) -> tuple[int, int]:
        """Height and width that the network sees: those of the pixels, or the least that its neck can take."""
        return max(pixels.shape[-2], self._least), max(pixels.shape[-1], self._least)


class Channels(nn.Module):
    """Normalises RGB pixels as the model's config says, its own channel order included."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.reversed = not settings.get("bgr_to_rgb", False)
        for name, default in (("mean", [0.0] * 3), ("std", [1.0] * 3)):
            value = torch.tensor(settings.get(name) or default, dtype=torch.float32).reshape(-1, 1, 1)
            self.register_buffer(name, value, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        pixels = pixels.to(self.mean.device).float()
        return ((pixels.flip(1) if self.reversed else pixels) - self.mean) / self.std


def _contiguous(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """Group norm of channels-last maps takes torch twenty times as long on a CPU."""
    return inputs[0].contiguous(),


def least_side(model: nn.Module) -> int:
    """Pixels a side on which every level of the neck still has a cell: SSD's last convolutions have no padding."""
    from mmdet.models.necks import SSDNeck

    if not isinstance(getattr(model, "neck", None), SSDNeck):
        return 1
    side, layers = 1, model.neck.extra_layers
    for conv in reversed([layer for layer in layers.modules() if isinstance(layer, nn.Conv2d)]):
        side = (side - 1) * conv.stride[0] + conv.kernel_size[0] - 2 * conv.padding[0]
    strides = model.bbox_head.prior_generator.strides
    return (side - 1) * strides[-len(layers) - 1][0] + 1  # the backbone rounds up


def head_of(model: nn.Module) -> Head:
    """The fastest head that gives this model's own numbers.

    Raises:
        ConfigError: neither a one-stage nor a two-stage detector, or one of several heads.
    """
    if hasattr(model, "roi_head") and hasattr(model, "rpn_head") and hasattr(model.roi_head, "predict_bbox"):
        return ProposalHead(model)
    if hasattr(model, "bbox_head") and hasattr(model.bbox_head, "predict_by_feat"):
        fast = [kind for kind in (RetinaHead, SSDHead) if kind.fits(model.bbox_head)]
        return (*fast, DenseHead)[0](model.bbox_head)
    raise ConfigError(f"expected a one-stage or two-stage detector, got {type(model).__name__}")
