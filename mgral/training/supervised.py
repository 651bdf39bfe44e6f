"""Supervised training: of a cycle's detector, and the baseline of the semi-supervised methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

from torch import Tensor, nn

from mgral.config import TrainingConfig
from mgral.data.augment import WHOLE
from mgral.data.dataset import Boxes, ImageId
from mgral.data.images import ImageStore
from mgral.detection import ALONE, Detector, Losses, Maps, Target, World
from mgral.training.inputs import given_view, targets_of
from mgral.training.loop import Drawn, Training
from mgral.training.method import Draw, Method

EVERY = 100
"""Steps between two checkpoints of a cycle's training."""


@final
class Supervised(Method):
    """The labelled images alone.

    With a teacher it yields the running mean of the student, as the other methods do, so that averaging alone explains
    no difference; without one, the student.
    """

    summary = "labelled images only, the baseline"
    unlabelled = False

    def __init__(self, student, teacher, store, truth, config=None, world: World = ALONE, share: slice = WHOLE) -> None:
        super().__init__(student, teacher, store, truth, config)
        self._losses, self._share = shared_losses(student, world), share

    def losses(self, draw: Draw) -> Losses:
        labelled, truth = (self.sure(draw, self._share) if self.store.views is None else
                           given_view(self.student, self.store, self.truth, draw.labelled, draw.generator, self._share))
        return self._losses(labelled.pixels, truth)

    def after(self, step):
        if self.teacher:
            super().after(step)

    @property
    def result(self):
        return self.teacher or self.student


def supervised_training(detector: Detector, store: ImageStore, boxes: Mapping[ImageId, Boxes], ids: Sequence[ImageId],
                        config: TrainingConfig, seed: int, checkpoint: Path | None = None, world: World = ALONE,
                        every: int = EVERY) -> Training:
    """Trains the detector in place on the images `ids`, each pass over them in another order.

    In a `world` of several processes each works on its share of every batch: with a detector whose norms do not learn
    statistics and whose head is `AnchorHead`, the losses are those of one process to the last digits; otherwise each
    process norms its own share, as is usual. All are told the loss of the whole batch.

    Raises:
        ValueError: an image without boxes (an image with nothing in it has empty `Boxes`).
        StateError: the checkpoint belongs to another training, or is damaged; or processes of other images or settings.
        ConfigError: a batch that the processes cannot share evenly.
    """
    store = store if store.views == config.views else store.with_views(config.views)
    truth = targets_of(store, boxes, ids, detector.device)
    method = Supervised(detector, None, store, truth, world=world, share=world.share(config.batch_size))
    return Training(method, Drawn("order", tuple(ids), config.batch_size), Drawn("unlabelled"), config.model_dump(),
                    seed, every, checkpoint, world=world)


def shared_losses(detector: Detector, world: World) -> nn.Module:
    """A detector's losses, whose gradients are averaged over all processes while they are computed.

    Batch norm uses the statistics of the whole batch on GPUs; elsewhere, where torch has no such operator, those of
    the process's share.
    """
    if world.size == 1:
        return _Losses(detector)
    on_gpu = detector.device.type == "cuda"
    if on_gpu:
        detector.model = nn.SyncBatchNorm.convert_sync_batchnorm(detector.model)
    return nn.parallel.DistributedDataParallel(_Losses(detector), device_ids=[detector.device] if on_gpu else None)


class _Losses(nn.Module):
    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, pixels: Tensor | Maps, targets: Sequence[Target]) -> Mapping[str, Tensor]:
        return self.detector.losses(pixels, targets)
