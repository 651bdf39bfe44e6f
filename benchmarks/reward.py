"""What every reward, design, representation and estimator is worth: the tables of docs/results/reward.md.

    python benchmarks/reward.py --params params.yaml --out DIR [--data DIR] [--seeds 0,1] [--read] [--json]

Reads what `benchmarks/reward_records.py` measured into the same folder; tables that it has not measured whole are left
out. Held-out batches have a true gain: test mAP after a training with their true labels, the mean of two seeds. A
standard error is that over held-out batches (bootstrap). What is found of a seed is kept in DIR/SEED.json (ten
minutes; `--read` takes it from there), that of all seeds in DIR/NAME.csv; the tables over all seeds are printed.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import reward_records
from reward_records import MEASUREMENTS, Batch, Stage, staged

from mgral.config import TableConfig
from mgral.lookup.estimator import Estimator, make_estimator
from mgral.lookup.fidelity import better_half, settle
from mgral.lookup.images import class_mass, detection_entropy
from mgral.lookup.quality import loo_r2, spearman
from mgral.lookup.representation import Representation
from mgral.lookup.sequential import ROUND, next_batches
from mgral.lookup.store import Record
from mgral.params import read_config

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
DEFAULT = ("mean", "histogram", "uncertainty", "diversity")
"""The default representation."""
WHITENINGS = ("columns", "blocks")
TABLES = (("semisupervised", "random"), ("semisupervised", "spread"), ("student", "spread"),
          ("student, long", "spread"), ("labelled", "spread"))
RESAMPLES = 400
DRAWS = 8
"""Tables drawn to compare a sequential design with."""
SIZES = (16, 24)
"""Records of such tables."""
WAYS = {"24 whole": (24, (), 1), "12 whole": (12, (), 1), "12 with two seeds": (12, (), 2),
        "32, half stopped at half": (32, (2,), 1), "38, half stopped at a quarter": (38, (1,), 1)}
"""Batches, rungs (of four measurements) and seeds: what a table's cost of 24 trainings may be spent on, and half."""


class Measurements:
    """The lines of one seed: figures by key."""

    def __init__(self, path: Path) -> None:
        self.lines = {one["key"]: one for one in map(json.loads, path.read_text().splitlines())}

    def rows(self, prefix: str, repeat: int = 0) -> list[dict]:
        """The lines `prefix`/number/`repeat` in order."""
        found = [(int(key.split("/")[-2]), line) for key, line in self.lines.items()
                 if key.startswith(f"{prefix}/") and key.endswith(f"/{repeat}")]
        return [line for _, line in sorted(found, key=lambda one: one[0])]

    def has(self, prefix: str) -> bool:
        """Whether all of a table is there."""
        return len(self.rows(prefix)) >= reward_records.RECORDS

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
            if len(again) < 3:
                continue
            both = np.column_stack([found.values(prefix, figure, 0, average)[:len(again)], again])
            gap = both[:, 0] - both[:, 1]
            runs, apart = (gap**2).mean() / 2, gap.var(ddof=1) / 2
            between = max(both.var(axis=0, ddof=1).mean() - apart, 0.0)
            rows.append({"table": prefix, "reward": figure, "average": average, "batches": len(both),
                         "between": between**0.5, "runs": runs**0.5, "same_seed": apart**0.5})
    return rows


def estimates(stage: Stage, found: Measurements, config: TableConfig) -> list[dict]:
    """Leave-one-out and held-out figures of every table × reward × representation × estimator.

    `loo_error`: of records left out, root mean square in deviations; 1 if deviations are right.
    """
    truth, held = found.true_gain(), found.batches("truth")
    rows = []
    for (source, design), (name, blocks), whitening in itertools.product(TABLES, REPRESENTATIONS.items(), WHITENINGS):
        if (source == "labelled" and "mean" in blocks) or not found.has(f"{source}/{design}"):
            continue
        batches = found.batches(f"{source}/{design}")
        recorded, asked = described(stage, source, blocks, whitening)
        learned, queries = recorded(batches), asked(held)
        for estimator, figure in itertools.product(ESTIMATORS, FIGURES):
            if estimator == "ensemble" and (whitening == "blocks" or source == "labelled" or figure != "balanced_loss"):
                continue  # takes seconds; and looks at images, of which a played pool has others
            rewards = found.values(f"{source}/{design}", figure, 0, AVERAGE)
            settings = config.model_copy(update={"estimator": estimator, "representation": blocks})
            unlearned = make_estimator(settings, recorded, 0)
            left = unlearned.left_out(learned, rewards)
            value = make_estimator(settings, recorded, 0).fit(learned, rewards).predict(queries).value
            rows.append({"source": source, "design": design, "reward": figure, "representation": name,
                         "whitening": whitening, "estimator": estimator, "records": len(rewards),
                         "loo_r2": loo_r2(rewards, left.value),
                         "loo_error": in_deviations(rewards - left.value, left.deviation),
                         "loo_spearman": spearman(rewards, left.value), "true": spearman(truth, value),
                         "error": bootstrap(truth, value)})
    return rows


def in_deviations(errors: np.ndarray, deviations: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean((errors / np.maximum(deviations, 1e-12)) ** 2)))


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
    """Figures of tables chosen in rounds from the spread design's batches, beside as many of them at random.

    Means over draws of what a table begins with; `error` is that of the paired difference between the two.
    """
    truth, held, rows = found.true_gain(), found.batches("truth"), []
    tables = itertools.product(("semisupervised", "student"), REPRESENTATIONS.items(), ESTIMATORS, SIZES)
    for source, (name, blocks), estimator, size in tables:
        if len(found.rows(f"{source}/spread")) < size:
            continue
        represent = described(stage, source, blocks)[0]
        settings = config.model_copy(update={"estimator": estimator, "representation": blocks})
        batches, queries = found.batches(f"{source}/spread"), represent(held)
        learned, rewards = represent(batches), found.values(f"{source}/spread", "balanced_loss", 0, AVERAGE)

        def taught(kept: list[int], settings=settings, represent=represent, learned=learned, rewards=rewards):
            return make_estimator(settings, represent, 0).fit(learned[kept], rewards[kept])

        rng, reached = np.random.default_rng(0), []
        for _ in range(DRAWS):
            order = rng.permutation(len(batches)).tolist()
            kept = in_rounds(represent, batches, order, size, taught)
            left = make_estimator(settings, represent, 0).left_out(learned[kept], rewards[kept]).value
            reached.append((loo_r2(rewards[kept], left),
                            *(spearman(truth, taught(one).predict(queries).value) for one in (kept, order[:size]))))
        loo, sequential, spread = np.array(reached).T
        rows.append({"source": source, "representation": name, "estimator": estimator, "records": size,
                     "loo_r2": loo.mean(), "sequential": sequential.mean(), "spread": spread.mean(),
                     "error": (sequential - spread).std(ddof=1) / DRAWS**0.5})
    return rows


def in_rounds(represent: Representation, batches: list[Batch], order: list[int], size: int,
              taught: Callable[[list[int]], Estimator]) -> list[int]:
    """Half as many as asked for in this order, the others as the estimator wants them round by round."""
    number, kept = {batch: row for row, batch in enumerate(batches)}, order[:size // 2]
    while len(kept) < size:
        left = [batches[row] for row in order if row not in kept]
        kept = kept + [number[one] for one in next_batches(represent, taught(kept), left, min(ROUND, size - len(kept)))]
    return kept


def spent(stage: Stage, found: Measurements, config: TableConfig) -> list[dict]:
    """Held-out figures of tables that cost as much as 24 whole trainings, each spent in another way.

    Means over draws of the batches from the spread design's; the error is that of the paired difference to 24 whole
    trainings. Class-balanced loss at the last measurement, for it is what a rung looks at.
    """
    truth, held, rows = found.true_gain(), found.batches("truth"), []
    represent = described(stage, "semisupervised", DEFAULT)[0]
    queries = represent(held)
    for source, estimator in itertools.product(("semisupervised", "student"), ("ridge", "gp")):
        settings = config.model_copy(update={"estimator": estimator, "representation": DEFAULT, "average": 1,
                                             "measurements": MEASUREMENTS, "reward": "balanced_loss"})
        first, again = (found.rows(f"{source}/spread", repeat) for repeat in range(2))
        if not first:
            continue
        rng, reached = np.random.default_rng(0), {name: [] for name in WAYS}
        for _ in range(DRAWS):
            order = rng.permutation(len(first)).tolist()
            for name, (count, rungs, repeats) in WAYS.items():
                if repeats > 1 and len(again) < len(first):
                    continue
                records = [whole(line) for line in (first[row] for row in order[:count])]
                left, stopped = records, []
                for rung in rungs:
                    going = better_half([cut(one, rung) for one in left], settings)
                    kept = {one.image_ids for one in going}
                    stopped += [cut(one, rung) for one in left if one.image_ids not in kept]
                    left = [one for one in left if one.image_ids in kept]
                others = [whole(again[row], 1) for row in order[:count]] if repeats > 1 else []
                settled = settle([*stopped, *left, *others], settings)
                learned = make_estimator(settings, represent, 0).fit(represent(settled.batches), settled.rewards,
                                                                     settled.noise)
                reached[name].append(spearman(truth, learned.predict(queries).value))
        plain = np.array(reached["24 whole"])
        rows += [{"source": source, "estimator": estimator, "spent on": name, "true": np.mean(one),
                  "gain": np.mean(one - plain), "error": (one - plain).std(ddof=1) / DRAWS**0.5}
                 for name, one in ((name, np.array(one)) for name, one in reached.items() if one)]
    return rows


def whole(line: dict, repeat: int = 0) -> Record:
    """The measurements of a line as a record of the table."""
    end = line["curve"][-1]
    return Record(fingerprint=f"{line['key']}", scope="", study="", strategy="", cycle=1, snapshot="", origin="design",
                  image_ids=tuple(line["batch"]), seed=repeat, labelled=0, map=end["map"], ap50=end["ap50"],
                  balanced_loss=end["balanced_loss"], loss=end["loss"], per_class={}, seconds=line["seconds"],
                  steps=end["step"], code="", repeat=repeat, curve=tuple(line["curve"]))


def cut(record: Record, rung: int) -> Record:
    """The same, stopped after so many measurements."""
    return replace(record, curve=record.curve[:rung], steps=record.curve[rung - 1]["step"])


def described(stage: Stage, source: str, blocks: tuple[str, ...],
              whitening: str = "columns") -> tuple[Representation, Representation]:
    """How a source's batches are described, and how those of the pool are."""
    splits, budget = stage.splits, stage.config.study.budget
    asked = Representation(blocks, stage.seen, splits.pool, splits.labelled, budget, 0, whitening)
    if source != "labelled":
        return asked, asked
    view = stage.part_seen.of(sorted(splits.labelled))
    return Representation(blocks, view, stage.held, stage.part, len(stage.held) // 2, 0, whitening), asked


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
    parser.add_argument("--read", action="store_true", help="take DIR/SEED.json as earlier calls left them")
    parser.add_argument("--json", action="store_true", help="print JSON lines only")
    options = parser.parse_args()
    config, every = read_config(options.params), []
    for seed in map(int, options.seeds.split(",")):
        path = options.out / f"{seed}.json"
        if not options.read:
            stage = staged(config.model_copy(update={"seed": seed}), options.data, options.out / f"seed-{seed}")
            found = Measurements(options.out / f"{seed}.jsonl")
            path.write_text(json.dumps(tables(stage, found, config.table), indent=1))
        every.append({name: [{"seed": seed, **row} for row in rows]
                      for name, rows in json.loads(path.read_text()).items()})
        print(json.dumps({"name": "reward", "seed": seed, **{name: len(rows) for name, rows in every[-1].items()}}))
    together = {name: [row for one in every for row in one[name]] for name in every[0]}
    for name, rows in together.items():
        if rows:
            write_csv(options.out / f"{name}.csv", rows)
    for name, text in () if options.json else summary(together).items():
        print(f"\n## {name}\n\n{text}")


def tables(stage: Stage, found: Measurements, config: TableConfig) -> dict[str, list[dict]]:
    """All that is said of one seed."""
    return {"signal": signal(found), "direct": direct(stage, found), "estimates": estimates(stage, found, config),
            "rounds": rounds(stage, found, config), "spent": spent(stage, found, config),
            "lengths": lengths(found) if found.has("long/spread") else []}


def write_csv(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()}
                         for row in rows)


def summary(found: dict[str, list[dict]]) -> dict[str, str]:
    """The tables of docs/results/reward.md, over all seeds: deviations by root mean square, all else by the mean.

    The error of a mean takes the seeds' errors for independent.
    """
    plain = [row for row in found["estimates"] if row["whitening"] == "columns"]
    default = [row for row in plain if row["representation"] == names_of(row["source"])]
    balanced = [row for row in plain if row["reward"] == "balanced_loss"]
    usual = [row for row in default if row["reward"] == "balanced_loss"]
    sides = {name: [{**row, "figure": name, "value": row[name]} for row in found["signal"] if row["average"] == 1]
             for name in ("between", "runs", "same_seed")}
    return {
        "signal": pivot([row for rows in sides.values() for row in rows], ("table", "reward"), "figure",
                        lambda rows: f"{np.mean([row['value']**2 for row in rows])**0.5:.4f}"),
        "direct": pivot(found["direct"], ("by",), "seed", correlation),
        "estimates": pivot(default, ("source", "design", "reward"), "estimator", fitted),
        "of each seed": pivot(usual, ("source", "design", "estimator"), "seed", fitted),
        "representations": pivot(balanced, ("source", "design", "representation"), "estimator", fitted),
        "rounds": pivot([{**row, "true": row["sequential"], "design": f"sequential, {row['records']}"}
                         for row in found["rounds"]], ("source", "design", "representation"), "estimator", changed),
        "spent": pivot(found["spent"], ("source", "spent on"), "estimator",
                       lambda rows: f"{mean(rows, 'true'):.2f}; {mean(rows, 'gain'):+.2f} ± {error(rows):.2f}"),
        "deviations": pivot(usual, ("source", "design"), "estimator",
                            lambda rows: f"{min(row['loo_error'] for row in rows):.2f} to "
                                         f"{max(row['loo_error'] for row in rows):.2f}"),
        "lengths": pivot(found["lengths"], ("share",), "reward",
                         lambda rows: f"{mean(rows, 'spearman'):.2f} ± {error(rows):.2f}")}


def names_of(source: str) -> str:
    """The default representation, as far as a source has it."""
    blocks = DEFAULT[1:] if source == "labelled" else DEFAULT
    return next(name for name, each in REPRESENTATIONS.items() if each == blocks)


def pivot(rows: list[dict], index: tuple[str, ...], column: str, cell: Callable[[list[dict]], str]) -> str:
    """A table of cells, each of the rows that it stands for."""
    columns = list(dict.fromkeys(row[column] for row in rows))
    groups: dict[tuple, dict] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in index), {}).setdefault(row[column], []).append(row)
    return markdown([{**dict(zip(index, key, strict=True)),
                      **{str(one): cell(each[one]) if one in each else "" for one in columns}}
                     for key, each in groups.items()])


def mean(rows: list[dict], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def error(rows: list[dict]) -> float:
    return float(np.sqrt(np.sum([row["error"]**2 for row in rows])) / len(rows))


def correlation(rows: list[dict]) -> str:
    return f"{mean(rows, 'true'):.2f} ± {error(rows):.2f}"


def fitted(rows: list[dict]) -> str:
    return f"{mean(rows, 'loo_r2'):.2f} / {correlation(rows)}"


def changed(rows: list[dict]) -> str:
    """With the paired difference to as many batches at random."""
    gain = mean(rows, "sequential") - mean(rows, "spread")
    return f"{mean(rows, 'loo_r2'):.2f} / {mean(rows, 'true'):.2f}; {gain:+.2f} ± {error(rows):.2f}"


def markdown(rows: list[dict]) -> str:
    if not rows:
        return "none"
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
