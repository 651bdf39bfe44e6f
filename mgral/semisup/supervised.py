"""The baseline: the same steps on the labelled images alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from itertools import islice

from mgral.config import SemisupConfig
from mgral.data.dataset import Boxes, ImageId
from mgral.data.images import ImageStore
from mgral.detection.detector import Detector
from mgral.detection.optimisation import Optimiser
from mgral.detection.randomness import isolated, shuffled, stream
from mgral.detection.training import targets_of, total, training_view
from mgral.semisup.mean_teacher import follow, momentum


def supervised(start: Detector, store: ImageStore, labelled: Mapping[ImageId, Boxes], unlabelled: Sequence[ImageId],
               config: SemisupConfig, seed: int) -> Detector:
    """As `mean_teacher`, the averaging included, but the unlabelled images are left out.

    Raises:
        ValueError: no labelled images.
        TrainingError: a loss that is not finite.
    """
    student, mean = copy.deepcopy(start), copy.deepcopy(start)
    targets = targets_of(store, labelled, list(labelled), student.device)
    order = shuffled(list(labelled), 0, seed, "labelled")
    optimiser = Optimiser(student, config.steps, config.lr, config.weight_decay, config.clip_norm)
    student.train()
    for step in range(config.steps):
        batch = list(islice(order, config.labelled_per_step))
        with isolated(student.device, seed, "step", step):
            seen, truth = training_view(store, targets, batch, student.device, stream(seed, "view", step))
            optimiser.step(step, total(student.losses(seen.pixels, truth)), batch)
        follow(mean, student, momentum(step, config.ema_momentum))
    return mean.eval()
