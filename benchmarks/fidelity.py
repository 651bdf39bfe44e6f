"""How early the end of an experiment can be foretold: rank correlation with the whole training against its cost.

    python benchmarks/fidelity.py [--params params.yaml] [--data DIR] [--out DIR] [--seed 0] [--batches 40] [--json]

Trains on the batches of a spread design four times as long as the settings say, measures 16 times on the way, and ranks
the batches at every measurement as at the end. With --out trainings are kept and a later call goes on behind the last.
The last line is one JSON object; `ratio` is the Spearman correlation at a quarter of the steps by the class-balanced
loss, `raw` that of every reward at every share of the steps.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from common import hardware
from reward import Measurements, lengths
from reward_records import measurements, run, staged

from mgral.params import read_config

GOAL = 0.9
QUARTER = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    options = parser.parse_args()
    config = read_config(options.params).model_copy(update={"seed": options.seed})
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.out or Path(temporary)
        stage = staged(config, options.data, folder / f"seed-{options.seed}")
        path = folder / f"{options.seed}.jsonl"
        wanted = [one for one in measurements(stage) if one[0].startswith("long/")][:options.batches]
        run(wanted, path, (lambda line: None) if options.json else print)
        rows = lengths(Measurements(path))
    quarter = next(row for row in rows if row["reward"] == "balanced_loss" and row["share"] == QUARTER)
    curves = {reward: {f"{row['share']:.3g}": round(row["spearman"], 3) for row in rows if row["reward"] == reward}
              for reward in dict.fromkeys(row["reward"] for row in rows)}
    print(json.dumps({"name": "fidelity", "ratio": round(quarter["spearman"], 3), "goal": GOAL,
                      "standard_error": round(quarter["error"], 3), "batches": quarter["batches"], "raw": curves,
                      "hardware": hardware()}))


if __name__ == "__main__":
    main()
