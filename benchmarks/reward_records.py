"""What batches are worth by every reward, and in truth: what docs/results/reward-finetuned.md is made of.

    python benchmarks/reward_records.py --params params.yaml --out DIR [--data DIR] [--seed 0] [--records 40]
                                        [--held-out 32] [--series truth anew/direct] [--json]

One seed draws its own scenes or splits, trains the cycle's detector on the labelled images and then measures batches:
designed ones by all sources of experiments, those that go on from a detector also four times as long as the settings
say, and held-out ones by their reward and by what the next detector gains from their true labels. A repeat has one seed
for all batches: what it changes alike for all can be told from what it changes for each. The records are kept in the
table DIR/runs/table.db, and a run that is interrupted goes on behind the last one. `--series` measures these only, the
dear ones later. `benchmarks/reward.py` reads them. The last line is one JSON object; `ratio` is the share of the
experiments that are there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

os.environ.setdefault("OMP_NUM_THREADS", "1")

from harness import hardware, print_line, study_parser
from stage import staged

from mgral.data.dataset import Batch
from mgral.experiments.record import TRUE_REPEATS, Failure, Origin, Record
from mgral.experiments.runner import ExperimentRunner
from mgral.lookup.aggregation import noise_of
from mgral.lookup.design import design_batches
from mgral.params import read_config
from mgral.strategies import PoolView

RECORDS = 40
"""Batches of each design."""
HELD_OUT = 32
"""Batches whose true gain is measured."""
TWICE = 0.4
"""Share of the batches of a design that are measured once more, with another seed."""
LONG = 4
"""How many times as long the long trainings are."""
MEASUREMENTS = 4


@dataclass(frozen=True, eq=False)
class Series:
    """Batches that are measured alike: the lists of `batches` have a repeat each, the first one all of them."""

    runner: ExperimentRunner
    batches: tuple[list[Batch], ...]
    origin: Origin = "design"

    def measure(self) -> None:
        """Runs the experiments that are missing."""
        for repeat, batches in enumerate(self.batches):
            for record in self.runner.measure_all(batches, self.origin, repeat):
                if isinstance(record, Failure):
                    raise record.reason

    def mean(self, figure: str) -> dict[Batch, float]:
        """Of each batch, over the repeats that are there."""
        values: dict[Batch, list[float]] = {}
        for record in self._all():
            values.setdefault(record.image_ids, []).append(record.figures[figure])
        return {batch: sum(each) / len(each) for batch, each in values.items()}

    def noise(self, figure: str) -> float | None:
        """Standard deviation from run to run of a batch; None where too few were repeated."""
        found = noise_of(self._all(), figure)
        return found and found.runs

    def _all(self) -> list[Record]:
        return [record for repeat in range(len(self.batches)) for record in self.found(repeat)]

    def found(self, repeat: int = 0) -> list[Record]:
        """The records that are there, in the order of the batches."""
        batches = self.batches[repeat] if repeat < len(self.batches) else ()
        records = [self.runner.table.find(self.runner.name(batch, repeat)) for batch in batches]
        return [record for record in records if record is not None]


def series(view: PoolView, records: int = RECORDS, held_out: int = HELD_OUT) -> dict[str, Series]:
    """All that is measured, the cheap and important first."""
    random, spread = (designed(view, design, records, "design") for design in ("random", "spread"))
    # Mostly spread, some random: what a search may come across. None of them is a record.
    drawn, known = designed(view, "spread", 2 * held_out, "held out"), set(spread)
    held, twice = [batch for batch in drawn if batch not in known][:held_out], round(TWICE * records)
    semisupervised, student, anew = (runner(view, source) for source in ("semisupervised", "student", "anew"))
    return {"truth": Series(view.setup.true_runner(), (held,) * TRUE_REPEATS, "truth"),
            "student/spread": Series(student, (spread, spread)),
            "semisupervised/direct": Series(semisupervised, (held,)),
            "student/direct": Series(student, (held,)),
            "anew/direct": Series(anew, (held,)),
            "anew/spread": Series(anew, (spread,)),
            "semisupervised/random": Series(semisupervised, (random, random[:twice])),
            "semisupervised/spread": Series(semisupervised, (spread, spread[:twice])),
            "student, long/spread": Series(runner(view, "student", LONG), (spread,)),
            "long/spread": Series(runner(view, "semisupervised", LONG), (spread,))}


def runner(view: PoolView, source: str, times: int = 1) -> ExperimentRunner:
    """Experiments of a source, so many times as long as the settings say, measured on their way; those of detectors
    trained anew are as long as these are, measured once."""
    setup = view.setup
    measurements = 1 if source == "anew" else times * MEASUREMENTS
    table = setup.config.model_copy(update={"source": source, "measurements": measurements})
    semisup = setup.semisup.model_copy(update={"steps": times * setup.semisup.steps})
    return replace(setup, config=table, semisup=semisup).runner(view.inspection, view.pool)


def designed(view: PoolView, design: str, count: int, purpose: str) -> list[Batch]:
    setup = view.setup
    return design_batches(design, count, view.inspection, view.pool, view.labelled, setup.budget,
                          setup.seed(purpose, setup.provenance.snapshot))


def main() -> None:
    parser = study_parser(__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--held-out", type=int, default=HELD_OUT)
    parser.add_argument("--series", nargs="+", help="all when absent")
    options = parser.parse_args()
    with staged(read_config(options.params), options.data, options.out, options.seed) as view:
        measured = series(view, options.records, options.held_out)
        counts = {}
        unknown = {*(options.series or ())} - measured.keys()
        if unknown:
            parser.error(f"expected series of {', '.join(measured)}, got {', '.join(sorted(unknown))}")
        for name, each in measured.items():
            if options.series is None or name in options.series:
                each.measure()
            counts[name] = sum(len(each.found(repeat)) for repeat in range(len(each.batches)))
            if not options.json:
                print(f"{name}: {counts[name]} experiments")
    planned = sum(len(batches) for each in measured.values() for batches in each.batches)
    print_line("reward_records", sum(counts.values()) / planned, 1, {"seed": options.seed, **counts, **hardware()})


if __name__ == "__main__":
    main()
