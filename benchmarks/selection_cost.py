"""What the choice of a batch costs beside the training of the detector: seconds of every strategy, as a run has them.

    python benchmarks/selection_cost.py [--params params.yaml] [--data DIR] [--seed 0] [--json]

The first cycle of a study, all of it new: its detector is trained, what is in the images is learned and near-duplicates
are found, which is done whatever strategy chooses; then every strategy chooses, first what it `fit`s (of `mgral` the
table of experiments, parallel processes started and the detector of half of the labels included), then what it
`select`s (its search, the controls and the check). The table is searched whatever it is worth, for that is what takes
time. The training has one thread, as a run has it; experiments take as many cores as the settings let them. Left out
are the pool inspected, pictures drawn and books kept. The last line is one JSON object; `ratio` is the seconds of the
training over those of the whole choice by `mgral`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from harness import benchmark_parser, hardware, print_line, quiet, timed
from stage import staged

from mgral import strategies
from mgral.config import Config
from mgral.experiments.processes import warm_up
from mgral.generators import finished
from mgral.params import read_config
from mgral.pool.content import fit_content
from mgral.strategies import PoolView, Strategy

GOAL = 1.0
MGRAL = "mgral"


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path, help="the data set's folder; none for synthetic scenes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    quiet()
    with tempfile.TemporaryDirectory() as folder:
        raw = measured(read_config(options.params), options.data, Path(folder), options.seed)
    shared = sum(raw["shared_s"].values())
    choosing = {name: shared + sum(parts.values()) for name, parts in raw["choosing_s"].items()}
    ratio = round(raw["training_s"] / choosing[MGRAL], 2)
    if not options.json:
        print(f"{'training the detector':30}{raw['training_s']:9.2f} s")
        for name, seconds in choosing.items():
            print(f"{'choosing by ' + name:30}{seconds:9.2f} s")
        print(f"{raw['processor']}: ratio {ratio} (goal {GOAL})")
    print_line("selection_cost", ratio, GOAL, raw)


def measured(config: Config, data: Path | None, folder: Path, seed: int) -> dict:
    """Seconds of a training, of what all strategies share, and of each one's two parts."""
    search = config.search.model_copy(update={"trust": "always"})
    with staged(config.model_copy(update={"search": search}), data, folder, seed) as view:
        setup = view.setup
        warm_up()  # as in a run, while the detector is trained
        afresh = replace(setup.detectors, folder=folder / "afresh")
        _, training = timed(lambda: afresh.train(setup.detector, setup.labelled, view.inspection.ids))
        shared = seconds_before(view, config)
        choosing = {name: seconds(strategies.get(name), view) for name in strategies.names()}
        return {"training_s": round(training, 2), "shared_s": shared, "choosing_s": choosing,
                "labelled": len(view.labelled), "pool": len(view.pool), "budget": setup.budget,
                "steps": config.training.steps, **hardware()}


def seconds_before(view: PoolView, config: Config) -> dict[str, float]:
    """Of what a cycle does before any strategy chooses."""
    setup, seen = view.setup, replace(view.inspection)
    whole = replace(view, pool=tuple(setup.pool_truth), near_duplicates=config.pool.near_duplicates)
    _, content = timed(lambda: fit_content(seen, {**setup.labelled, **setup.reward}, view.classes, setup.labelled))
    _, thinning = timed(lambda: strategies.distinct_only(whole, setup.budget))
    return {"content": round(content, 4), "near_duplicates": round(thinning, 4)}


def seconds(strategy: Strategy, view: PoolView) -> dict[str, float]:
    """Of a strategy that sees the pool for the first time."""
    view = replace(view, inspection=replace(view.inspection))
    fitted, fitting = timed(lambda: finished(strategy.fit(view)))
    _, selecting = timed(lambda: strategy.select(replace(view, fitted=fitted), view.setup.budget,
                                                 np.random.default_rng(0)))
    return {"fit": round(fitting, 4), "select": round(selecting, 4)}


if __name__ == "__main__":
    main()
