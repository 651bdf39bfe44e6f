"""The training loop of every method: a step at a time, interrupted anywhere and continued exactly."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, final

import torch

from mgral.data.dataset import ImageId
from mgral.detection import ALONE, Detector, World, read_tensors
from mgral.errors import StateError, TrainingError
from mgral.files import canonical_json, sha256, writing
from mgral.randomness import isolated, shuffled, stream
from mgral.training.inputs import total
from mgral.training.method import Draw, Method
from mgral.training.optimiser import Optimiser

LONGEST = 60.0
"""Seconds after which a checkpoint is written, however few steps were made."""


@dataclass(frozen=True, slots=True)
class Step:
    """`step` counts from 1 to `steps`; `loss` is the sum of the losses before the update made with `lr`."""

    step: int
    steps: int
    loss: float
    lr: float


@dataclass(frozen=True, slots=True)
class Drawn:
    """Images of which each step takes the next `count`; every pass over them has another order, drawn under `name`."""

    name: str
    ids: tuple[ImageId, ...] = ()
    count: int = 0

    def after(self, steps: int, seed: int) -> Iterator[ImageId]:
        """What is drawn once so many steps are done. Raises `ValueError` when there are no images to draw."""
        return shuffled(self.ids, steps * self.count, seed, self.name) if self.count else iter(())


@final
class Training:
    """Iterating it trains and yields a `Step` each, from the last one that was done up to `steps`, or up to a pause.

    What a step draws depends on the seed and its number only, so that a training made again, which finds its
    `checkpoint`, goes on from there and ends with the same weights, bit for bit on one device and number of threads, as
    one never interrupted. A step is saved after it was yielded: what the consumer appended to `evaluations` by then is
    there again. The file stays until `forget`, so that nothing is lost before the consumer has kept the result.

    Raises `TrainingError`, while it trains, for a loss that is not finite, and names the images; or for such weights.
    """

    def __init__(self, method: Method, labelled: Drawn, unlabelled: Drawn, settings: Mapping[str, Any], seed: int,
                 every: int, checkpoint: Path | None = None, evaluated: Sequence[int] = (), until: int | None = None,
                 world: World = ALONE) -> None:
        """`settings` decide what the training yields, among them `steps` and `lr`. The checkpoint is written after
        `every` so many steps, once a minute, and where the training pauses: after step `until`. The consumer evaluates
        after the steps `evaluated`.

        Raises:
            StateError: the checkpoint belongs to another training, or is damaged; or other processes of the `world`
                have other images, settings or seeds.
        """
        self.method, self.seed, self.every, self.world = method, seed, every, world
        self.steps = settings["steps"]
        self.evaluations: list[dict[str, Any]] = []
        """What the consumer measured on the way: plain numbers by name."""
        self._end = self.steps if until is None else min(until, self.steps)
        self._labelled, self._unlabelled, self._checkpoint = labelled, unlabelled, checkpoint
        self._optimiser = Optimiser(method.student, self.steps, settings["lr"])
        student = method.student
        self._run = sha256(canonical_json([
            type(method).__name__, student.config.model_dump(), student.classes, labelled.ids, unlabelled.ids,
            dict(settings), seed, list(evaluated)]))
        if not world.same(self._run):
            raise StateError("training: expected the same images, settings and seed in every process, got others; "
                             "start them all with the same params file, data and working directory")
        self._done = self._resumed() if checkpoint and checkpoint.exists() else 0

    @property
    def finished(self) -> bool:
        return self._done == self.steps

    @property
    def result(self) -> Detector:
        """The detector as the training would yield it by now."""
        return self.method.result

    def run(self) -> Detector:
        """Makes all steps that are left: the result, in eval mode."""
        for _ in self:
            pass
        return self.result.eval()

    def forget(self) -> None:
        """Removes the checkpoint, once what the training yielded is kept elsewhere."""
        if self._checkpoint and self.world.first:
            self._checkpoint.unlink(missing_ok=True)

    def __iter__(self) -> Iterator[Step]:
        known, unknown = (drawn.after(self._done, self.seed) for drawn in (self._labelled, self._unlabelled))
        self.method.student.train()
        due = time.monotonic() + LONGEST
        for step in range(self._done, self._end):
            draw = Draw(step, self.steps, list(islice(known, self._labelled.count)),
                        list(islice(unknown, self._unlabelled.count)), stream(self.seed, "view", step))
            with isolated(self.method.student.device, self.seed, "step", step):
                loss = total(self.method.losses(draw))
                value = self.world.mean(loss).item()
                lr = self._optimiser.step(step, loss, value, [*draw.labelled, *draw.unlabelled])
            self.method.after(step)
            self._done = step + 1
            if self._done == self._end:
                self._check_weights()
            yield Step(self._done, self.steps, value, lr)
            if self._done % self.every == 0 or self._done == self._end < self.steps or time.monotonic() > due:
                self._check_weights()
                self._save()
                due = time.monotonic() + LONGEST

    def _check_weights(self) -> None:
        """A finite loss may have gradients that are not, and a teacher may never have been finite: such weights are
        neither kept nor gone on from."""
        for name, weights in self.method.result.state_dict().items():
            if not torch.isfinite(weights).all():
                raise TrainingError(f"step {self._done}: expected finite weights, got others in {name}; try a smaller "
                                    "learning rate")

    def _save(self) -> None:
        if self._checkpoint is None or not self.world.first:
            return
        teacher = self.method.teacher
        with writing(self._checkpoint) as temporary:
            torch.save({"run": self._run, "step": self._done, "student": self.method.student.state_dict(),
                        "teacher": teacher.state_dict() if teacher else {}, "optimiser": self._optimiser.state_dict(),
                        "evaluations": self.evaluations}, temporary)

    def _resumed(self) -> int:
        saved = read_tensors(self._checkpoint)
        if saved.get("run") != self._run:
            raise StateError(f"{self._checkpoint}: expected a training of the same images, settings and seed, got "
                             "another; remove the file to start over")
        self.method.student.load_state_dict(saved["student"])
        if self.method.teacher:
            self.method.teacher.load_state_dict(saved["teacher"])
        self._optimiser.load_state_dict(saved["optimiser"])
        self.evaluations[:] = saved["evaluations"]
        return saved["step"]
