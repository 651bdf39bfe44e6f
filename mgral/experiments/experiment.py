"""One experiment: what is a batch of unlabelled images worth? (MGRAL, section III-D)"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from mgral.config import SemisupConfig
from mgral.data.dataset import Boxes, ImageId
from mgral.data.images import ImageStore
from mgral.detection import BATCH, Detector, Target, batches, evaluate, evaluating, originals, soft_ap
from mgral.pool.inspection import Detections
from mgral.training.inputs import targets_of, total
from mgral.training.methods import method_training


@dataclass(frozen=True, slots=True)
class Measured:
    """What a detector reaches on the reward images after `step` steps.

    `figures` by name: `map` and `ap50` as in `Evaluation`; `soft_ap` as the function; `loss`, the detector's training
    loss; `balanced_loss`, each truth box's loss, averaged over the boxes of a class, then over the classes that have
    boxes. The loss of a box is the mean, over the anchors assigned to it, of classification loss (summed over classes)
    plus box loss, or for a detector without fixed anchors -log of the best score × IoU of any candidate of its class.
    `per_class` is the AP of each class, None for one without a box.
    """

    step: int
    figures: Mapping[str, float]
    per_class: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an experiment measured on the reward images, on its way and at its end; `seconds` of wall time."""

    curve: tuple[Measured, ...]
    seconds: float

    @property
    def end(self) -> Measured:
        return self.curve[-1]


def run_experiment(start: Detector, store: ImageStore, labelled: Mapping[ImageId, Boxes], batch: Sequence[ImageId],
                   reward_truth: Mapping[ImageId, Boxes], config: SemisupConfig, seed: int,
                   checkpoint: Path | None = None, measurements: int = 1, until: int | None = None) -> Outcome:
    """Trains a copy of `start` with `batch` as the unlabelled images and measures it on the reward images.

    The truth of `batch` is never used, and no test image reaches this function. The same arguments give the same
    outcome, `seconds` apart, on one device and number of threads. `checkpoint` and `until` as in `Training`.
    `measurements` are made at equal distances, the last at the end.

    Raises:
        ValueError: no labelled images, no batch, or reward images among those trained on.
        TrainingError: a loss that is not finite.
        DataError: the reward images hold no box.
    """
    check_apart(reward_truth, {*labelled, *batch})
    began = time.perf_counter()
    at = measured_at(config.steps, measurements)
    training = method_training(start, store, labelled, batch, config, seed, None, checkpoint, at, until)
    for step in training:
        if step.step in at:
            training.evaluations.append(asdict(measure(training.result, store, reward_truth, step.step)))
    if training.finished:
        training.forget()
    curve = tuple(Measured(evaluation["step"], evaluation["figures"], tuple(evaluation["per_class"]))
                  for evaluation in training.evaluations)
    return Outcome(curve, time.perf_counter() - began)


def check_apart(measured: Iterable[ImageId], trained: Iterable[ImageId]) -> None:
    """Raises `ValueError` where an image is to be measured on that is trained on."""
    leaked = sorted({*measured} & {*trained})
    if leaked:
        raise ValueError(f"expected reward images apart from training images, got {', '.join(leaked[:5])} in both")


def measured_at(steps: int, measurements: int) -> tuple[int, ...]:
    """After which of `steps` steps so many measurements are made, as evenly as whole steps allow."""
    count = min(steps, measurements)
    return tuple(round(steps * number / count) for number in range(1, count + 1))


def measure(detector: Detector, store: ImageStore, truth: Mapping[ImageId, Boxes], step: int = 0) -> Measured:
    """All figures of a detector on annotated images, in eval mode, one pass an image."""
    ids = list(truth)
    targets = targets_of(store, truth, ids, detector.device)
    detections: dict[ImageId, Detections] = {}
    losses, box_losses, assessed = 0.0, [], []
    with evaluating(detector):
        for part, pixels, contents in batches(detector, store, ids, BATCH):
            part_targets = [targets[image_id] for image_id in part]
            predictions, loss, by_box = detector.assess(pixels, contents, part_targets)
            detections |= zip(part, originals(store, part, predictions), strict=True)
            losses += float(total(loss)) * len(part) / len(ids)
            box_losses += by_box
            assessed += part_targets
    reached = evaluate(detections, truth, detector.classes)
    figures = {"map": reached.map, "ap50": reached.ap50, "soft_ap": soft_ap(detections, truth), "loss": losses,
               "balanced_loss": balanced_mean(box_losses, assessed, len(detector.classes))}
    return Measured(step, figures, reached.per_class)


def balanced_mean(losses: Sequence[Tensor], targets: Sequence[Target], classes: int) -> float:
    """Mean over classes of the mean loss of a class's boxes; boxes without a loss (NaN) do not count."""
    values, labels = torch.cat(list(losses)), torch.cat([target.labels for target in targets])
    known = ~values.isnan()
    sums = values.new_zeros(classes).index_add_(0, labels[known], values[known])
    counts = torch.bincount(labels[known], minlength=classes)
    return float((sums[counts > 0] / counts[counts > 0]).mean())
