"""Is it labels that a detector lacks, or steps? What both bring on the images of a study.

    python benchmarks/labels.py [--params params.yaml] --out DIR [--data DIR] [--seeds 3] [--first 0] [--json]

Each seed draws its own scenes or splits. A detector learns from the first labelled images; then from three cycles'
budgets more at once, chosen at random or by `rare_first`, which knows the truth, near-duplicates passed over for both.
Each is trained as long as the settings say, and twice as long. The figures are mAP on the test split. What is trained
is kept under DIR. The last line is one JSON object; `ratio` is what the labels of random images bring over what the
longer training of the first detector brings: above 1, labels are what is missing.
"""

from __future__ import annotations

import os
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from harness import hardware, print_line, quiet, study_parser
from stage import staged

from mgral import strategies
from mgral.data.dataset import ImageId
from mgral.fingerprint import fingerprint
from mgral.params import read_config
from mgral.strategies import PoolView
from mgral.training.detectors import tested

GOAL = 1.0
LONGER = 2


def main() -> None:
    parser = study_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    quiet()
    config, rows = read_config(options.params), []
    for seed in range(options.first, options.first + options.seeds):
        with staged(config, options.data, options.out, seed) as view:
            rows.append(reached(view, config.study.cycles * config.study.budget))
        if not options.json:
            print(f"seed {seed}: " + ", ".join(f"{name} {value:.3f}" for name, value in rows[-1].items()), flush=True)
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    gained = {name: means[name] - means["first"] for name in means}
    print_line("labels", round(gained["random"] / gained["first, longer"], 2), GOAL,
               {"map": means, "seeds": [*range(options.first, options.first + options.seeds)], "rows": rows,
                **hardware()})


def reached(view: PoolView, more: int) -> dict[str, float]:
    """mAP with the first labelled images, and with so many more of either choice; trained once and twice as long."""
    rng = np.random.default_rng(view.setup.seed("labels"))
    added: dict[str, tuple[ImageId, ...]] = {"first": ()}
    for name in ("random", "rare_first"):
        added[name] = strategies.chosen(strategies.get(name), view, min(more, len(view.pool)), rng).ids
    found = {}
    for name, ids in added.items():
        found[name] = trained(view, ids, 1)
        found[f"{name}, longer"] = trained(view, ids, LONGER)
    return found


def trained(view: PoolView, ids: tuple[ImageId, ...], times: int) -> float:
    setup = view.setup
    training = setup.detectors.training.model_copy(update={"steps": times * setup.detectors.training.steps})
    detectors = replace(setup.detectors, training=training)
    boxes = {**setup.labelled, **{image_id: setup.pool_truth[image_id] for image_id in ids}}
    name = fingerprint("detector", "labels", setup.detector, sorted(ids), training)
    detectors.train(name, boxes, view.inspection.ids)
    return tested(detectors.open(name), detectors.store, setup.test, view.classes).map


if __name__ == "__main__":
    main()
