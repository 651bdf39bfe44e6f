"""Experiments that are run once: each is looked up by fingerprint first and recorded when it is done."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mgral.data.dataset import Batch, ImageId
from mgral.errors import MemoryFault
from mgral.experiments.anew import AnewSetup
from mgral.experiments.experiment import Outcome
from mgral.experiments.processes import ExperimentSetup, Planned, run_all
from mgral.experiments.record import Failure, Origin, Record
from mgral.experiments.store import Table
from mgral.fingerprint import code_version, fingerprint
from mgral.progress import current


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the experiments of a cycle come from: what their records say besides figures."""

    study: str
    strategy: str
    cycle: int
    snapshot: str
    seed: int
    flow_run: str | None = None


@dataclass
class ExperimentRunner:
    """Measures batches for one cycle, and keeps every record in the table before anybody else hears of it.

    `scope` names the experiments that may be compared with each other; `checkpoints` is the folder of those that are
    under way. `reused` and `new` count what was found and what was run.
    """

    table: Table
    setup: ExperimentSetup | AnewSetup
    scope: str
    provenance: Provenance
    classes: Sequence[str]
    checkpoints: Path
    at_once: int | Literal["auto"] = 1
    reused: int = 0
    new: int = 0

    def measure(self, batch: Sequence[ImageId], origin: Origin) -> Record:
        """The record of this batch: from the table, or by a real experiment whose record joins the table.

        Raises:
            MemoryFault: the experiment does not fit into the device's memory.
        """
        record = next(self.measure_all([batch], origin))
        if isinstance(record, Failure):
            raise record.reason
        return record

    def measure_all(self, batches: Sequence[Sequence[ImageId]], origin: Origin, repeat: int = 0,
                    until: int | None = None) -> Iterator[Record | Failure]:
        """The records of these batches: those of the table first, then the new ones as their experiments end.

        An experiment that does not fit into memory yields its failure. Each `repeat` of a batch is an experiment of its
        own, with another seed; one `until` a step pauses there, and the whole one goes on from it.
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
                seed = self.setup.seed(self.provenance.seed, ids, repeat)
                missing[Planned(ids, seed, self.interim(ids, repeat), until, repeat)] = name
        for planned, result in run_all(self.setup, list(missing), self.at_once):
            if isinstance(result, MemoryFault):
                yield Failure(missing[planned], origin, planned.seed, result)
            else:
                self.new += 1
                yield self.table.add(self._record(missing[planned], planned, origin, result))

    def name(self, batch: Sequence[ImageId], repeat: int = 0, until: int | None = None) -> str:
        """The fingerprint of the experiment on this batch."""
        return fingerprint("experiment", self.scope, tuple(sorted(batch)), repeat, until or 0)

    def interim(self, batch: Sequence[ImageId], repeat: int = 0) -> Path:
        """The checkpoint of an experiment under way."""
        return self.checkpoints / f"{self.name(batch, repeat)[:32]}.part.pth"

    def known(self, batch: Sequence[ImageId], repeat: int = 0, until: int | None = None) -> bool:
        return self.table.find(self.name(batch, repeat, until)) is not None

    def _record(self, name: str, planned: Planned, origin: Origin, outcome: Outcome) -> Record:
        source, end = self.provenance, outcome.end
        return Record(
            fingerprint=name, scope=self.scope, study=source.study, strategy=source.strategy, cycle=source.cycle,
            snapshot=source.snapshot, origin=origin, image_ids=planned.ids, repeat=planned.repeat, seed=planned.seed,
            labelled=len(self.setup.labelled), figures=dict(end.figures),
            per_class=dict(zip(self.classes, end.per_class, strict=True)),
            curve=tuple({"step": point.step, **point.figures} for point in outcome.curve), seconds=outcome.seconds,
            steps=end.step, code=code_version("experiment"), prefect_flow_run_id=source.flow_run)


def fill(runner: ExperimentRunner, batches: Sequence[Batch], reward: str, repeats: int = 0,
         stops: Sequence[int] = ()) -> Generator[Record | Failure, None, list[Record]]:
    """Runs a design: yields each record as its experiment ends, and returns all of them.

    After each of the steps `stops` the less promising half of the trainings, by `reward`, goes no further (successive
    halving). Then the first `repeats` batches are measured once more with another seed, and none of those is stopped.
    The records come in the order of the design, whichever ended first, for figures must not depend on it; those that
    were stopped come before the others.
    """
    stopped, left, again = [], list(batches), list(batches[:repeats])
    with current.get().phase("experiments", "experiment", len(left) + len(again)) as advance:
        for stop in stops:
            paused = yield from _measured(runner, left, until=stop)
            going = {record.image_ids for record in better_half(paused, reward)}
            left = [record.image_ids for record in paused if record.image_ids in going]
            ended = [record for record in paused if record.image_ids not in going]
            for record in ended:
                runner.interim(record.image_ids).unlink(missing_ok=True)
            advance(len(ended))
            stopped += ended
        whole = yield from _counted(runner, left, 0, advance)
        repeated = yield from _counted(runner, again, 1, advance)
    return [*stopped, *whole, *repeated]


def better_half(records: Sequence[Record], reward: str) -> list[Record]:
    """Those that go on after a rung, in the order given: the better half, rounded up.

    Source: successive halving (Jamieson and Talwalkar 2016) with η = 2.
    """
    ranked = sorted(records, key=lambda record: -record.reward(reward))
    going = {record.fingerprint for record in ranked[:-(-len(ranked) // 2)]}
    return [record for record in records if record.fingerprint in going]


def _counted(runner: ExperimentRunner, batches: Sequence[Batch], repeat: int,
             advance: Callable[[int], None]) -> Generator[Record | Failure, None, list[Record]]:
    """The same with every new experiment counted as work done; those of the table come first and are none."""
    known = sum(runner.known(batch, repeat) for batch in batches)
    current.get().skip("experiment", known)
    measuring = _measured(runner, batches, repeat)
    for place in itertools.count():
        try:
            yield next(measuring)
        except StopIteration as end:
            return end.value
        if place >= known:
            advance(1)


def _measured(runner: ExperimentRunner, batches: Sequence[Batch], repeat: int = 0,
              until: int | None = None) -> Generator[Record | Failure, None, list[Record]]:
    by_fingerprint = {}
    for record in runner.measure_all(batches, "design", repeat, until):
        yield record
        if isinstance(record, Record):
            by_fingerprint[record.fingerprint] = record
    names = [runner.name(batch, repeat, until) for batch in batches]
    return [by_fingerprint[name] for name in names if name in by_fingerprint]
