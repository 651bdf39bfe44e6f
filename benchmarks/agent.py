"""The agent against its controls over seeds, in estimate and in true gain: the tables of docs/results/agent.md.

    python benchmarks/agent.py --params params.yaml --out DIR [--data DIR] [--seeds 10] [--first 0] [--records 24]
                               [--json]

Each seed draws its own scenes or splits, trains the cycle's detector, measures a table of experiments as the settings
say and lets every searcher search it with as many queries. With the true labels of each batch that they choose the next
cycle's detector is then trained anew, from the same two seeds of chance; the figure is mean test mAP less that of four
random batches, `noise` what it varies by between two trainings, as far as that differs by batch. `checked`: a real
experiment on the agent's batch, and of all that was measured the best. `measured_best`: the best of the table, as
measured, and of a table of six records more; `best_record`: as estimated; `rare_first` knows the truth and tells how
much there is to gain. What is measured and searched is kept under DIR: a run that is interrupted goes on behind it. The
last line is one JSON object; `ratio` is the agent's mean true gain over that of the best of its controls.
"""

from __future__ import annotations

import os
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from harness import hardware, print_line, study_parser
from reward_records import Series
from stage import staged

from mgral import strategies
from mgral.config import AgentConfig, SearchConfig
from mgral.data.dataset import Batch
from mgral.experiments.record import TRUE_REPEATS
from mgral.generators import finished
from mgral.lookup.aggregation import aggregate
from mgral.params import read_config
from mgral.search.run import SearchOutcome, after_check
from mgral.search.strategy import Fitted
from mgral.strategies import PoolView

PAPER = SearchConfig(iterations=1920, risk_aversion=0.0, agent=AgentConfig(batches_per_iteration=1, lr=3.5e-4,
                                                                          baseline="paper", entropy_weight=0.0))
"""The printed agent, with as many queries as the default."""
MORE = 6
"""Records that a table of more has beyond the others'."""
RANDOM = 4
"""Random batches whose mean true gain the others are compared with."""
MGRAL = strategies.get("mgral")


def main() -> None:
    parser = study_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--records", type=int, default=24)
    options = parser.parse_args()
    config, rows = read_config(options.params), []
    for seed in range(options.first, options.first + options.seeds):
        with staged(config, options.data, options.out, seed) as view:
            rows.append(searched(view, options.records))
        if not options.json:
            print(f"seed {seed}: leave-one-out R² {rows[-1]['loo_r2']:.2f}; " + ", ".join(
                f"{name} {rows[-1]['value'][name]:.3f} {100 * gain:+.2f}" for name, gain in rows[-1]["gain"].items()))
    if not options.json:
        print(summary(rows))
    gains = {name: float(np.mean([row["gain"][name] for row in rows])) for name in rows[0]["gain"]}
    others = [name for name in gains if not name.startswith("agent") and name not in ("random", "rare_first")]
    best = max(others, key=gains.get)
    print_line("agent", round(gains["agent"] / gains[best], 3) if gains[best] else None, 1.0, {
        "best_control": best, "seeds": len(rows), "gain": {name: round(gain, 5) for name, gain in gains.items()},
        **hardware()})


def searched(view: PoolView, records: int) -> dict:
    """What every searcher chose from one table: estimates less their deviation, and true gains over random batches."""
    fitted, more = filled(view, records), filled(view, records + MORE)
    found = {name: search(view, fitted, settings) for name, settings in agents(view.setup.search).items()}
    chosen = {name: outcome.ids for name, outcome in found.items()}
    chosen |= {f"{name}, checked": checked(view, fitted, outcome) for name, outcome in found.items()}
    chosen |= {"measured_best": best_measured(view, fitted), "measured_best of more": best_measured(view, more)}
    controls = found["agent"].controls
    chosen |= {name: control.ids for name, control in controls.items() if name != "random"}
    rng = np.random.default_rng(view.setup.seed("random batches"))
    selected = [strategies.chosen(strategies.get(name), view, view.setup.budget, rng)
                for name in ("rare_first", *("random",) * RANDOM)]
    chosen["rare_first"], *drawn = (tuple(sorted(selection.ids)) for selection in selected)
    true = Series(view.setup.true_runner(), (list(dict.fromkeys([*chosen.values(), *drawn])),) * TRUE_REPEATS, "truth")
    true.measure()
    true_map, noise = true.mean("map"), true.noise("map")
    level = np.mean([true_map[batch] for batch in drawn])
    estimate = fitted.estimator.predict(fitted.represent(list(chosen.values())))
    lower = estimate.value - view.setup.search.risk_aversion * estimate.deviation
    return {"loo_r2": fitted.summary.quality.loo_r2, "spearman": fitted.summary.quality.spearman,
            "value": dict(zip(chosen, lower.tolist(), strict=True)) | {"random": controls["random"].value},
            "gain": {name: float(true_map[batch] - level) for name, batch in chosen.items()} | {"random": 0.0},
            "noise": noise, "chosen": chosen}


def agents(settings: SearchConfig) -> dict[str, SearchConfig]:
    """The searches that are compared; their batches are checked here, alike for all."""
    variants = {"agent": settings, "agent, risk aversion 1": settings.model_copy(update={"risk_aversion": 1.0}),
                "agent, paper": PAPER}
    return {name: variant.model_copy(update={"trust": "always", "check": False}) for name, variant in variants.items()}


def filled(view: PoolView, records: int) -> Fitted:
    """A table of so many records, each measured once, and the estimator that learned from it."""
    settings = view.setup.config.model_copy(update={"records": records, "repeats": 0, "rungs": (), "fallback_cap": 0})
    return finished(MGRAL.fit(replace(view, setup=replace(view.setup, config=settings))))


def search(view: PoolView, fitted: Fitted, settings: SearchConfig) -> SearchOutcome:
    table = view.setup.config.model_copy(update={"fallback_cap": 0})
    setup = replace(view.setup, config=table, search=settings)
    shown = replace(view, setup=setup, fitted=fitted)
    return MGRAL.select(shown, setup.budget, np.random.default_rng(0)).outcome.search


def checked(view: PoolView, fitted: Fitted, found: SearchOutcome) -> Batch:
    """The batch that is left after a real experiment on the one that was found."""
    reward = view.setup.config.reward
    worth = fitted.runner.measure(found.ids, "check").reward(reward)
    return after_check(replace(found, checked=worth), aggregate(fitted.records, reward), ()).ids


def best_measured(view: PoolView, fitted: Fitted) -> Batch:
    return max(fitted.records, key=lambda record: record.reward(view.setup.config.reward)).image_ids


def summary(rows: list[dict]) -> str:
    """Means over seeds with their standard errors, and how often the agent is ahead."""
    lines = ["| chosen by | estimate - deviation | true gain over random, mAP points | agent ahead |",
             "| --- | --- | --- | --- |"]
    for name in rows[0]["gain"]:
        value, gain, agent = (np.array([row[key][of] for row in rows])
                              for key, of in (("value", name), ("gain", name), ("gain", "agent")))
        lines.append(f"| {name} | {value.mean():.4f} | {_with_error(100 * gain)} | "
                     f"{'' if name == 'agent' else f'{int((agent > gain).sum())} of {len(rows)}'} |")
    worth = ", ".join(f"{name} {_with_error(np.array([row[name] for row in rows]))}" for name in ("loo_r2", "spearman"))
    noise = np.sqrt(np.mean([row["noise"]**2 for row in rows if row["noise"] is not None]))
    varies = f"true mAP: {100 * noise:.2f} points from training to training of a batch"
    return "\n".join([*lines, "", f"tables: {worth}", varies])


def _with_error(values: np.ndarray) -> str:
    error = f" ± {values.std(ddof=1) / len(values) ** 0.5:.2f}" if len(values) > 1 else ""
    return f"{values.mean():.2f}{error}"


if __name__ == "__main__":
    main()
