"""Does choosing well pay on the synthetic scenes? The truth's own strategy against random choice, same budget.

    python benchmarks/choosing.py [--params params.yaml] [--seeds 4] [--json]

Each seed draws its own labelled images, adds `cycles × budget` images by `random` and by `rare_first` (which knows the
truth: rare classes first), trains the shipped detector on each, and measures mAP on the test split. The last line is
one JSON object; `ratio` is mAP by `rare_first` over mAP by `random`, `goal` what makes the scenes fit for a study.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from mgral.config import Config
from mgral.data.dataset import Dataset, ImageId
from mgral.data.formats import load_dataset
from mgral.data.images import ImageStore
from mgral.data.splits import draw_splits
from mgral.data.synthetic import write_scenes
from mgral.detection.building import build_detector
from mgral.detection.evaluation import evaluate
from mgral.detection.inspecting import detect
from mgral.detection.training import train
from mgral.params import read_config
from mgral.strategies import PoolView, choose

GOAL = 1.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    options = parser.parse_args()
    config = read_config(options.params)
    with tempfile.TemporaryDirectory() as folder:
        found = measured(config, Path(folder), options.seeds, (lambda line: None) if options.json else print)
    random, rare = (np.array(found[name]) for name in ("random", "rare_first"))
    gain = rare - random
    error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else None
    print(json.dumps({"name": "choosing", "ratio": round(float(rare.mean() / random.mean()), 3), "goal": GOAL,
                      "map": {name: [round(one, 4) for one in values] for name, values in found.items()},
                      "gain": round(float(gain.mean()), 4), "standard_error": error and round(float(error), 4)}))


def measured(config: Config, folder: Path, seeds: int, say) -> dict[str, list[float]]:
    """Test mAP by strategy, one figure a seed."""
    write_scenes(config.data.synthetic, folder / "scenes", config.seed)
    dataset = load_dataset(config.data, folder / "scenes").dataset
    store = ImageStore.open(dataset, config.detector.image_size, folder / "cache")
    found: dict[str, list[float]] = {"random": [], "rare_first": []}
    for seed in range(seeds):
        splits = draw_splits(dataset, config.data, seed)
        view = PoolView(splits.pool, splits.labelled, None, dataset.boxes)
        for name, values in found.items():
            chosen = choose(name, view, config.study.cycles * config.study.budget, np.random.default_rng(seed))
            values.append(reached(config, dataset, store, (*splits.labelled, *chosen), splits.test, seed))
            say(f"seed {seed}, {name}: mAP {values[-1]:.3f}")
    return found


def reached(config: Config, dataset: Dataset, store: ImageStore, ids: tuple[ImageId, ...], test: tuple[ImageId, ...],
            seed: int) -> float:
    """Test mAP of a detector trained on `ids`."""
    detector = build_detector(config.detector, dataset.classes, seed)
    for _ in train(detector, store, dataset.boxes, sorted(ids), config.training, seed):
        pass
    truth = {image_id: dataset.boxes[image_id] for image_id in test}
    return evaluate(detect(detector, store, test), truth, dataset.classes).map


if __name__ == "__main__":
    main()
