"""What every reward, design, representation and estimator is worth: the tables of docs/results/reward.md.

    python benchmarks/reward.py --params params.yaml --out DIR [--data DIR] [--seeds 0,1] [--json]

Reads what `benchmarks/reward_records.py` measured into the same folder. Held-out batches have a true gain: test mAP
after a training with their true labels, the mean of two seeds. A standard error is that over held-out batches
(bootstrap).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from reward_records import Batch, Stage, staged

from mgral.config import TableConfig, read_config
from mgral.lookup.estimator import make_estimator
from mgral.lookup.images import class_mass, detection_entropy
from mgral.lookup.quality import loo_r2, spearman
from mgral.lookup.representation import Representation
from mgral.lookup.sequential import ROUND, next_batches

FIGURES = ("map", "ap50", "soft_ap", "loss", "balanced_loss")
LOSSES = ("loss", "balanced_loss")
AVERAGE = 3
"""Last measurements of four that are averaged."""
REPRESENTATIONS = {
    "mean embedding": ("mean",), "mean, spread": ("mean", "spread"), "histogram": ("histogram",),
    "uncertainty": ("uncertainty",), "diversity": ("diversity",),
    "histogram, uncertainty, diversity": ("histogram", "uncertainty", "diversity"),
    "mean, histogram, uncertainty, diversity": ("mean", "histogram", "uncertainty", "diversity")}
ESTIMATORS = ("inverse_distance", "ridge", "gp", "ensemble")
SLOW = ("mean", "histogram", "uncertainty", "diversity")
"""The representation that the ensemble is tried on, with the class-balanced loss, for its leave-one-out figures take
minutes; it sees the images themselves beside it."""
TABLES = (("semisupervised", "random"), ("semisupervised", "spread"), ("student", "spread"),
          ("student, long", "spread"), ("labelled", "spread"))
RESAMPLES = 400
DRAWS = 8
"""Tables drawn to compare a sequential design with."""


class Measurements:
    """The lines of one seed: figures by key."""

    def __init__(self, path: Path) -> None:
        self.lines = {one["key"]: one for one in map(json.loads, path.read_text().splitlines())}

    def rows(self, prefix: str, repeat: int = 0) -> list[dict]:
        """The lines `prefix`/number/`repeat` in order."""
        found = [(int(key.split("/")[-2]), line) for key, line in self.lines.items()
                 if key.startswith(f"{prefix}/") and key.endswith(f"/{repeat}")]
        return [line for _, line in sorted(found, key=lambda one: one[0])]

    def values(self, prefix: str, figure: str, repeat: int = 0, average: int = 1) -> np.ndarray:
        """A reward of each batch, (n,); the more the better."""
        sign = -1 if figure in LOSSES else 1
        return np.array([sign * np.mean([one[figure] for one in line["curve"][-average:]])
                         for line in self.rows(prefix, repeat)])

    def batches(self, prefix: str) -> list[Batch]:
        return [tuple(line["batch"]) for line in self.rows(prefix)]

    def true_gain(self, figure: str = "map") -> np.ndarray:
        return (self.values("truth", figure, 0) + self.values("truth", figure, 1)) / 2


def signal(found: Measurements) -> list[dict]:
    """Deviations of each reward: between batches, from run to run, and of the latter what is not the seed's alone."""
    rows = []
    for prefix in ("semisupervised/random", "semisupervised/spread", "truth"):
        for figure, average in itertools.product(FIGURES, (1, AVERAGE)):
            again = found.values(prefix, figure, 1, average)
            both = np.column_stack([found.values(prefix, figure, 0, average)[:len(again)], again])
            gap = both[:, 0] - both[:, 1]
            runs, apart = (gap**2).mean() / 2, gap.var(ddof=1) / 2
            between = max(both.var(axis=0, ddof=1).mean() - apart, 0.0)
            rows.append({"table": prefix, "reward": figure, "average": average, "batches": len(both),
                         "between": between**0.5, "runs": runs**0.5, "same_seed": apart**0.5})
    return rows


def estimates(stage: Stage, found: Measurements, config: TableConfig) -> list[dict]:
    """Leave-one-out and held-out figures of every table × reward × representation × estimator."""
    truth, held = found.true_gain(), found.batches("truth")
    rows = []
    for (source, design), (name, blocks) in itertools.product(TABLES, REPRESENTATIONS.items()):
        if (source == "labelled" and "mean" in blocks) or not found.rows(f"{source}/{design}"):
            continue
        batches = found.batches(f"{source}/{design}")
        recorded, asked = described(stage, source, blocks)
        learned, queries = recorded(batches), asked(held)
        for estimator, figure in itertools.product(ESTIMATORS, FIGURES):
            if estimator == "ensemble" and (design, blocks, figure) != ("spread", SLOW, "balanced_loss"):
                continue
            average = AVERAGE
            rewards = found.values(f"{source}/{design}", figure, 0, average)
            settings = config.model_copy(update={"estimator": estimator, "representation": blocks})
            unlearned = make_estimator(settings, recorded, 0)
            left = unlearned.left_out(learned, rewards)
            value = make_estimator(settings, recorded, 0).fit(learned, rewards).predict(queries).value
            rows.append({"source": source, "design": design, "reward": figure, "representation": name,
                         "estimator": estimator, "records": len(rewards), "loo_r2": loo_r2(rewards, left.value),
                         "loo_spearman": spearman(rewards, left.value), "true": spearman(truth, value),
                         "error": bootstrap(truth, value)})
    return rows


def direct(stage: Stage, found: Measurements) -> list[dict]:
    """How well the rewards themselves, and quantities that need no training, rank the true gains."""
    truth, held, seen = found.true_gain(), found.batches("truth"), stage.seen
    first, second = (found.values("truth", "map", repeat) for repeat in (0, 1))
    known = class_mass(seen)[seen.rows(stage.splits.labelled)].sum(axis=0)
    weight = (1 + known.sum()) / (1 + known)
    of = {"objects predicted, classes balanced": class_mass(seen) @ weight,
          "entropy of detections, classes balanced": detection_entropy(seen) @ weight,
          "entropy of detections": detection_entropy(seen).sum(axis=1)}
    values = {f"true {figure}": found.true_gain(figure) for figure in FIGURES[1:]}
    values |= {f"reward {figure}": found.values("direct", figure, 0, AVERAGE) for figure in FIGURES}
    values |= {name: np.array([one[seen.rows(batch)].sum() for batch in held]) for name, one in of.items()}
    rows = [{"by": name, "true": spearman(truth, one), "error": bootstrap(truth, one)} for name, one in values.items()
            if len(one) == len(truth)]
    return [{"by": "another run with true labels", "true": spearman(first, second),
             "error": bootstrap(first, second)}, *rows]


def lengths(found: Measurements) -> list[dict]:
    """Rank correlation of early measurements of long trainings with their end, against the share of the cost."""
    long = found.rows("long/spread")
    rows = []
    for figure, place in itertools.product(FIGURES, range(len(long[0]["curve"]) if long else 0)):
        sign = -1 if figure in LOSSES else 1
        early, late = (np.array([sign * line["curve"][at][figure] for line in long]) for at in (place, -1))
        rows.append({"reward": figure, "share": long[0]["curve"][place]["step"] / long[0]["curve"][-1]["step"],
                     "spearman": spearman(late, early), "error": bootstrap(late, early), "batches": len(long)})
    return rows


def rounds(stage: Stage, found: Measurements, config: TableConfig) -> list[dict]:
    """Held-out figures of tables chosen in rounds from the spread design's batches, against as many of them at random.

    Means over draws of what a table begins with; the error is that of their paired difference.
    """
    truth, held, rows = found.true_gain(), found.batches("truth"), []
    represent = described(stage, "semisupervised", SLOW)[0]
    queries = represent(held)
    for source, estimator, size in itertools.product(("semisupervised", "student"), ("ridge", "gp"), (16, 24)):
        batches, rewards = found.batches(f"{source}/spread"), found.values(f"{source}/spread", "balanced_loss")
        number, rng, gaps = {batch: row for row, batch in enumerate(batches)}, np.random.default_rng(0), []

        def taught(kept: list[int], name=estimator, batches=batches, rewards=rewards):
            settings = config.model_copy(update={"estimator": name, "representation": SLOW})
            return make_estimator(settings, represent, 0).fit(represent([batches[row] for row in kept]), rewards[kept])

        for _ in range(DRAWS):
            order = rng.permutation(len(batches)).tolist()
            kept = order[:size // 2]
            while len(kept) < size:
                left = [batches[row] for row in order if row not in kept]
                wanted = next_batches(represent, taught(kept), left, min(ROUND, size - len(kept)))
                kept += [number[batch] for batch in wanted]
            gaps.append([spearman(truth, taught(rows_).predict(queries).value) for rows_ in (order[:size], kept)])
        spread, sequential = np.array(gaps).T
        rows.append({"source": source, "estimator": estimator, "records": size, "spread": spread.mean(),
                     "sequential": sequential.mean(), "error": (sequential - spread).std(ddof=1) / DRAWS**0.5})
    return rows


def described(stage: Stage, source: str, blocks: tuple[str, ...]) -> tuple[Representation, Representation]:
    """How a source's batches are described, and how those of the pool are."""
    splits, budget = stage.splits, stage.config.study.budget
    asked = Representation(blocks, stage.seen, splits.pool, splits.labelled, budget, 0)
    if source != "labelled":
        return asked, asked
    view = stage.part_seen.of(sorted(splits.labelled))
    return Representation(blocks, view, stage.held, stage.part, len(stage.held) // 2, 0), asked


def bootstrap(one: np.ndarray, other: np.ndarray) -> float:
    """Standard error of the rank correlation."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(one), size=(RESAMPLES, len(one)))
    return float(np.std([spearman(one[rows], other[rows]) for rows in drawn]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    config = read_config(options.params)
    for seed in map(int, options.seeds.split(",")):
        stage = staged(config.model_copy(update={"seed": seed}), options.data, options.out / f"seed-{seed}")
        found = Measurements(options.out / f"{seed}.jsonl")
        tables = {"signal": signal(found), "direct": direct(stage, found), "estimates": estimates(stage, found,
                                                                                               config.table),
                  "rounds": rounds(stage, found, config.table), "lengths": lengths(found)}
        (options.out / f"{seed}.json").write_text(json.dumps(tables, indent=1))
        for name, rows in tables.items() if not options.json else ():
            print(f"\n## {name}, seed {seed}\n\n{markdown(rows)}")
        print(json.dumps({"name": "reward", "seed": seed, "batches": len(found.rows("truth"))}))


def markdown(rows: list[dict]) -> str:
    if not rows:
        return "none"
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
