"""Semi-supervised training, the same loop for every method: interrupted anywhere, it goes on exactly."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch

from mgral.config import SemisupConfig
from mgral.data.dataset import Boxes, ImageId
from mgral.data.images import ImageStore
from mgral.detection.building import read_tensors
from mgral.detection.detector import Detector
from mgral.detection.optimisation import Optimiser
from mgral.detection.randomness import isolated, shuffled, stream
from mgral.detection.training import Step, targets_of, total
from mgral.errors import ConfigError, StateError
from mgral.files import canonical_json, sha256, writing
from mgral.semisup.isd import Isd
from mgral.semisup.mean_teacher import MeanTeacher
from mgral.semisup.method import Draw, Method
from mgral.semisup.sed import Sed
from mgral.semisup.soft_teacher import SoftTeacher
from mgral.semisup.stac import Stac
from mgral.semisup.supervised import Supervised

METHODS: dict[str, type[Method]] = {"supervised": Supervised, "mean_teacher": MeanTeacher, "stac": Stac,
                                    "soft_teacher": SoftTeacher, "isd": Isd, "sed": Sed}


@dataclass
class Looks:
    """Measurements of the detector on its way: `take` is given the number of each of the steps `at` once it is done,
    and the detector that the training would yield by then. What it gives, numbers by name, is kept in `taken` and
    with the checkpoint."""

    at: tuple[int, ...]
    take: Callable[[int, Detector], dict]
    taken: list[dict] = field(default_factory=list)


def learn(start: Detector, store: ImageStore, labelled: Mapping[ImageId, Boxes], unlabelled: Sequence[ImageId],
          config: SemisupConfig, seed: int, teacher: Detector | None = None, checkpoint: Path | None = None,
          watch: Callable[[Step], object] | None = None, looks: Looks | None = None,
          until: int | None = None) -> Detector:
    """The detector that `config.method` makes of `start` in `config.steps` steps, in eval mode; `start` stays as it is.

    Args:
        teacher: labels at first, for a method of stages; a copy of `start` when not given.
        checkpoint: a file written every `config.checkpoint_every` steps and removed at the end; a call that finds it
            ends with the same weights, bit for bit on one device and number of threads, as one never interrupted.
        watch: told of every step.
        looks: what to measure on the way; a call that goes on from a checkpoint finds what was measured before it.
        until: the step after which to pause, with the checkpoint written; a call without it goes on from there.

    Raises:
        ConfigError: the method makes no sense for this detector.
        ValueError: no labelled images, or no unlabelled ones for a method that wants them.
        TrainingError: a loss that is not finite; names the images.
        StateError: the checkpoint belongs to another training, or is damaged.
    """
    kind = METHODS[config.method]
    reason = kind.refusal(start)
    if reason:
        raise ConfigError(f"semisup.method: expected a method for this detector, got {config.method}: {reason}")
    student = copy.deepcopy(start)
    truth = targets_of(store, labelled, list(labelled), student.device)
    method = kind(student, copy.deepcopy(teacher or start), store, truth, config)
    optimiser = Optimiser(student, config.steps, config.lr, config.weight_decay, config.clip_norm)
    looks = looks or Looks((), lambda step, detector: {})
    run = _fingerprint(start, labelled, unlabelled, config, seed, looks.at)
    first = _resume(checkpoint, run, method, optimiser, looks) if checkpoint and checkpoint.exists() else 0
    end = config.steps if until is None else min(until, config.steps)
    known = shuffled(list(labelled), first * config.labelled_per_step, seed, "labelled")
    unknown = _unlabelled(kind, unlabelled, first, config, seed)
    student.train()
    for step in range(first, end):
        draw = Draw(step, config.steps, list(islice(known, config.labelled_per_step)),
                    list(islice(unknown, config.unlabelled_per_step)), stream(seed, "view", step))
        with isolated(student.device, seed, "step", step):
            loss = total(method.losses(draw))
            value = loss.item()
            lr = optimiser.step(step, loss, value, [*draw.labelled, *draw.unlabelled])
        method.after(step)
        if step + 1 in looks.at:
            looks.taken.append(looks.take(step + 1, method.result))
        if checkpoint and ((step + 1) % config.checkpoint_every == 0 or step + 1 == end < config.steps):
            _save(checkpoint, run, step + 1, method, optimiser, looks)
        if watch:
            watch(Step(step + 1, config.steps, value, lr))
    if checkpoint and end == config.steps:
        checkpoint.unlink(missing_ok=True)
    return method.result.eval()


def _unlabelled(kind: type[Method], ids: Sequence[ImageId], first: int, config: SemisupConfig,
                seed: int) -> Iterator[ImageId]:
    return shuffled(ids, first * config.unlabelled_per_step, seed, "unlabelled") if kind.unlabelled else iter(())


def _fingerprint(start: Detector, labelled: Mapping[ImageId, Boxes], unlabelled: Sequence[ImageId],
                 config: SemisupConfig, seed: int, at: tuple[int, ...]) -> str:
    settings = {name: value for name, value in config.used().items() if name != "checkpoint_every"}
    return sha256(canonical_json([start.config.model_dump(), list(start.classes), list(labelled), list(unlabelled),
                                  settings, seed, list(at)]))


def _save(path: Path, run: str, step: int, method: Method, optimiser: Optimiser, looks: Looks) -> None:
    with writing(path) as temporary:
        torch.save({"run": run, "step": step, "student": method.student.state_dict(),
                    "teacher": method.teacher.state_dict(), "optimiser": optimiser.state_dict(),
                    "looks": looks.taken}, temporary)


def _resume(path: Path, run: str, method: Method, optimiser: Optimiser, looks: Looks) -> int:
    saved = read_tensors(path)
    if saved.get("run") != run:
        raise StateError(f"{path}: expected a training of the same images, settings and seed, got another; "
                         "remove the file to start over")
    method.student.load_state_dict(saved["student"])
    method.teacher.load_state_dict(saved["teacher"])
    optimiser.load_state_dict(saved["optimiser"])
    looks.taken[:] = saved["looks"]
    return saved["step"]
