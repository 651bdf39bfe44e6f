"""How early the end of an experiment can be predicted: rank correlation with the whole training against its cost.

    python benchmarks/fidelity.py [--params params.yaml] [--data DIR] [--out DIR] [--seed 0] [--batches 40] [--json]

Trains on the batches of a spread design four times as long as the settings say, measures 16 times on the way, and ranks
the batches at every measurement as at the end. With --out trainings are kept and a later call goes on behind the last.
The last line is one JSON object; `ratio` is the Spearman correlation at a quarter of the steps by the class-balanced
loss, `curves` in `raw` that of every reward at every share of the steps.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from harness import hardware, print_line, study_parser
from reward import lengths
from reward_records import LONG, RECORDS, Series, designed, runner
from stage import staged

from mgral.params import read_config

GOAL = 0.9
QUARTER = 0.25


def main() -> None:
    parser = study_parser(__doc__, out=False)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batches", type=int, default=RECORDS)
    options = parser.parse_args()
    config = read_config(options.params)
    with (tempfile.TemporaryDirectory() as temporary,
          staged(config, options.data, options.out or Path(temporary), options.seed) as view):
        batches = designed(view, "spread", options.batches, "design")
        long = Series(runner(view, "semisupervised", LONG), (batches,))
        long.measure()
        rows = lengths(long.found())
    quarter = next(row for row in rows if row["reward"] == "balanced_loss" and row["share"] == QUARTER)
    curves = {}
    for row in rows:
        curves.setdefault(row["reward"], {})[f"{row['share']:.3g}"] = round(row["spearman"], 3)
    if not options.json:
        for reward, curve in curves.items():
            print(f"{reward:14}", *(f"{share}: {value:.2f}" for share, value in curve.items()))
    print_line("fidelity", round(quarter["spearman"], 3), GOAL, {
        "standard_error": round(quarter["error"], 3), "batches": quarter["batches"], "curves": curves, **hardware()})


if __name__ == "__main__":
    main()
