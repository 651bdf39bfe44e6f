"""The agent against its controls over seeds, in estimate and in true gain: the tables of docs/results/agent.md.

    python benchmarks/agent.py --params params.yaml --out DIR [--data DIR] [--seeds 10] [--records 24] [--json]

Each seed draws its own scenes or splits, trains the cycle's detector, measures a table of experiments as the settings
say and lets every searcher search it with as many queries. The batches that they choose are then trained on with their
true labels, all from one seed of chance; the figure is test mAP less the mean of four random batches. `checked`: a real
experiment on the agent's batch, and of all that was measured the best. `measured_best`: the best of the table, as
measured, and of a table of six records more; `best_record`: as estimated; `rare_first` knows the truth and tells how
much there is to gain. Each seed is a line of DIR/agent.jsonl: a run that is interrupted goes on behind the last one.
The last line is one JSON object; `ratio` is the agent's mean true gain over that of the best of its controls.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from reward_records import Batch, Stage, semisupervised, staged, student, true_gain

from mgral.agent.search import Search
from mgral.config import SearchConfig, TableConfig
from mgral.lookup.controls import compare
from mgral.lookup.design import design_batches
from mgral.lookup.estimator import Estimator, make_estimator
from mgral.lookup.quality import Quality, leave_one_out
from mgral.lookup.representation import Representation
from mgral.lookup.reward import TableReward
from mgral.params import read_config
from mgral.strategies import PoolView, choose
from mgral.study.fingerprint import derived_seed

PAPER = {"iterations": 1920, "batches_per_iteration": 1, "lr": 3.5e-4, "baseline": "paper", "entropy_weight": 0.0,
         "caution": 0.0, "pool_order": "id", "polish": 0}
"""The printed agent, with as many queries as the default."""
LOSSES = ("loss", "balanced_loss")
MORE = 6
"""Records that a table of more has beyond the others'."""
RANDOM = 4
"""Random batches whose mean true gain the others are compared with."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--records", type=int, default=24)
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    options = parser.parse_args()
    config = read_config(options.params)
    if config.table.source == "labelled":
        parser.error("expected table.source semisupervised or student, got labelled, which cannot measure the pool's "
                     "batches")
    path = options.out / "agent.jsonl"
    options.out.mkdir(parents=True, exist_ok=True)
    done = {one["seed"] for one in read(path)}
    for seed in range(options.first, options.first + options.seeds):
        if seed not in done:
            stage = staged(config.model_copy(update={"seed": seed}), options.data, options.out / f"seed-{seed}")
            line = {"seed": seed, **searched(stage, options.records, None if options.json else print)}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
    rows = read(path)
    if not options.json:
        print(summary(rows))
    gains = {name: np.mean([row["gain"][name] for row in rows]) for name in rows[0]["gain"]}
    others = [name for name in gains if not name.startswith("agent") and name not in ("random", "rare_first")]
    best = max(others, key=gains.get)
    print(json.dumps({"name": "agent", "ratio": round(float(gains["agent"] / gains[best]), 3), "goal": 1.0,
                      "best_control": best, "seeds": len(rows),
                      "gain": {name: round(float(one), 5) for name, one in gains.items()}}))


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def searched(stage: Stage, records: int, say) -> dict:
    """What every searcher chose from one table: estimates less their deviation, and true gains over random batches."""
    config, splits, budget = stage.config, stage.splits, stage.config.study.budget
    worth = cache(partial(rewarded, stage))
    estimator, represent, quality, batches = filled(stage, records, worth)
    chosen = {name: _search(stage, settings, TableReward(represent, estimator, _no_experiment, 0,
                                                         caution=settings.caution))
              for name, settings in agents(config.search).items()}
    measured = {name: worth(batch) for name, batch in chosen.items()} | {"best_record": max(map(worth, batches))}
    chosen |= {f"{name}, checked": max([batch, *batches], key=worth) for name, batch in chosen.items()}
    chosen |= {"measured_best": max(batches, key=worth),
               "measured_best of more": max(batches_of(stage, records + MORE), key=worth)}
    view = PoolView(splits.pool, splits.labelled, stage.seen, stage.dataset.boxes)
    heuristic, knowing = (tuple(sorted(choose(name, view, budget, np.random.default_rng(config.seed))))
                          for name in ("balanced_entropy", "rare_first"))
    queries = config.search.iterations * config.search.batches_per_iteration + config.search.polish
    reward = TableReward(represent, estimator, _no_experiment, 0, caution=config.search.caution)
    controls = compare(reward.estimate, splits.pool, heuristic, batches, queries, config.seed)
    chosen |= {name: control.ids for name, control in controls.items() if name != "random"}
    chosen["rare_first"] = knowing
    value = dict(zip(chosen, reward.estimate(list(chosen.values())).tolist(), strict=True))
    value["random"] = controls["random"].value
    true_map = cache(lambda batch: true_gain(stage, batch, 0, measurements=1)["curve"][-1]["map"])
    rng, ids = np.random.default_rng([config.seed, 1]), np.array(sorted(splits.pool))
    drawn = [tuple(sorted(rng.choice(ids, budget, replace=False).tolist())) for _ in range(RANDOM)]
    level = np.mean([true_map(batch) for batch in drawn])
    gain = {name: true_map(batch) - level for name, batch in chosen.items()} | {"random": 0.0}
    if say:
        say(f"seed {config.seed}: {quality}; "
            + ", ".join(f"{name} {value[name]:.3f} {100 * gain[name]:+.2f}" for name in gain))
    return {"loo_r2": quality.loo_r2, "spearman": quality.spearman, "value": value, "gain": gain,
            "measured": measured | {"balanced_entropy": worth(heuristic)}}


def agents(settings: SearchConfig) -> dict[str, SearchConfig]:
    """The searches that are compared."""
    return {"agent": settings, "agent, caution 1": settings.model_copy(update={"caution": 1.0}),
            "agent, polished": polished(settings), "agent, paper": SearchConfig(**PAPER)}


def _search(stage: Stage, settings: SearchConfig, judge: TableReward) -> Batch:
    pool = stage.splits.pool
    search = Search(pool, stage.seen.of(pool).embedding, stage.config.study.budget, judge, settings,
                    derived_seed(stage.config.seed, "agent"))
    for _ in search:
        pass
    return search.choose().ids


def polished(settings: SearchConfig) -> SearchConfig:
    """A third of the agent's queries spent on exchanges instead."""
    rounds = settings.iterations // 3
    return settings.model_copy(update={"iterations": settings.iterations - rounds,
                                       "polish": rounds * settings.batches_per_iteration})


def filled(stage: Stage, records: int,
           worth: Callable[[Batch], float]) -> tuple[Estimator, Representation, Quality, list[Batch]]:
    """An estimator taught by a table of so many records, how batches are described to it, and what it is worth."""
    config, splits, table = stage.config, stage.splits, stage.config.table
    represent = Representation(table.representation, stage.seen, splits.pool, splits.labelled, config.study.budget,
                               config.seed, table.whitening)
    design = batches_of(stage, records)
    rewards = np.array([worth(batch) for batch in design])
    described, unlearned = represent(design), make_estimator(table, represent, config.seed)
    quality = Quality.of(rewards, leave_one_out(unlearned, described, rewards))
    return unlearned.fit(described, rewards), represent, quality, design


def batches_of(stage: Stage, records: int) -> list[Batch]:
    """The batches that a table measures."""
    config, splits = stage.config, stage.splits
    settings = TableConfig(records=records, design=config.table.design)
    return design_batches(settings, stage.seen, splits.pool, splits.labelled, config.study.budget, config.seed)


def rewarded(stage: Stage, batch: Batch) -> float:
    """What one experiment says that a batch is worth."""
    table = stage.config.table
    measure = {"semisupervised": semisupervised, "student": student}[table.source]
    curve = measure(stage, batch, 0)["curve"][-table.average:]
    return (-1 if table.reward in LOSSES else 1) * float(np.mean([one[table.reward] for one in curve]))


def _no_experiment(batch: Batch) -> float:
    raise RuntimeError("expected no fall-back experiment")


def summary(rows: list[dict]) -> str:
    """Means over seeds with their standard errors, and how often the agent is ahead."""
    lines = ["| chosen by | estimate - deviation | true gain over random, mAP points | agent ahead |",
             "| --- | --- | --- | --- |"]
    for name in rows[0]["gain"]:
        value, gain, agent = (np.array([row[key][one] for row in rows])
                              for key, one in (("value", name), ("gain", name), ("gain", "agent")))
        lines.append(f"| {name} | {value.mean():.4f} | {_with_error(100 * gain)} | "
                     f"{'' if name == 'agent' else f'{int((agent > gain).sum())} of {len(rows)}'} |")
    worth = ", ".join(f"{name} {_with_error(np.array([row[name] for row in rows]))}" for name in ("loo_r2", "spearman"))
    return "\n".join([*lines, "", f"tables: {worth}"])


def _with_error(values: np.ndarray) -> str:
    error = f" ± {values.std(ddof=1) / len(values) ** 0.5:.2f}" if len(values) > 1 else ""
    return f"{values.mean():.2f}{error}"


if __name__ == "__main__":
    main()
