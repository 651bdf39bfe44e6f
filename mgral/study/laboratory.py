"""Experiments that are run once: each is looked up by fingerprint first and recorded when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mgral.config import SemisupConfig
from mgral.data.dataset import ImageId
from mgral.errors import MemoryFault
from mgral.files import canonical_json
from mgral.lookup.store import Record, Table
from mgral.semisup.experiment import Outcome
from mgral.study.fingerprint import code_version, derived_seed, fingerprint
from mgral.study.workers import Planned, Result


@dataclass
class Laboratory:
    """Measures batches for one cycle.

    `run` trains, in whatever order; `announce` is told of each new experiment before it is recorded and returns the id
    of its MLflow run. A process killed in between finds the same MLflow run again and loses nothing else. `interim`
    names the file of an experiment's checkpoints.
    """

    table: Table
    run: Callable[[Sequence[Planned]], Iterator[tuple[Planned, Result]]]
    announce: Callable[[str, str, Result, int], str]
    interim: Callable[[str], Path]
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
        """The record of this batch: from the table, or by a real experiment whose record joins the table.

        Raises:
            MemoryFault: the experiment does not fit into the device's memory.
        """
        return next(self.measure_all([batch], origin, patient=False))

    def measure_all(self, batches: Sequence[Sequence[ImageId]], origin: str, patient: bool = True) -> Iterator[Record]:
        """The records of these batches: those of the table first, then the new ones as their experiments end.

        With `patient`, an experiment that does not fit into memory is announced as failed and left out.
        """
        missing: dict[Planned, str] = {}
        for batch in batches:
            ids = tuple(sorted(batch))
            name = self.name(ids)
            known = self.table.find(name)
            if known is not None:
                self.reused += 1
                yield known
            else:
                # Not from the fingerprint: an edit of code that changes no number must draw the same.
                seed = derived_seed(self.seed, "experiment", self.snapshot, *ids)
                missing[Planned(ids, seed, self.interim(name))] = name
        for planned, result in self.run(list(missing)):
            run_id = self.announce(missing[planned], origin, result, planned.seed)
            if not isinstance(result, MemoryFault):
                self.new += 1
                yield self.table.add(self._record(missing[planned], planned, origin, result, run_id))
            elif not patient:
                raise result

    def name(self, batch: Sequence[ImageId]) -> str:
        """The fingerprint of the experiment on this batch."""
        return fingerprint("experiment", self.scope, tuple(sorted(batch)))

    def known(self, batch: Sequence[ImageId]) -> bool:
        return self.table.find(self.name(batch)) is not None

    def _record(self, name: str, planned: Planned, origin: str, outcome: Outcome, run_id: str) -> Record:
        return Record(
            fingerprint=name, scope=self.scope, study=self.study, strategy=self.strategy, cycle=self.cycle,
            snapshot=self.snapshot, origin=origin, image_ids=planned.ids, seed=planned.seed, labelled=self.labelled,
            map=outcome.map, ap50=outcome.ap50, balanced_loss=outcome.balanced_loss, loss=outcome.loss,
            per_class=dict(zip(self.classes, outcome.per_class, strict=True)),
            seconds=outcome.seconds, steps=outcome.steps, code=code_version(), mlflow_run_id=run_id,
            prefect_flow_run_id=self.flow_run)


def experiment_scope(detector: str, splits: str, config: SemisupConfig, seed: int) -> str:
    """Groups the experiments that may be compared: same detector to start from, same method, same reward split."""
    return fingerprint("experiments", detector, splits, canonical_json(config.used()), seed)


def reward_of(record: Record, kind: str) -> float:
    """What a search maximises: `map`, `ap50`, or minus the class-balanced loss."""
    return -record.balanced_loss if kind == "balanced_loss" else getattr(record, kind)
