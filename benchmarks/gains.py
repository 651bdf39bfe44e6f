"""What a batch of every strategy gains: mAP of the next cycle's detector, trained anew, over that with random batches.

    python benchmarks/gains.py [--params params.yaml] --out DIR [--data DIR] [--seeds 10] [--first 0]
                               [--strategies content balanced_entropy …] [--json]

Each seed draws its own scenes or splits and trains the first cycle's detector; every strategy then chooses a batch from
the same pool, near-duplicates passed over for all alike or for none (`pool.near_duplicates`). With the true labels of
each batch the next detector is trained from its first weights as the pipeline trains it, twice, with the same two seeds
for all batches, and measured on the test split. The figure is its mean mAP less that of three random batches; `objects`
is how many objects the batch holds, `growth` the class-balanced logarithm of what they add. What is trained is kept
under DIR: a run that is interrupted goes on behind it. The last line is one JSON object; `ratio` is the mean gain of
the first strategy over that of `rare_first`, which knows the truth.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from harness import hardware, print_line, quiet, study_parser
from reward_records import Series
from stage import staged

from mgral import strategies
from mgral.data.dataset import Batch
from mgral.experiments.record import TRUE_REPEATS
from mgral.params import read_config
from mgral.pool.content import growth, objects_in
from mgral.strategies import PoolView

STRATEGIES = ("content", "mgral", "balanced_entropy", "coreset", "rare_first")
RANDOM = 3
"""Random batches whose mean the others are compared with."""
REFERENCE = "rare_first"


def main() -> None:
    parser = study_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES))
    options = parser.parse_args()
    quiet()
    config, rows = read_config(options.params), []
    for seed in range(options.first, options.first + options.seeds):
        with staged(config, options.data, options.out, seed) as view:
            rows.append(gained(view, options.strategies, seed))
        if not options.json:
            print(f"seed {seed}: " + ", ".join(f"{name} {100 * found['gain']:+.2f}"
                                               for name, found in rows[-1]["batches"].items()), flush=True)
    if not options.json:
        print(summary(rows))
    gains = {name: float(np.mean([row["batches"][name]["gain"] for row in rows])) for name in rows[0]["batches"]}
    most = gains.get(REFERENCE)
    print_line("gains", round(gains[options.strategies[0]] / most, 3) if most else None, 1.0, {
        "seeds": [row["seed"] for row in rows], "rows": rows, **hardware()})


def gained(view: PoolView, names: list[str], seed: int) -> dict:
    """Of one seed each batch's gain, objects and growth; `random` is the mean of its batches."""
    batches = {name: batch(view, name, 0) for name in names}
    drawn = [batch(view, "random", number) for number in range(RANDOM)]
    true = Series(view.setup.true_runner(), (list(dict.fromkeys([*batches.values(), *drawn])),) * TRUE_REPEATS, "truth")
    true.measure()
    reached, noise = true.mean("map"), true.noise("map")
    level = float(np.mean([reached[each] for each in drawn]))
    found = {name: {"gain": float(reached[each] - level), **content(view, each)} for name, each in batches.items()}
    random = [content(view, each) for each in drawn]
    found["random"] = {"gain": 0.0, **{key: float(np.mean([each[key] for each in random])) for key in random[0]}}
    return {"seed": seed, "random_map": level, "noise": noise, "batches": found}


def batch(view: PoolView, name: str, number: int) -> Batch:
    rng = np.random.default_rng(view.setup.seed("gains", name, number))
    return tuple(sorted(strategies.chosen(strategies.get(name), view, view.setup.budget, rng).ids))


def content(view: PoolView, batch: Batch) -> dict[str, float]:
    """What is truly in a batch."""
    classes = len(view.classes)
    objects = objects_in([view.truth[image_id] for image_id in batch], classes).sum(axis=0)
    known = objects_in([view.truth[image_id] for image_id in view.labelled], classes).sum(axis=0)
    return {"objects": float(objects.sum()), "growth": float(growth(objects, known))}


def summary(rows: list[dict]) -> str:
    """Means over seeds with their standard errors."""
    lines = ["| chosen by | gain over random, mAP points | objects | growth |", "| --- | --- | --- | --- |"]
    for name in rows[0]["batches"]:
        gain, objects, grown = (np.array([row["batches"][name][key] for row in rows])
                                for key in ("gain", "objects", "growth"))
        error = f" ± {100 * gain.std(ddof=1) / len(gain) ** 0.5:.2f}" if len(gain) > 1 else ""
        lines.append(f"| {name} | {100 * gain.mean():.2f}{error} | {objects.mean():.0f} | {grown.mean():.2f} |")
    noise = [row["noise"] ** 2 for row in rows if row["noise"] is not None]
    varies = f"two trainings of a batch differ by {100 * np.mean(noise) ** 0.5:.2f} points; " if noise else ""
    level = 100 * np.mean([row["random_map"] for row in rows])
    return "\n".join([*lines, "", f"{varies}a random batch reaches {level:.1f}"])


if __name__ == "__main__":
    main()
