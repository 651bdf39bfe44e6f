"""Experiments that train a detector anew: what the study's next one is like with a batch among its labelled images."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mgral.data.dataset import Boxes, ImageId
from mgral.detection import load_checkpoint
from mgral.experiments.experiment import Outcome, check_apart, measure
from mgral.experiments.processes import Planned
from mgral.training.detectors import Detectors, training_seed
from mgral.training.from_scratch import forget


@dataclass(frozen=True, eq=False)
class AnewSetup:
    """Trains from the first weights, exactly as the study trains its next detector, on `labelled` and a batch.

    `labels` holds the boxes that the images of a batch are given, true or pseudo, `others` the images that a
    semi-supervised training looks at besides; the result is measured on the images of `truth`. A true batch's first
    repeat is the study's own next detector, to the digit. Travels to other processes as it is.
    """

    detectors: Detectors
    labelled: Mapping[ImageId, Boxes]
    labels: Mapping[ImageId, Boxes]
    others: Sequence[ImageId]
    truth: Mapping[ImageId, Boxes]

    @property
    def device(self) -> str:
        return self.detectors.device

    def seed(self, study: int, batch: Sequence[ImageId], repeat: int) -> int:
        """The one that the study of that seed will train on as many images with; alike for all batches of a size."""
        return training_seed(study, len(self.labelled) + len(batch), repeat)

    def run(self, planned: Planned) -> Outcome:
        """Trains and measures once, at the end; an interrupted training goes on from `planned.checkpoint`, which is
        needed and is gone afterwards.

        Raises:
            ValueError: no boxes for an image of the batch, or images measured on among those trained on.
            TrainingError: a loss that is not finite.
        """
        unknown = [image_id for image_id in planned.ids if image_id not in self.labels]
        if unknown:
            raise ValueError(f"expected boxes for every image of the batch, got none for {', '.join(unknown[:5])}")
        began, path = time.perf_counter(), planned.checkpoint
        boxes = {**self.labelled, **{image_id: self.labels[image_id] for image_id in planned.ids}}
        data = self.detectors.training_set(boxes, self.others, planned.repeat)
        check_apart(self.truth, {*data.labelled, *data.unlabelled})
        for _ in self.detectors.steps(data, path):
            pass
        reached = measure(load_checkpoint(path, self.device), self.detectors.store, self.truth,
                          self.detectors.training.steps)
        forget(path)
        return Outcome((reached,), time.perf_counter() - began)
