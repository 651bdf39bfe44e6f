"""Supervised training as a generator of facts, one a step, that can be interrupted anywhere and continued exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from mgral.config import TrainingConfig
from mgral.data.augment import TRAIN, WHOLE, View, view
from mgral.data.dataset import Boxes, ImageId
from mgral.data.images import ImageStore
from mgral.detection.building import read_tensors
from mgral.detection.detector import Detector
from mgral.detection.distributed import ALONE, SharedLosses, World
from mgral.detection.optimisation import Optimiser
from mgral.detection.randomness import isolated, shuffled, stream
from mgral.detection.targets import Target, moved
from mgral.errors import StateError
from mgral.files import canonical_json, sha256, writing


@dataclass(frozen=True, slots=True)
class Step:
    """`step` counts from 1 to `steps`; `loss` is the sum of the losses before the update made with `lr`."""

    step: int
    steps: int
    loss: float
    lr: float


def train(detector: Detector, store: ImageStore, boxes: Mapping[ImageId, Boxes], ids: Sequence[ImageId],
          config: TrainingConfig, seed: int, checkpoint: Path | None = None, world: World = ALONE) -> Iterator[Step]:
    """Trains the detector in place on the images `ids`; leaves it in training mode.

    Each epoch passes over the images in another order. What a step draws depends on the seed and its number only, so
    that a call that finds `checkpoint`, written every `config.checkpoint_every` steps, goes on from there and ends
    with the same weights, bit for bit on one device and number of threads, as one never interrupted.

    In a `world` of several processes each works on its share of every batch: with a detector whose norms do not learn
    statistics and whose head is `AnchorHead`, the losses are those of one process to the last digits; otherwise each
    process norms its own share, as is usual. All are told the loss of the whole batch.

    Raises:
        ValueError: no images, or an image without boxes (an image with nothing in it has empty `Boxes`).
        TrainingError: a loss that is not finite.
        StateError: the checkpoint belongs to another run, or is damaged; or processes of other images or settings.
        ConfigError: a batch that the processes cannot share evenly.
    """
    targets = targets_of(store, boxes, ids, detector.device)
    optimiser = Optimiser(detector, config.steps, config.lr, config.weight_decay, config.clip_norm)
    run = _fingerprint(detector, ids, config, seed)
    if not world.same(run):
        raise StateError("training: expected the same images, settings and seed in every process, got others; start "
                         "them all with the same params file, data and working directory")
    share = world.share(config.batch_size)
    first = _resume(checkpoint, run, detector, optimiser) if checkpoint and checkpoint.exists() else 0
    order = shuffled(ids, first * config.batch_size, seed, "order")
    detector.train()
    losses = SharedLosses(detector, world)
    for step in range(first, config.steps):
        batch = list(islice(order, config.batch_size))
        with isolated(detector.device, seed, "step", step):
            seen, wanted = training_view(store, targets, batch, detector.device, stream(seed, "view", step), share)
            loss = total(losses(seen.pixels, wanted))
            value = world.mean(loss).item()
            lr = optimiser.step(step, loss, value, batch)
        if checkpoint and world.first and (step + 1) % config.checkpoint_every == 0:
            _save(checkpoint, run, step + 1, detector, optimiser)
        yield Step(step + 1, config.steps, value, lr)


def targets_of(store: ImageStore, boxes: Mapping[ImageId, Boxes], ids: Sequence[ImageId],
               device: torch.device) -> dict[ImageId, Target]:
    """What is to be found in each image, prepared once.

    Raises:
        ValueError: an image that is not annotated.
    """
    missing = [image_id for image_id in ids if image_id not in boxes]
    if missing:
        raise ValueError(f"expected boxes for every training image, got none for {', '.join(missing[:5])}")
    return {image_id: Target.of(boxes[image_id], store.scale(image_id), device) for image_id in ids}


def training_view(store: ImageStore, targets: Mapping[ImageId, Target], batch: Sequence[ImageId], device: torch.device,
                  generator: torch.Generator, part: slice = WHOLE) -> tuple[View, list[Target]]:
    """A random view of labelled images, or of `part` of them, and their targets in it."""
    seen = view(store.pixels(batch[part]).to(device), contents_of(store, batch), TRAIN, generator, part)
    return seen, moved([targets[image_id] for image_id in batch[part]], seen.matrices, store.canvas)


def contents_of(store: ImageStore, ids: Sequence[ImageId]) -> Tensor:
    """(B, 2) heights and widths of the images in canvas pixels."""
    return torch.tensor([store.content(image_id) for image_id in ids])


def total(losses: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def _fingerprint(detector: Detector, ids: Sequence[ImageId], config: TrainingConfig, seed: int) -> str:
    settings = config.model_dump(exclude={"checkpoint_every"})
    return sha256(canonical_json([detector.config.model_dump(), list(detector.classes), list(ids), settings, seed]))


def _save(path: Path, run: str, step: int, detector: Detector, optimiser: Optimiser) -> None:
    with writing(path) as temporary:
        torch.save({"run": run, "step": step, "detector": detector.state_dict(),
                    "optimiser": optimiser.state_dict()}, temporary)


def _resume(path: Path, run: str, detector: Detector, optimiser: Optimiser) -> int:
    saved = read_tensors(path)
    if saved.get("run") != run:
        raise StateError(f"{path}: expected a training of the same images, settings and seed, got another; "
                         "remove the file to start over")
    detector.load_state_dict(saved["detector"])
    optimiser.load_state_dict(saved["optimiser"])
    return saved["step"]
