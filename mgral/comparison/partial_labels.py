"""Semi-supervised methods against each other on part of the labels (Soft Teacher, section 4.1 and Table 2)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mgral.config import DetectorConfig, SemisupConfig, SemisupStudyConfig
from mgral.data.dataset import Boxes, ImageId
from mgral.data.images import ImageStore
from mgral.data.splits import draw_folds
from mgral.detection import build_detector, detect, evaluate, load_checkpoint
from mgral.errors import ConfigError, DataError, StateError
from mgral.files import canonical_json, read_json, sha256, write_json
from mgral.fingerprint import fingerprint
from mgral.randomness import derived_seed
from mgral.training.from_scratch import SUPERVISED, TrainingSet, train_by_method
from mgral.training.methods import METHODS


@dataclass(frozen=True, slots=True)
class Trial:
    """One training: a method, the labelled images of one fold, and the rest without their labels."""

    method: str
    fraction: float
    fold: int
    labelled: tuple[ImageId, ...]

    def __str__(self) -> str:
        return f"{self.method} {100 * self.fraction:g} % fold {self.fold}"


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What a trial reached on the test images (fractions); `seconds` of wall time."""

    map: float
    ap50: float
    per_class: tuple[float | None, ...]
    seconds: float


@dataclass(frozen=True, eq=False)
class PartialLabelStudy:
    """All that the trials have in common; travels to other processes. `truth` of every annotated image."""

    detector: DetectorConfig
    semisup: SemisupConfig
    classes: tuple[str, ...]
    store: ImageStore
    truth: Mapping[ImageId, Boxes]
    train: tuple[ImageId, ...]
    test: tuple[ImageId, ...]
    device: str
    seed: int
    cache: Path
    source: str
    """Hash of the data set."""

    def run(self, trial: Trial) -> TrialResult:
        """Trains from the detector's first weights and measures, or reads what an earlier run measured.

        Only the labels of `trial.labelled` are seen in training. The teacher of a staged method is the detector that
        the baseline made of the same fold; it is trained first where it is missing, and kept.

        Raises:
            TrainingError: a loss that is not finite.
        """
        receipt, path = self.receipt(trial), self._checkpoint(trial)
        if not receipt.exists():
            begun = time.perf_counter()
            for _ in train_by_method(self._training_set(trial), self._settings(trial.method), path,
                                     self._checkpoint(replace(trial, method=SUPERVISED))):
                pass
            evaluation = evaluate(detect(load_checkpoint(path, self.device), self.store, self.test),
                                  {image_id: self.truth[image_id] for image_id in self.test}, self.classes)
            write_json(receipt, asdict(TrialResult(evaluation.map, evaluation.ap50, evaluation.per_class,
                                                   time.perf_counter() - begun)))
        if trial.method != SUPERVISED:
            path.unlink(missing_ok=True)
        return self.result(trial)

    def receipt(self, trial: Trial) -> Path:
        """Where the result of a trial is kept, under its fingerprint."""
        return self.cache / f"{self.fingerprint(trial)[:32]}.json"

    def fingerprint(self, trial: Trial) -> str:
        settings = self._settings(trial.method)
        return fingerprint("trial", self.source, self.train, self.test, self.detector, canonical_json(settings.used()),
                           self.seed, canonical_json(trial.fraction), trial.fold, trial.labelled)

    def result(self, trial: Trial) -> TrialResult:
        values = read_json(self.receipt(trial))
        return TrialResult(**{**values, "per_class": tuple(values["per_class"])})

    def trials(self, rules: SemisupStudyConfig, splits: Path) -> list[Trial]:
        """All trials, the baseline's first. Writes a split file for each fraction and fold into the folder `splits`.

        Raises:
            ConfigError: a method that refuses the detector, or a fraction that leaves no image unlabelled.
            DataError: no annotated training images.
            StateError: the split files were drawn from other data or with another seed.
        """
        self._check(rules)
        annotated = tuple(image_id for image_id in self.train if image_id in self.truth)
        if not annotated:
            raise DataError("data.pool: expected annotated training images, got none")
        trials = []
        for fraction in rules.fractions:
            for fold, labelled in enumerate(draw_folds(annotated, fraction, rules.folds, self.seed), start=1):
                if len(labelled) == len(self.train) and any(METHODS[method].unlabelled for method in rules.methods):
                    raise ConfigError(f"semisup_study.fractions: expected some training images to stay unlabelled, got "
                                      f"{fraction:g}, which labels all {len(self.train)}; lower it")
                _keep_split(splits / f"{100 * fraction:g}-{fold}.json", labelled, self.source, self.seed)
                trials += [Trial(method, fraction, fold, labelled) for method in rules.methods]
        return sorted(trials, key=lambda trial: (trial.method != SUPERVISED, trial.fraction, trial.fold))

    def _check(self, rules: SemisupStudyConfig) -> None:
        untrained = build_detector(self.detector, self.classes, self.seed)
        refused = [f"semisup_study.methods: expected methods for this detector, got {method}: {reason}"
                   for method in rules.methods if (reason := METHODS[method].refusal(untrained))]
        if refused:
            raise ConfigError(*refused)

    def _checkpoint(self, trial: Trial) -> Path:
        return self.receipt(trial).with_suffix(".pth")

    def _training_set(self, trial: Trial) -> TrainingSet:
        labelled = {image_id: self.truth[image_id] for image_id in trial.labelled}
        unlabelled = tuple(image_id for image_id in self.train if image_id not in labelled)
        seed = derived_seed(self.seed, "trial", canonical_json(trial.fraction), trial.fold)
        return TrainingSet(self.detector, self.classes, self.store, labelled, unlabelled, seed, seed, self.device)

    def _settings(self, method: str) -> SemisupConfig:
        return self.semisup.model_copy(update={"method": method})


def _keep_split(path: Path, labelled: tuple[ImageId, ...], source: str, seed: int) -> None:
    content = {"dataset": source, "seed": seed, "labelled": list(labelled), "sha256": sha256(source, *labelled)}
    if not path.exists():
        write_json(path, content)
    elif read_json(path) != content:
        raise StateError(f"{path}: expected the images drawn from this data set with seed {seed}, got others; give the "
                         f"study another study.name, or delete {path.parent}")
