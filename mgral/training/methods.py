"""Every method by name, and a training by any of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

from mgral.config import SemisupConfig
from mgral.data.dataset import Boxes, ImageId
from mgral.data.images import ImageStore
from mgral.detection import Detector
from mgral.errors import ConfigError
from mgral.training.inputs import targets_of
from mgral.training.isd import Isd
from mgral.training.loop import Drawn, Training
from mgral.training.mean_teacher import MeanTeacher
from mgral.training.method import Method
from mgral.training.sed import Sed
from mgral.training.soft_teacher import SoftTeacher
from mgral.training.stac import Stac
from mgral.training.supervised import Supervised

METHODS: dict[str, type[Method]] = {"supervised": Supervised, "mean_teacher": MeanTeacher, "stac": Stac,
                                    "soft_teacher": SoftTeacher, "isd": Isd, "sed": Sed}
EVERY = 500
"""Steps between two checkpoints: most of these trainings are shorter and only leave one where they pause."""


def method_training(start: Detector, store: ImageStore, labelled: Mapping[ImageId, Boxes],
                    unlabelled: Sequence[ImageId], config: SemisupConfig, seed: int, teacher: Detector | None = None,
                    checkpoint: Path | None = None, evaluated: Sequence[int] = (), until: int | None = None,
                    every: int = EVERY) -> Training:
    """A training of a copy of `start` by `config.method`; `start` stays as it is.

    `teacher` labels at first, for a staged method; a copy of `start` when not given. The rest as in `Training`.

    Raises:
        ConfigError: the method makes no sense for this detector.
        StateError: the checkpoint belongs to another training, or is damaged.
    """
    kind = METHODS[config.method]
    reason = kind.refusal(start)
    if reason:
        raise ConfigError(f"semisup.method: expected a method for this detector, got {config.method}: {reason}")
    student = copy.deepcopy(start)
    truth = targets_of(store, labelled, list(labelled), student.device)
    method = kind(student, copy.deepcopy(teacher or start), store, truth, config)
    unknown = Drawn("unlabelled", tuple(unlabelled), config.unlabelled_per_step) if kind.unlabelled else Drawn("none")
    settings = config.used() if kind.unlabelled or store.views is None else {**config.used(), "views": store.views}
    return Training(method, Drawn("labelled", tuple(labelled), config.labelled_per_step), unknown, settings, seed,
                    every, checkpoint, evaluated, until)
