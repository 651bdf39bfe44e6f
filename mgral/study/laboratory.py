"""Experiments that are run once: each is looked up by fingerprint first and recorded when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mgral.config import SemisupConfig, TableConfig
from mgral.data.dataset import ImageId
from mgral.errors import MemoryFault
from mgral.files import canonical_json
from mgral.lookup.store import Record, Table
from mgral.semisup.experiment import Outcome
from mgral.study.fingerprint import code_version, derived_seed, fingerprint
from mgral.study.workers import Planned, Result

FIGURES = ("map", "ap50", "soft_ap", "loss", "balanced_loss")
"""What is measured of every training, on its way and at its end."""


@dataclass
class Laboratory:
    """Measures batches for one cycle.

    `run` trains, in whatever order; `announce` is told of each new experiment before it is recorded and returns the id
    of its MLflow run. A process killed in between finds the same MLflow run again and loses nothing else. `interim`
    names the file of an experiment's checkpoints. `kind` names the experiments of all cycles that are made alike.
    """

    table: Table
    run: Callable[[Sequence[Planned]], Iterator[tuple[Planned, Result]]]
    announce: Callable[[str, str, Result, int], str]
    interim: Callable[[str], Path]
    scope: str
    kind: str
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

    def measure_all(self, batches: Sequence[Sequence[ImageId]], origin: str, patient: bool = True, repeat: int = 0,
                    until: int | None = None) -> Iterator[Record]:
        """The records of these batches: those of the table first, then the new ones as their experiments end.

        With `patient`, an experiment that does not fit into memory is announced as failed and left out. Each `repeat`
        of a batch is an experiment of its own, with another seed; one `until` a step pauses there, and the whole one
        goes on from it.
        """
        missing: dict[Planned, str] = {}
        for batch in batches:
            ids = tuple(sorted(batch))
            name = self.name(ids, repeat, until)
            known = self.table.find(name)
            if known is not None:
                self.reused += 1
                yield known
            else:
                # Not from the fingerprint: an edit of code that changes no number must draw the same.
                # Nor from the batch: what chance does to all batches alike does not make one look better.
                seed = derived_seed(self.seed, "experiment", self.snapshot, repeat)
                missing[Planned(ids, seed, self.interim(self.name(ids, repeat)), until)] = name
        for planned, result in self.run(list(missing)):
            run_id = self.announce(missing[planned], origin, result, planned.seed)
            if not isinstance(result, MemoryFault):
                self.new += 1
                yield self.table.add(self._record(missing[planned], planned, origin, result, run_id, repeat))
            elif not patient:
                raise result

    def name(self, batch: Sequence[ImageId], repeat: int = 0, until: int | None = None) -> str:
        """The fingerprint of the experiment on this batch."""
        return fingerprint("experiment", self.scope, tuple(sorted(batch)), repeat, until or 0)

    def known(self, batch: Sequence[ImageId], repeat: int = 0, until: int | None = None) -> bool:
        return self.table.find(self.name(batch, repeat, until)) is not None

    def _record(self, name: str, planned: Planned, origin: str, outcome: Outcome, run_id: str, repeat: int) -> Record:
        end = outcome.end
        return Record(
            fingerprint=name, scope=self.scope, kind=self.kind, study=self.study, strategy=self.strategy,
            cycle=self.cycle, snapshot=self.snapshot, origin=origin, image_ids=planned.ids, repeat=repeat,
            seed=planned.seed, labelled=self.labelled, map=end.map, ap50=end.ap50, soft_ap=end.soft_ap,
            balanced_loss=end.balanced_loss, loss=end.loss,
            per_class=dict(zip(self.classes, end.per_class, strict=True)),
            curve=tuple({name: getattr(one, name) for name in ("step", *FIGURES)} for one in outcome.curve),
            seconds=outcome.seconds, steps=end.step, code=code_version(), mlflow_run_id=run_id,
            prefect_flow_run_id=self.flow_run)


def experiment_kind(source: str, splits: str, semisup: SemisupConfig, table: TableConfig, seed: int) -> str:
    """Names experiments that are made and measured alike, whatever detector they start from."""
    return fingerprint("kind", source, splits, canonical_json(semisup.used()),
                       canonical_json([table.measurements, table.pseudo_label if source == "student" else None]), seed)


def experiment_scope(kind: str, detector: str) -> str:
    """Groups the experiments that may be compared: the same kind, from the same detector."""
    return fingerprint("experiments", kind, detector)
