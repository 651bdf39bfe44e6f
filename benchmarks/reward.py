"""What every reward, design, representation and estimator is worth: the tables of docs/results/reward-finetuned.md.

    python benchmarks/reward.py --params params.yaml --out DIR [--data DIR] [--seeds 0 1] [--records 40] [--held-out 32]
                                [--read] [--json]

Reads what `benchmarks/reward_records.py` measured into the same folder, with the same options; tables that it has not
measured whole are left out. Held-out batches have a true gain: test mAP of the next cycle's detector, trained anew with
their true labels, the mean of two seeds; `noise` in `raw` is what its mAP varies by from run to run, as far as that is
not alike for all. A standard error is that over held-out batches (bootstrap). What is found of a seed is kept in
DIR/SEED.json (ten minutes; `--read` takes it from there), that of all seeds in DIR/NAME.csv; the tables over all seeds
are printed. The last line is one JSON object; `ratio` is the rank correlation of the default table's estimates with the
true gains, `goal` that of another training with true labels.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from harness import hardware, print_line, study_parser
from reward_records import HELD_OUT, MEASUREMENTS, RECORDS, Series, series
from stage import staged

from mgral.config import TableConfig
from mgral.data.dataset import Batch
from mgral.experiments.record import Record, signed
from mgral.experiments.runner import better_half
from mgral.lookup.aggregation import aggregate
from mgral.lookup.estimator import make_estimator
from mgral.lookup.quality import Quality, leave_one_out, spearman
from mgral.lookup.representation import Representation
from mgral.params import read_config
from mgral.pool.statistics import class_mass, detection_entropy
from mgral.strategies import PoolView

FIGURES = ("map", "ap50", "soft_ap", "loss", "balanced_loss")
REPRESENTATIONS = {
    "mean embedding": ("mean",), "histogram": ("histogram",), "uncertainty": ("uncertainty",),
    "diversity": ("diversity",),
    "histogram, uncertainty, diversity": ("histogram", "uncertainty", "diversity"),
    "mean, histogram, uncertainty, diversity": ("mean", "histogram", "uncertainty", "diversity")}
ESTIMATORS = ("inverse_distance", "ridge", "gp", "ensemble")
DEFAULT = ("mean", "histogram", "uncertainty", "diversity")
"""The default representation."""
SHIPPED = {"source": "student", "design": "spread", "reward": "balanced_loss", "estimator": "gp",
           "representation": ", ".join(DEFAULT)}
TABLES = (("semisupervised", "random"), ("semisupervised", "spread"), ("student", "spread"),
          ("student, long", "spread"), ("anew", "spread"))
SOURCES = ("semisupervised", "student", "anew")
ANOTHER = "another run with true labels"
RESAMPLES = 400
DRAWS = 8
"""Tables drawn for each way to spend their cost."""
WAYS = {"24 whole": (24, (), 1), "12 whole": (12, (), 1), "12 with two seeds": (12, (), 2),
        "32, half stopped at half": (32, (2,), 1), "38, half stopped at a quarter": (38, (1,), 1)}
"""Batches, rungs (of four measurements) and seeds: what a table's cost of 24 trainings may be spent on, and half."""


class Measurements:
    """The records of one seed, by series and repeat."""

    def __init__(self, measured: Mapping[str, Series]) -> None:
        self.series = measured
        self.known = {(name, repeat): each.found(repeat) for name, each in measured.items() for repeat in range(2)}

    def records(self, name: str, repeat: int = 0) -> list[Record]:
        return self.known[name, repeat]

    def has(self, name: str) -> bool:
        """Whether all batches of a series were measured once."""
        return len(self.records(name)) == len(self.series[name].batches[0])

    def values(self, name: str, figure: str, repeat: int = 0) -> np.ndarray:
        """A reward of each batch, (n,); the more the better."""
        return np.array([record.reward(figure) for record in self.records(name, repeat)])

    def batches(self, name: str) -> list[Batch]:
        return [record.image_ids for record in self.records(name)]

    def true_gain(self, figure: str = "map") -> np.ndarray:
        return (self.values("truth", figure, 0) + self.values("truth", figure, 1)) / 2


def signal(found: Measurements) -> list[dict]:
    """Deviations of each reward: between batches, from run to run, and of the latter what is not the seed's alone."""
    rows = []
    for prefix in ("semisupervised/random", "semisupervised/spread", "student/spread", "truth"):
        for figure in FIGURES:
            again = found.values(prefix, figure, 1)
            if len(again) < 3:
                continue
            both = np.column_stack([found.values(prefix, figure)[:len(again)], again])
            gap = both[:, 0] - both[:, 1]
            runs, apart = (gap**2).mean() / 2, gap.var(ddof=1) / 2
            between = max(both.var(axis=0, ddof=1).mean() - apart, 0.0)
            rows.append({"table": prefix, "reward": figure, "batches": len(both),
                         "between": between**0.5, "runs": runs**0.5, "same_seed": apart**0.5})
    return rows


def estimates(view: PoolView, found: Measurements, config: TableConfig) -> list[dict]:
    """Leave-one-out and held-out figures of every table × reward × representation × estimator.

    `loo_error`: of records left out, root mean square in deviations; 1 if deviations are right.
    """
    truth, held = found.true_gain(), found.batches("truth")
    rows = []
    for (source, design), (name, blocks) in itertools.product(TABLES, REPRESENTATIONS.items()):
        if not found.has(f"{source}/{design}"):
            continue
        represent = described(view, blocks)
        learned, queries = represent(found.batches(f"{source}/{design}")), represent(held)
        for estimator, figure in itertools.product(ESTIMATORS, FIGURES):
            if estimator == "ensemble" and figure != "balanced_loss":
                continue  # takes seconds
            rewards = found.values(f"{source}/{design}", figure)
            settings = config.model_copy(update={"estimator": estimator})
            left = leave_one_out(make_estimator(settings, represent, 0), learned, rewards)
            value = make_estimator(settings, represent, 0).fit(learned, rewards).predict(queries).value
            quality = Quality.of(rewards, left)
            rows.append({"source": source, "design": design, "reward": figure, "representation": name,
                         "estimator": estimator, "records": quality.records, "loo_r2": quality.loo_r2,
                         "loo_error": in_deviations(rewards - left.value, left.deviation),
                         "loo_spearman": quality.spearman, "true": spearman(truth, value),
                         "error": bootstrap(truth, value)})
    return rows


def in_deviations(errors: np.ndarray, deviations: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean((errors / np.maximum(deviations, 1e-12)) ** 2)))


def direct(view: PoolView, found: Measurements) -> list[dict]:
    """How well the rewards themselves, and quantities that need no training, rank the true gains."""
    truth, held, seen = found.true_gain(), found.batches("truth"), view.inspection
    first, second = (found.values("truth", "map", repeat) for repeat in (0, 1))
    known = class_mass(seen)[seen.rows(view.labelled)].sum(axis=0)
    weight = (1 + known.sum()) / (1 + known)
    of = {"objects predicted, classes balanced": class_mass(seen) @ weight,
          "entropy of detections, classes balanced": detection_entropy(seen) @ weight,
          "entropy of detections": detection_entropy(seen).sum(axis=1)}
    values = {f"true {figure}": found.true_gain(figure) for figure in FIGURES[1:]}
    values |= {f"{source} {figure}": found.values(f"{source}/direct", figure) for source in SOURCES
               for figure in FIGURES}
    values |= {name: np.array([worth[seen.rows(batch)].sum() for batch in held]) for name, worth in of.items()}
    rows = [{"by": name, "true": spearman(truth, value), "error": bootstrap(truth, value)}
            for name, value in values.items() if len(value) == len(truth)]
    return [{"by": ANOTHER, "true": spearman(first, second),
             "error": bootstrap(first, second)}, *rows]


def lengths(long: Sequence[Record]) -> list[dict]:
    """Rank correlation of early measurements of long trainings with their end, against the share of the cost."""
    rows = []
    for figure, place in itertools.product(FIGURES, range(len(long[0].curve) if long else 0)):
        early, late = (np.array([signed(record.curve[at], figure) for record in long]) for at in (place, -1))
        rows.append({"reward": figure, "share": long[0].curve[place]["step"] / long[0].steps,
                     "spearman": spearman(late, early), "error": bootstrap(late, early), "batches": len(long)})
    return rows


def spent(view: PoolView, found: Measurements, config: TableConfig) -> list[dict]:
    """Held-out figures of tables that cost as much as 24 whole trainings, each spent in another way.

    Means over draws of the batches from the spread design's; the error is that of the paired difference to 24 whole
    trainings. Class-balanced loss, for it is what a rung looks at.
    """
    truth, rows, represent = found.true_gain(), [], described(view, DEFAULT)
    queries = represent(found.batches("truth"))
    for source, estimator in itertools.product(("semisupervised", "student"), ("ridge", "gp")):
        settings = config.model_copy(update={"estimator": estimator, "measurements": MEASUREMENTS})
        first, again = (found.records(f"{source}/spread", repeat) for repeat in range(2))
        if not first:
            continue
        rng, reached = np.random.default_rng(0), {name: [] for name in WAYS}
        for _ in range(DRAWS):
            order = rng.permutation(len(first)).tolist()
            for name, (count, rungs, repeats) in WAYS.items():
                if repeats > 1 and len(again) < len(first):
                    continue
                others = [again[row] for row in order[:count]] if repeats > 1 else []
                known = aggregate(stopped([first[row] for row in order[:count]], rungs) + others, "balanced_loss")
                learned = make_estimator(settings, represent, 0).fit(represent(known.batches), known.rewards,
                                                                     known.noise)
                reached[name].append(spearman(truth, learned.predict(queries).value))
        plain = np.array(reached["24 whole"])
        rows += [{"source": source, "estimator": estimator, "spent on": name, "true": np.mean(values),
                  "gain": np.mean(values - plain), "error": (values - plain).std(ddof=1) / DRAWS**0.5}
                 for name, values in ((name, np.array(values)) for name, values in reached.items() if values)]
    return rows


def stopped(records: list[Record], rungs: Sequence[int]) -> list[Record]:
    """What a table with such rungs would hold: of whole trainings the less promising half stops at each of them."""
    ended = []
    for rung in rungs:
        paused = [replace(record, figures=record.curve[rung - 1], curve=record.curve[:rung],
                          steps=record.curve[rung - 1]["step"]) for record in records]
        going = {record.fingerprint for record in better_half(paused, "balanced_loss")}
        ended += [record for record in paused if record.fingerprint not in going]
        records = [record for record in records if record.fingerprint in going]
    return ended + records


def described(view: PoolView, blocks: tuple[str, ...]) -> Representation:
    return Representation(blocks, view.inspection, view.pool, view.labelled, view.setup.budget, 0)


def bootstrap(first: np.ndarray, second: np.ndarray) -> float:
    """Standard error of the rank correlation."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(first), size=(RESAMPLES, len(first)))
    return float(np.std([spearman(first[rows], second[rows]) for rows in drawn]))


def main() -> None:
    parser = study_parser(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--held-out", type=int, default=HELD_OUT)
    parser.add_argument("--read", action="store_true", help="take DIR/SEED.json as earlier calls left them")
    options = parser.parse_args()
    config, together = read_config(options.params), {}
    for seed in options.seeds:
        path = options.out / f"{seed}.json"
        if not options.read:
            with staged(config, options.data, options.out, seed) as view:
                found = Measurements(series(view, options.records, options.held_out))
                path.write_text(json.dumps(tables(view, found), indent=1))
        for name, rows in json.loads(path.read_text()).items():
            together.setdefault(name, []).extend({"seed": seed, **row} for row in rows)
    for name, rows in together.items():
        if rows:
            write_csv(options.out / f"{name}.csv", rows)
    for name, text in () if options.json else summary(together).items():
        print(f"\n## {name}\n\n{text}")
    shipped = [row for row in together["estimates"] if SHIPPED.items() <= row.items()]
    goal = [row for row in together["direct"] if row["by"] == ANOTHER]
    noise = [row["same_seed"]**2 for row in together["signal"] if (row["table"], row["reward"]) == ("truth", "map")]
    print_line("reward", round(mean(shipped, "true"), 3), round(mean(goal, "true"), 3),
               {"seeds": options.seeds, "noise": round(float(np.mean(noise))**0.5, 5),
                **{name: len(rows) for name, rows in together.items()}, **hardware()})


def tables(view: PoolView, found: Measurements) -> dict[str, list[dict]]:
    """All that is said of one seed."""
    config = view.setup.config
    return {"signal": signal(found), "direct": direct(view, found), "estimates": estimates(view, found, config),
            "spent": spent(view, found, config),
            "lengths": lengths(found.records("long/spread")) if found.has("long/spread") else []}


def write_csv(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()}
                         for row in rows)


def summary(found: dict[str, list[dict]]) -> dict[str, str]:
    """The tables of docs/results/reward-finetuned.md over all seeds: deviations by root mean square, else the mean.

    The error of a mean takes the seeds' errors for independent.
    """
    default = [row for row in found["estimates"] if row["representation"] == ", ".join(DEFAULT)]
    balanced = [row for row in found["estimates"] if row["reward"] == "balanced_loss"]
    usual = [row for row in default if row["reward"] == "balanced_loss"]
    sides = {name: [{**row, "figure": name, "value": row[name]} for row in found["signal"]]
             for name in ("between", "runs", "same_seed")}
    return {
        "signal": pivot([row for rows in sides.values() for row in rows], ("table", "reward"), "figure",
                        lambda rows: f"{np.mean([row['value']**2 for row in rows])**0.5:.4f}"),
        "direct": pivot(found["direct"], ("by",), "seed", correlation),
        "estimates": pivot(default, ("source", "design", "reward"), "estimator", fitted),
        "of each seed": pivot(usual, ("source", "design", "estimator"), "seed", fitted),
        "representations": pivot(balanced, ("source", "design", "representation"), "estimator", fitted),
        "spent": pivot(found["spent"], ("source", "spent on"), "estimator",
                       lambda rows: f"{mean(rows, 'true'):.2f}; {mean(rows, 'gain'):+.2f} ± {error(rows):.2f}"),
        "deviations": pivot(usual, ("source", "design"), "estimator",
                            lambda rows: f"{min(row['loo_error'] for row in rows):.2f} to "
                                         f"{max(row['loo_error'] for row in rows):.2f}"),
        "lengths": pivot(found["lengths"], ("share",), "reward",
                         lambda rows: f"{mean(rows, 'spearman'):.2f} ± {error(rows):.2f}")}


def pivot(rows: list[dict], index: tuple[str, ...], column: str, cell: Callable[[list[dict]], str]) -> str:
    """A table of cells, each of the rows that it stands for."""
    columns = list(dict.fromkeys(row[column] for row in rows))
    groups: dict[tuple, dict] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in index), {}).setdefault(row[column], []).append(row)
    return markdown([{**dict(zip(index, key, strict=True)),
                      **{str(name): cell(each[name]) if name in each else "" for name in columns}}
                     for key, each in groups.items()])


def mean(rows: list[dict], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def error(rows: list[dict]) -> float:
    return float(np.sqrt(np.sum([row["error"]**2 for row in rows])) / len(rows))


def correlation(rows: list[dict]) -> str:
    return f"{mean(rows, 'true'):.2f} ± {error(rows):.2f}"


def fitted(rows: list[dict]) -> str:
    return f"{mean(rows, 'loo_r2'):.2f} / {correlation(rows)}"


def markdown(rows: list[dict]) -> str:
    if not rows:
        return "none"
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
