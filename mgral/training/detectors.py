"""A study's detectors on disk: each is trained once, whoever asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mgral.config import DetectorConfig, SemisupConfig, TrainingConfig
from mgral.data.dataset import Boxes, ImageId
from mgral.data.images import ImageStore
from mgral.detection import (
    ALONE,
    BATCH,
    Detector,
    Evaluation,
    World,
    evaluate,
    inspect,
    load_checkpoint,
    parts,
)
from mgral.pool.inspection import Inspection
from mgral.progress import current
from mgral.randomness import derived_seed
from mgral.training.from_scratch import SUPERVISED, TrainingSet, train_cycle_detector
from mgral.training.loop import Step

PART = 128 * BATCH
"""Images inspected before what was seen is written and forgotten."""


@dataclass(frozen=True, eq=False)
class Detectors:
    """How a study trains its detectors, by `method`, and the folder that holds them under their fingerprints."""

    detector: DetectorConfig
    training: TrainingConfig
    semisup: SemisupConfig
    method: str
    classes: tuple[str, ...]
    store: ImageStore
    device: str
    seed: int
    folder: Path

    def path(self, fingerprint: str) -> Path:
        return self.folder / f"{fingerprint[:32]}.pth"

    def open(self, fingerprint: str) -> Detector:
        """A trained detector, in eval mode."""
        return load_checkpoint(self.path(fingerprint), self.device)

    def train(self, fingerprint: str, boxes: Mapping[ImageId, Boxes], others: Sequence[ImageId] = (), title: str = "",
              world: World = ALONE, device: str | None = None) -> Path:
        """The checkpoint of that fingerprint; trained, from where an earlier call was interrupted, if it is missing.

        `others` as in `training_set`.

        Raises:
            TrainingError: a loss that is not finite.
        """
        path = self.path(fingerprint)
        if path.exists():
            current.get().skip("train", self.training.steps)
            return path
        data = self.training_set(boxes, others, device=device)
        with current.get().phase(f"{title}training the detector", "train", self.training.steps) as advance:
            for _ in self.steps(data, path, world):
                advance(1)
        return path

    def training_set(self, boxes: Mapping[ImageId, Boxes], others: Sequence[ImageId] = (), repeat: int = 0,
                     device: str | None = None) -> TrainingSet:
        """What a cycle's detector learns from: labelled images and, by a semi-supervised method, those of `others` that
        are not labelled; without any the training is supervised.

        A study's own training is repeat 0; each further one has other first weights and draws.
        """
        unlabelled = () if self.method == SUPERVISED else tuple(sorted({*others} - boxes.keys()))
        weights = derived_seed(self.seed, "weights", repeat) if repeat else self.seed
        return TrainingSet(self.detector, self.classes, self.store, dict(sorted(boxes.items())), unlabelled, weights,
                           training_seed(self.seed, len(boxes), repeat), device or self.device)

    def steps(self, data: TrainingSet, path: Path, world: World = ALONE) -> Iterator[Step]:
        """Trains a detector as the study trains those of its cycles, a `Step` each; `path` holds it then."""
        method = self.method if data.unlabelled else SUPERVISED
        return train_cycle_detector(data, self.training, self.semisup, method, path, world)


def training_seed(seed: int, labelled: int, repeat: int = 0) -> int:
    """Of a training in the study of that seed. It is told apart by how many images are labelled, so that the same
    pictures in another folder train the same detector."""
    return derived_seed(seed, "detector", labelled, *([repeat] if repeat else []))


def inspected(detector: Detector, store: ImageStore, ids: Sequence[ImageId], title: str,
              kind: str) -> Iterator[Inspection]:
    """What the detector sees in the images, part by part, so that memory does not grow with the pool."""
    with current.get().phase(title, kind, len(ids)) as advance:
        for part in parts(ids, PART):
            yield inspect(detector, store, part)
            advance(len(part))


def tested(detector: Detector, store: ImageStore, truth: Mapping[ImageId, Boxes],
           classes: Sequence[str]) -> Evaluation:
    """What the detector reaches on the test split."""
    inspections = inspected(detector, store, tuple(truth), "measuring on the test split", "test")
    by_image = {image_id: detections for part in inspections
                for image_id, detections in zip(part.ids, part.detections, strict=True)}
    return evaluate(by_image, truth, classes)
