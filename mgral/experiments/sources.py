"""What the experiments of a cycle start from and what they learn from (`table.source`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mgral.config import SemisupConfig, TableConfig
from mgral.data.dataset import Boxes, ImageId
from mgral.data.images import ImageStore
from mgral.experiments.processes import ExperimentSetup
from mgral.experiments.runner import ExperimentRunner, Provenance
from mgral.experiments.store import Table
from mgral.files import canonical_json
from mgral.fingerprint import fingerprint
from mgral.pool.inspection import Inspection
from mgral.randomness import derived_seed
from mgral.training.detectors import Detectors

TRUE_TIMES = 4
"""How many times as long as an experiment a training with true labels takes, so that its gain is nearly all there."""


@dataclass(frozen=True, eq=False)
class Source:
    """Experiments of one kind: they start from the detector `start`, are told the boxes of `known`, and of images in
    `given` when these are in the batch, and train as `config` says."""

    name: str
    start: str
    known: Mapping[ImageId, Boxes]
    config: SemisupConfig
    given: Mapping[ImageId, Boxes] = field(default_factory=dict)


def semisupervised(detector: str, boxes: Mapping[ImageId, Boxes], config: SemisupConfig) -> Source:
    """The cycle's detector goes on with the batch as unlabelled images (MGRAL, section III-D)."""
    return Source("semisupervised", detector, boxes, config)


def student(detectors: Detectors, detector: str, boxes: Mapping[ImageId, Boxes], config: SemisupConfig,
            inspection: Inspection, pool: Sequence[ImageId], pseudo_label: float) -> Source:
    """A detector of half of the labels learns the batch as the cycle's detector labels it.

    What that detector is sure of, from a score of `pseudo_label` on, counts as true. The half is drawn at random, and
    its detector is trained here where it is missing.
    """
    rng = np.random.default_rng(derived_seed(detectors.seed, "part", len(boxes)))
    drawn = tuple(sorted(str(image_id) for image_id in rng.permutation(sorted(boxes))[:-(-len(boxes) // 2)]))
    half = {image_id: boxes[image_id] for image_id in drawn}
    name = fingerprint("detector", "half", detector, drawn)
    detectors.train(name, half, title="half of the labels: ")
    return Source("student", name, half, supervised(config), _pseudo_labels(inspection, pool, pseudo_label))


def truth(detector: str, boxes: Mapping[ImageId, Boxes], config: SemisupConfig,
          pool: Mapping[ImageId, Boxes]) -> Source:
    """The cycle's detector learns the batch with its true labels: what a simulated study may check itself by."""
    return Source("truth", detector, boxes, true_training(config), pool)


def true_training(config: SemisupConfig) -> SemisupConfig:
    """Longer than an experiment, and supervised."""
    return supervised(config.model_copy(update={"steps": TRUE_TIMES * config.steps}))


def supervised(config: SemisupConfig) -> SemisupConfig:
    """The same steps, all of their images labelled."""
    return config.model_copy(update={
        "method": "supervised", "labelled_per_step": config.labelled_per_step + config.unlabelled_per_step})


def open_runner(source: Source, table: Table, detectors: Detectors, config: TableConfig, splits: str,
                measured_on: Mapping[ImageId, Boxes], provenance: Provenance, store: ImageStore,
                checkpoints: Path) -> ExperimentRunner:
    """What runs experiments of this source and measures them on these images and no others."""
    setup = ExperimentSetup(detectors.path(source.start), detectors.device, store, source.known, measured_on,
                            source.config, config.measurements, source.given)
    measured = [config.measurements, config.pseudo_label if source.name == "student" else None]
    scope = fingerprint("scope", source.name, splits, canonical_json(source.config.used()), canonical_json(measured),
                        provenance.seed, source.start)
    return ExperimentRunner(table, setup, scope, provenance, detectors.classes, checkpoints, config.at_once)


def _pseudo_labels(inspection: Inspection, pool: Sequence[ImageId], score: float) -> dict[ImageId, Boxes]:
    sure = {image_id: inspection.detections[inspection.row[image_id]].above(score) for image_id in pool}
    return {image_id: Boxes.of(detections.xyxy, detections.labels) for image_id, detections in sure.items()}
