"""What the experiments of a cycle start from and what they learn from (`table.source`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mgral.config import SemisupConfig, TableConfig
from mgral.data.dataset import Boxes, ImageId, labels_hash
from mgral.experiments.anew import AnewSetup
from mgral.experiments.processes import ExperimentSetup
from mgral.experiments.runner import ExperimentRunner, Provenance
from mgral.experiments.store import Table
from mgral.files import canonical_json
from mgral.fingerprint import fingerprint
from mgral.pool.inspection import Inspection
from mgral.randomness import derived_seed
from mgral.training.detectors import Detectors
from mgral.training.from_scratch import SUPERVISED

PseudoLabels = Callable[[Sequence[ImageId]], Mapping[ImageId, Boxes]]
"""Gives images that nobody labelled the boxes that stand for their true ones."""


@dataclass(frozen=True, eq=False)
class FineTuning:
    """Experiments that start from the detector `start`, are told the boxes of `known`, and of images in `given` when
    these are in the batch, and train as `config` says."""

    name: str
    start: str
    known: Mapping[ImageId, Boxes]
    config: SemisupConfig
    given: Mapping[ImageId, Boxes] = field(default_factory=dict)

    def setup(self, detectors: Detectors, measured_on: Mapping[ImageId, Boxes], measurements: int) -> ExperimentSetup:
        return ExperimentSetup(detectors.path(self.start), detectors.device, detectors.store, self.known, measured_on,
                               self.config, measurements, self.given)

    def deciding(self, detectors: Detectors, measurements: int) -> list[object]:
        """What decides what an experiment yields, besides its batch and seed."""
        return [self.start, self.config.used(), labels_hash(self.given), measurements]


@dataclass(frozen=True, eq=False)
class Anew:
    """Experiments that train the study's next detector on the boxes of `known` and those that `labels` holds of the
    batch; a semi-supervised training looks at the images of `others` besides. Each is measured once, at its end."""

    name: str
    known: Mapping[ImageId, Boxes]
    labels: Mapping[ImageId, Boxes]
    others: Sequence[ImageId]

    def setup(self, detectors: Detectors, measured_on: Mapping[ImageId, Boxes], _measurements: int) -> AnewSetup:
        return AnewSetup(detectors, self.known, self.labels, self.others, measured_on)

    def deciding(self, detectors: Detectors, _measurements: int) -> list[object]:
        """What decides what an experiment yields, besides its batch and seed."""
        trained = [detectors.detector.model_dump(mode="json"), detectors.training.model_dump(mode="json")]
        if detectors.method != SUPERVISED:
            trained += [detectors.method, detectors.semisup.used(), sorted(self.others)]
        return [*trained, labels_hash(self.known), labels_hash(self.labels)]


Source = FineTuning | Anew


def semisupervised(detector: str, boxes: Mapping[ImageId, Boxes], config: SemisupConfig) -> FineTuning:
    """The cycle's detector goes on with the batch as unlabelled images (MGRAL, section III-D)."""
    return FineTuning("semisupervised", detector, boxes, config)


def student(detectors: Detectors, detector: str, boxes: Mapping[ImageId, Boxes], config: SemisupConfig,
            labels: Mapping[ImageId, Boxes]) -> FineTuning:
    """A detector of half of the labels learns the batch with the pseudo `labels` of its images.

    The half is drawn at random, and its detector is trained here where it is missing.
    """
    rng = np.random.default_rng(derived_seed(detectors.seed, "part", len(boxes)))
    drawn = tuple(sorted(str(image_id) for image_id in rng.permutation(sorted(boxes))[:-(-len(boxes) // 2)]))
    half = {image_id: boxes[image_id] for image_id in drawn}
    name = fingerprint("detector", "half", detector, drawn)
    detectors.train(name, half, title="half of the labels: ")
    return FineTuning("student", name, half, supervised(config), labels)


def anew(boxes: Mapping[ImageId, Boxes], labels: Mapping[ImageId, Boxes], others: Sequence[ImageId]) -> Anew:
    """The next cycle's detector, with the pseudo `labels` of the batch in place of those that people would draw."""
    return Anew("anew", boxes, labels, others)


def truth(boxes: Mapping[ImageId, Boxes], labels: Mapping[ImageId, Boxes], others: Sequence[ImageId]) -> Anew:
    """The next cycle's detector, with the batch's true `labels`: what a simulated study may check itself by."""
    return Anew("truth", boxes, labels, others)


def supervised(config: SemisupConfig) -> SemisupConfig:
    """The same steps, all of their images labelled."""
    return config.model_copy(update={
        "method": SUPERVISED, "labelled_per_step": config.labelled_per_step + config.unlabelled_per_step})


def sure(inspection: Inspection, score: float) -> PseudoLabels:
    """What the cycle's detector sees in an image with at least this score."""
    def labels(ids: Sequence[ImageId]) -> dict[ImageId, Boxes]:
        seen = {image_id: inspection.detections[inspection.row[image_id]].above(score) for image_id in ids}
        return {image_id: Boxes.of(detections.xyxy, detections.labels) for image_id, detections in seen.items()}

    return labels


def open_runner(source: Source, table: Table, detectors: Detectors, config: TableConfig, splits: str,
                measured_on: Mapping[ImageId, Boxes], provenance: Provenance, checkpoints: Path) -> ExperimentRunner:
    """What runs experiments of this source and measures them on these images and no others."""
    scope = fingerprint("scope", source.name, splits, canonical_json(source.deciding(detectors, config.measurements)),
                        provenance.seed)
    setup = source.setup(detectors, measured_on, config.measurements)
    return ExperimentRunner(table, setup, scope, provenance, detectors.classes, checkpoints, config.at_once)
