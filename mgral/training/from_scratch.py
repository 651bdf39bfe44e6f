"""A detector from its first weights to a checkpoint, by any method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mgral.config import DetectorConfig, SemisupConfig, TrainingConfig
from mgral.data.dataset import Boxes, ImageId
from mgral.data.images import ImageStore
from mgral.detection import ALONE, Detector, World, build_detector, load_checkpoint, save_checkpoint
from mgral.errors import ConfigError
from mgral.training.loop import Step, Training
from mgral.training.methods import METHODS, method_training
from mgral.training.supervised import supervised_training

SUPERVISED = "supervised"
"""The baseline; also the first stage of methods that have two."""


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """The images and the detector that is to learn from them; `weights` seeds its first weights, `seed` its training.

    What lies in `store` but is neither labelled nor unlabelled is not looked at.
    """

    detector: DetectorConfig
    classes: tuple[str, ...]
    store: ImageStore
    labelled: Mapping[ImageId, Boxes]
    unlabelled: Sequence[ImageId]
    weights: int
    seed: int
    device: str

    def untrained(self) -> Detector:
        return build_detector(self.detector, self.classes, self.weights, self.device)


def train_cycle_detector(data: TrainingSet, training: TrainingConfig, semisup: SemisupConfig, method: str, path: Path,
                         world: World = ALONE) -> Iterator[Step]:
    """Trains the detector of a cycle by any method, a `Step` each; `path` holds it then.

    A semi-supervised method makes the steps of `training` at its learning rate, on as many images a step as `semisup`
    says; a staged one as many again before, for its teacher.

    Raises:
        ConfigError: a method that makes no sense for the detector, or in several processes.
        TrainingError: a loss that is not finite; names the images.
        StateError: what an interrupted training left belongs to another one.
    """
    if method == SUPERVISED:
        yield from train_supervised(data, training, path, world)
    elif world.size > 1:
        raise ConfigError(f"study.training: expected {SUPERVISED} for a training in {world.size} processes, got "
                          f"{method}; train in one process")
    else:
        settings = semisup.model_copy(update={"method": method, "steps": training.steps, "lr": training.lr})
        yield from train_by_method(data, settings, path, _teacher(path))


def forget(path: Path) -> None:
    """Removes the detector at `path`, and the teacher of a staged method beside it."""
    for file in (path, _teacher(path)):
        file.unlink(missing_ok=True)


def train_supervised(data: TrainingSet, config: TrainingConfig, path: Path, world: World = ALONE) -> Iterator[Step]:
    """Trains on the labelled images; `path` holds the detector then. Does nothing where it is already."""
    if not path.exists():
        training = supervised_training(data.untrained(), data.store, data.labelled, sorted(data.labelled), config,
                                       data.seed, _interim(path), world)
        yield from _kept(training, path)


def train_by_method(data: TrainingSet, config: SemisupConfig, path: Path, teacher: Path) -> Iterator[Step]:
    """Trains by `config.method`; `path` holds the detector then. Does nothing where it is already.

    A staged method is taught by the detector at `teacher`: where it is missing, the supervised baseline is trained
    first, on as many labelled images and as many steps.
    """
    if path.exists():
        return
    taught_by = None
    if METHODS[config.method].is_staged(config):
        yield from train_by_method(data, config.model_copy(update={"method": SUPERVISED}), teacher, teacher)
        taught_by = load_checkpoint(teacher, data.device)
    training = method_training(data.untrained(), data.store, data.labelled, data.unlabelled, config, data.seed,
                               taught_by, _interim(path))
    yield from _kept(training, path)


def _kept(training: Training, path: Path) -> Iterator[Step]:
    yield from training
    if training.world.first:
        save_checkpoint(path, training.result)
    training.forget()


def _teacher(path: Path) -> Path:
    """Where the detector is that teaches in a staged method."""
    return path.with_suffix(".teacher.pth")


def _interim(path: Path) -> Path:
    """Where an interrupted training goes on from."""
    return path.with_suffix(".part.pth")
