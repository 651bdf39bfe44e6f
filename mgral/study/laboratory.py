"""Experiments that are run once: each is looked up by fingerprint first and recorded when it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mgral.config import SemisupConfig
from mgral.data.dataset import ImageId
from mgral.files import canonical_json
from mgral.lookup.store import Record, Table
from mgral.semisup.experiment import Outcome
from mgral.study.fingerprint import code_version, derived_seed, fingerprint


@dataclass
class Laboratory:
    """Measures batches for one cycle.

    `run` trains with a batch and a seed; `announce` is told of each new experiment before it is recorded and returns
    the id of its MLflow run. A process killed in between finds the same MLflow run again and loses nothing else.
    """

    table: Table
    run: Callable[[Sequence[ImageId], int], Outcome]
    announce: Callable[[str, str, Outcome, int], str]
    scope: str
    classes: Sequence[str]
    seed: int
    study: str
    strategy: str
    cycle: int
    snapshot: str
    labelled: int
    flow_run: str | None = None
    reused: int = 0
    new: int = 0

    def measure(self, batch: Sequence[ImageId], origin: str) -> Record:
        """The record of this batch: from the table, or by a real experiment whose record joins the table."""
        ids = tuple(sorted(batch))
        name = fingerprint("experiment", self.scope, ids)
        known = self.table.find(name)
        if known is not None:
            self.reused += 1
            return known
        # Not from the fingerprint: an edit of code that changes no number must draw the same.
        seed = derived_seed(self.seed, "experiment", self.snapshot, *ids)
        outcome = self.run(ids, seed)
        self.new += 1
        return self.table.add(self._record(name, ids, seed, origin, outcome))

    def known(self, batch: Sequence[ImageId]) -> bool:
        return self.table.find(fingerprint("experiment", self.scope, tuple(sorted(batch)))) is not None

    def _record(self, name: str, ids: tuple[ImageId, ...], seed: int, origin: str, outcome: Outcome) -> Record:
        run_id = self.announce(name, origin, outcome, seed)
        return Record(
            fingerprint=name, scope=self.scope, study=self.study, strategy=self.strategy, cycle=self.cycle,
            snapshot=self.snapshot, origin=origin, image_ids=ids, seed=seed, labelled=self.labelled, map=outcome.map,
            ap50=outcome.ap50, balanced_loss=outcome.balanced_loss, loss=outcome.loss,
            per_class=dict(zip(self.classes, outcome.per_class, strict=True)),
            seconds=outcome.seconds, steps=outcome.steps, code=code_version(), mlflow_run_id=run_id,
            prefect_flow_run_id=self.flow_run)


def experiment_scope(detector: str, splits: str, config: SemisupConfig, seed: int) -> str:
    """Groups the experiments that may be compared: same detector to start from, same method, same reward split."""
    return fingerprint("experiments", detector, splits, canonical_json(config.used()), seed)


def reward_of(record: Record, kind: str) -> float:
    """What a search maximises: `map`, `ap50`, or minus the class-balanced loss."""
    return -record.balanced_loss if kind == "balanced_loss" else getattr(record, kind)
