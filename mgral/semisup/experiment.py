"""One experiment: what is a batch of unlabelled images worth? (MGRAL, section III-D)"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mgral.config import SemisupConfig
from mgral.data.dataset import Boxes, ImageId
from mgral.data.images import ImageStore
from mgral.detection.detector import Detector
from mgral.detection.evaluation import evaluate
from mgral.detection.inspecting import BATCH, batches, evaluating, originals
from mgral.detection.targets import Target
from mgral.detection.training import targets_of, total
from mgral.inspection import Detections
from mgral.semisup.learning import learn


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an experiment measured on the reward images.

    `map`, `ap50`, `per_class` as in `Evaluation`. `loss`: the detector's training loss. `balanced_loss`: each truth
    box's loss, averaged over the boxes of a class, then over the classes that have boxes; the loss of a box is the
    mean, over the anchors assigned to it, of classification loss (summed over classes) plus box loss, or for a
    detector without fixed anchors -log of the best score × IoU of any candidate of its class. `seconds` of wall time.
    """

    map: float
    ap50: float
    per_class: tuple[float | None, ...]
    loss: float
    balanced_loss: float
    seconds: float
    steps: int


def run_experiment(start: Detector, store: ImageStore, labelled: Mapping[ImageId, Boxes], batch: Sequence[ImageId],
                   reward_truth: Mapping[ImageId, Boxes], config: SemisupConfig, seed: int,
                   checkpoint: Path | None = None) -> Outcome:
    """Trains a copy of `start` with `batch` as the unlabelled images and measures it on the reward images.

    The truth of `batch` is never used, and no test image reaches this function. The same arguments give the same
    outcome, `seconds` apart, on one device and number of threads. `checkpoint` as in `learn`.

    Raises:
        ValueError: no labelled images, no batch, or reward images among those trained on.
        TrainingError: a loss that is not finite.
        DataError: the reward images hold no box.
    """
    leaked = sorted(set(reward_truth) & ({*labelled} | {*batch}))
    if leaked:
        raise ValueError(f"expected reward images apart from training images, got {', '.join(leaked[:5])} in both")
    began = time.perf_counter()
    trained = learn(start, store, labelled, batch, config, seed, checkpoint=checkpoint)
    detections, loss, balanced = measure(trained, store, reward_truth)
    result = evaluate(detections, reward_truth, trained.classes)
    return Outcome(result.map, result.ap50, result.per_class, loss, balanced, time.perf_counter() - began,
                   config.steps)


def measure(detector: Detector, store: ImageStore,
            truth: Mapping[ImageId, Boxes]) -> tuple[dict[ImageId, Detections], float, float]:
    """Detections, loss and balanced loss (see `Outcome`) on annotated images, in eval mode, one pass an image."""
    ids = list(truth)
    targets = targets_of(store, truth, ids, detector.device)
    detections: dict[ImageId, Detections] = {}
    losses, boxes, seen = 0.0, [], []
    with evaluating(detector):
        for part, pixels, contents in batches(store, ids, BATCH):
            wanted = [targets[image_id] for image_id in part]
            found, loss, by_box = detector.assess(pixels, contents, wanted)
            detections |= zip(part, originals(store, part, found), strict=True)
            losses += float(total(loss)) * len(part) / len(ids)
            boxes += by_box
            seen += wanted
    return detections, losses, balanced_mean(boxes, seen, len(detector.classes))


def balanced_mean(losses: Sequence[Tensor], targets: Sequence[Target], classes: int) -> float:
    """Mean over classes of the mean loss of a class's boxes; boxes without a loss (NaN) do not count."""
    values, labels = torch.cat(list(losses)), torch.cat([one.labels for one in targets])
    known = ~values.isnan()
    sums = values.new_zeros(classes).index_add_(0, labels[known], values[known])
    counts = torch.bincount(labels[known], minlength=classes)
    return float((sums[counts > 0] / counts[counts > 0]).mean())
