"""Do records of an earlier cycle help? Tables of a second cycle with and without those of the first.

    python benchmarks/history.py --params params.yaml --out DIR [--data DIR] [--seeds 6] [--json]

Each seed plays two cycles: the first measures a table of 24 batches and annotates one of them; the second, with a
detector of its own, measures a table and the true gain of held-out batches. Its estimator then learns from the first 8,
16 or all 24 of its records, alone and with the first cycle's as `table.history` takes them. Each measurement is a line
of DIR/SEED.jsonl: a run that is interrupted goes on behind the last one. The last line is one JSON object; `ratio` is
the mean rank correlation with true gains with the earlier records over that without, for tables of 8.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from reward import Measurements, markdown, whole
from reward_records import Batch, Stage, advanced, run, staged, student, true_gain

from mgral.lookup.design import design_batches
from mgral.lookup.estimator import make_estimator
from mgral.lookup.fidelity import Settled, settle
from mgral.lookup.history import lessons
from mgral.lookup.quality import loo_r2, spearman
from mgral.lookup.representation import Representation
from mgral.params import read_config

RECORDS = 24
SIZES = (8, 16, 24)
"""Records of the second cycle that its estimator learns from."""
HELD_OUT = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    options = parser.parse_args()
    config, rows = read_config(options.params), []
    for seed in range(options.seeds):
        say = (lambda text: None) if options.json else print
        first = staged(config.model_copy(update={"seed": seed}), options.data, options.out / f"seed-{seed}")
        path = options.out / f"{seed}.jsonl"
        run(tables(first, "first"), path, say)
        table = settled(Measurements(path), "first/records", first)
        annotated = table.batches[int(table.rewards.argmax())]
        second = advanced(first, annotated, options.out / f"seed-{seed}" / "second")
        run(tables(second, "second"), path, say)
        rows += [{"seed": seed, **row} for row in compared(first, second, Measurements(path))]
    if not options.json:
        print(markdown(summary(rows)))
    mean = {row["earlier"]: row["true"] for row in summary(rows) if row["records"] == SIZES[0]}
    print(json.dumps({"name": "history", "ratio": round(mean[True] / mean[False], 3), "goal": 1.0,
                      "seeds": options.seeds, "raw": rows}))


def tables(stage: Stage, cycle: str) -> Iterator[tuple[str, Batch, object]]:
    """The records of a cycle's table and, of the second, held-out batches."""
    config, splits = stage.config, stage.splits

    def drawn(count: int, seed: int) -> list[Batch]:
        settings = config.table.model_copy(update={"records": count, "design": "spread"})
        return design_batches(settings, stage.seen, splits.pool, splits.labelled, config.study.budget, seed)

    records = drawn(RECORDS, config.seed)
    for number, batch in enumerate(records):
        yield f"{cycle}/records/{number}/0", batch, lambda b=batch: student(stage, b, 0)
    held = [one for one in drawn(2 * HELD_OUT, config.seed + 1000) if one not in set(records)][:HELD_OUT]
    for number, batch in enumerate(held if cycle == "second" else ()):
        yield f"truth/{number}/0", batch, lambda b=batch: true_gain(stage, b, 0, 1)


def compared(first: Stage, second: Stage, found: Measurements) -> list[dict]:
    """Figures of the second cycle's estimator, alone and with the first cycle's records."""
    table, rows = second.config.table, []
    now, then = settled(found, "second/records", second), settled(found, "first/records", first)
    represent, truth = described(second, second), found.values("truth", "map")
    earlier = (described(second, first)(then.batches), then)
    for size in SIZES:
        known = Settled(now.batches[:size], now.rewards[:size], now.noise[:size], now.groups[:size])
        for others in ([], [earlier]):
            unlearned = make_estimator(table, represent, second.config.seed)
            learned = lessons(unlearned, (represent(known.batches), known), others)
            left = learned.left_out(unlearned)
            value = learned.teach(unlearned).predict(represent(found.batches("truth"))).value
            rows.append({"records": size, "earlier": bool(others), "weight": learned.weight,
                         "loo_r2": loo_r2(known.rewards, left.value), "true": spearman(truth, value)})
    return rows


def settled(found: Measurements, prefix: str, stage: Stage) -> Settled:
    return settle([whole(line) for line in found.rows(prefix)], stage.config.table)


def described(today: Stage, when: Stage) -> Representation:
    """How batches are described by today's detector, relative to what was labelled then."""
    config, labelled = today.config, when.splits.labelled
    pool = sorted({*today.splits.labelled, *today.splits.pool} - {*labelled})
    return Representation(config.table.representation, today.seen, pool, labelled, config.study.budget, config.seed,
                          config.table.whitening)


def summary(rows: list[dict]) -> list[dict]:
    """Means over seeds with standard errors."""
    made = []
    for size in SIZES:
        for earlier in (False, True):
            chosen = [row for row in rows if (row["records"], row["earlier"]) == (size, earlier)]
            alone = [row for row in rows if (row["records"], row["earlier"]) == (size, False)]
            gap = np.array([one["true"] - other["true"] for one, other in zip(chosen, alone, strict=True)])
            made.append({"records": size, "earlier": earlier, "used in": sum(row["weight"] > 0 for row in chosen),
                         **{name: float(np.mean([row[name] for row in chosen])) for name in ("loo_r2", "true")},
                         "gain": gap.mean(), "error": gap.std(ddof=1) / len(gap)**0.5 if len(gap) > 1 else 0.0})
    return made


if __name__ == "__main__":
    main()
