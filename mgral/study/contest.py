"""Semi-supervised methods against each other on part of the labels (Soft Teacher, section 4.1 and Table 2)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mgral.config import DetectorConfig, SemisupConfig
from mgral.data.dataset import Boxes, Dataset, ImageId
from mgral.data.images import ImageStore
from mgral.data.splits import draw_folds, draw_test
from mgral.detection.building import build_detector, load_checkpoint, save_checkpoint
from mgral.detection.detector import Detector
from mgral.detection.evaluation import evaluate
from mgral.detection.inspecting import detect
from mgral.errors import ConfigError, DataError, StateError
from mgral.files import canonical_json, read_json, sha256, write_json
from mgral.semisup.learning import METHODS, learn
from mgral.study.fingerprint import dataset_hash, derived_seed, fingerprint
from mgral.study.opened import Job, load_data, open_images

BASELINE = "supervised"
"""Also the first stage of methods that have two."""


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
class Contest:
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

        Only the labels of `trial.labelled` are seen in training. For a method of two stages the detector that the
        baseline made of the same fold labels; it is trained first where it is missing.

        Raises:
            TrainingError: a loss that is not finite.
        """
        receipt = self.receipt(trial)
        if not receipt.exists():
            begun = time.perf_counter()
            detector = self._trained(trial)
            found = evaluate(detect(detector, self.store, self.test), {one: self.truth[one] for one in self.test},
                             self.classes)
            write_json(receipt, asdict(TrialResult(found.map, found.ap50, found.per_class,
                                                   time.perf_counter() - begun)))
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

    def _trained(self, trial: Trial) -> Detector:
        path = self.receipt(trial).with_suffix(".pth")
        if trial.method == BASELINE and path.exists():
            return load_checkpoint(path, self.device)
        seed = derived_seed(self.seed, "trial", canonical_json(trial.fraction), trial.fold)
        start = build_detector(self.detector, self.classes, seed, self.device)
        teacher = None
        if METHODS[trial.method].is_staged(self._settings(trial.method)):
            teacher = self._trained(Trial(BASELINE, trial.fraction, trial.fold, trial.labelled))
        labelled = {image_id: self.truth[image_id] for image_id in trial.labelled}
        unlabelled = tuple(image_id for image_id in self.train if image_id not in labelled)
        detector = learn(start, self.store, labelled, unlabelled, self._settings(trial.method), seed, teacher,
                         path.with_suffix(".part.pth"))
        if trial.method == BASELINE:
            save_checkpoint(path, detector)
        return detector

    def _settings(self, method: str) -> SemisupConfig:
        return self.semisup.model_copy(update={"method": method})


def open_contest(job: Job, device: str) -> tuple[Contest, list[Trial]]:
    """The contest that `job.config` describes and its trials, the baseline's first.

    Writes one split file for each fraction and fold; a folder that holds splits of other data is refused.

    Raises:
        ConfigError, DataError: settings or data that cannot be used, or a method that refuses the detector.
        StateError: the split files were drawn from other data or with another seed.
    """
    config, space = job.config, job.workspace
    loaded = load_data(job)
    dataset, source = loaded.dataset, dataset_hash(loaded.dataset)
    train, test = draw_test(dataset, config.data, config.seed)
    contest = Contest(config.detector, config.semisup, dataset.classes,
                      open_images(dataset, config, space).on(device),
                      dataset.boxes, train, test, device, config.seed, space.root / "runs" / "cache" / "trials", source)
    detector = build_detector(config.detector, dataset.classes, config.seed)
    refused = [f"semisup_study.methods: expected methods for this detector, got {method}: {reason}"
               for method in config.semisup_study.methods if (reason := METHODS[method].refusal(detector))]
    if refused:
        raise ConfigError(*refused)
    trials = _trials(job, dataset, train, source)
    return contest, sorted(trials, key=lambda one: (one.method != BASELINE, one.fraction, one.fold))


def _trials(job: Job, dataset: Dataset, train: tuple[ImageId, ...], source: str) -> list[Trial]:
    rules, seed = job.config.semisup_study, job.config.seed
    annotated = tuple(image_id for image_id in train if image_id in dataset.boxes)
    if not annotated:
        raise DataError(f"{dataset.root}: expected annotated training images, got none")
    trials = []
    for fraction in rules.fractions:
        for fold, drawn in enumerate(draw_folds(annotated, fraction, rules.folds, seed), start=1):
            if len(drawn) == len(train) and any(METHODS[method].unlabelled for method in rules.methods):
                raise ConfigError(f"semisup_study.fractions: expected some training images to stay unlabelled, got "
                                  f"{fraction:g}, which labels all {len(train)}; lower it")
            labelled = _split_file(job.workspace.folder / "semisup" / "splits" / f"{100 * fraction:g}-{fold}.json",
                                   drawn, source, seed)
            trials += [Trial(method, fraction, fold, labelled) for method in rules.methods]
    return trials


def _split_file(path: Path, drawn: tuple[ImageId, ...], source: str, seed: int) -> tuple[ImageId, ...]:
    content = {"dataset": source, "seed": seed, "labelled": list(drawn), "sha256": sha256(source, *drawn)}
    if not path.exists():
        write_json(path, content)
    elif read_json(path) != content:
        raise StateError(f"{path}: expected the images drawn from this data set with seed {seed}, got others; give the "
                         f"study another study.name, or delete {path.parent}")
    return drawn
