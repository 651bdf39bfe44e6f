"""The experiments that docs/results/reward.md is made of: what batches are worth by every reward, and in truth.

    python benchmarks/reward_records.py --params params.yaml --seed 0 --out DIR [--data DIR]

One seed draws its own scenes or splits, trains the cycle's detector on the labelled images and then measures batches:
designed ones by every source of reward (`semisupervised`, the same four times as long, `student`, `labelled`), and
held-out ones by their reward and by what their true labels bring. A repeat has one seed for all batches: what it
changes alike for all can be told from what it changes for each. Each measurement is a line of DIR/SEED.jsonl; a run
that is interrupted goes on behind the last one. `benchmarks/reward.py` reads them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from mgral.config import Config, TableConfig
from mgral.data.dataset import Boxes, Dataset, ImageId
from mgral.data.formats import load_dataset
from mgral.data.images import ImageStore
from mgral.data.splits import Splits, draw_splits
from mgral.data.synthetic import write_scenes
from mgral.detection.building import build_detector, load_checkpoint, save_checkpoint
from mgral.detection.detector import Detector
from mgral.detection.inspecting import inspect
from mgral.detection.training import train
from mgral.inspection import Inspection
from mgral.lookup.design import design_batches
from mgral.params import read_config
from mgral.semisup.experiment import Measured, measure, run_experiment
from mgral.study.fingerprint import derived_seed

RECORDS = 40
"""Batches of each design."""
TWICE = 16
"""Batches of each design that are measured once more, with another seed."""
HELD_OUT = 32
"""Batches whose true gain is measured."""
LONG = 4
"""How many times as long the long trainings are."""
TRUE_STEPS = 100
"""Steps of a training with true labels from the cycle's detector."""
MEASUREMENTS = 4
PSEUDO_LABEL = 0.3
"""Least score of the detections that the source `student` takes for labels."""

Batch = tuple[ImageId, ...]


@dataclass(frozen=True, eq=False)
class Stage:
    """A cycle's detector and all that is known when it is there; `part` of the labels and its own detector."""

    config: Config
    dataset: Dataset
    store: ImageStore
    splits: Splits
    detector: Detector
    seen: Inspection
    part: tuple[ImageId, ...]
    part_detector: Detector
    part_seen: Inspection

    def truth(self, ids: tuple[ImageId, ...]) -> dict[ImageId, Boxes]:
        return {one: self.dataset.boxes[one] for one in ids}

    @property
    def held(self) -> tuple[ImageId, ...]:
        """Labelled images outside the part: the pool of the source `labelled`."""
        return tuple(one for one in self.splits.labelled if one not in set(self.part))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    config = read_config(options.params)
    config = config.model_copy(update={"seed": options.seed})
    stage = staged(config, options.data, options.out / f"seed-{options.seed}")
    run(measurements(stage), options.out / f"{options.seed}.jsonl", print)


def run(wanted: Iterable[tuple[str, Batch, Callable[[], dict]]], path: Path, say: Callable[[str], None]) -> None:
    """Measures what the file does not hold yet, a line each."""
    done = {json.loads(line)["key"] for line in path.read_text().splitlines()} if path.exists() else set()
    for key, batch, measured in wanted:
        if key not in done:
            found = measured()
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "batch": batch, **found}) + "\n")
            say(key)


def staged(config: Config, data: Path | None, folder: Path) -> Stage:
    """Draws, splits, trains and inspects; what lies in the folder already is read."""
    if data is None:
        write_scenes(config.data.synthetic, folder / "scenes", config.seed)
    dataset = load_dataset(config.data, data or folder / "scenes").dataset
    store = ImageStore.open(dataset, config.detector.image_size, folder / "cache")
    return _stage(config, dataset, store, draw_splits(dataset, config.data, config.seed), folder)


def advanced(stage: Stage, annotated: Batch, folder: Path) -> Stage:
    """The next cycle: with these images labelled too, and detectors of its own."""
    splits, more = stage.splits, {*annotated}
    folder.mkdir(parents=True, exist_ok=True)
    return _stage(stage.config, stage.dataset, stage.store, replace(
        splits, labelled=tuple(sorted({*splits.labelled} | more)),
        pool=tuple(one for one in splits.pool if one not in more)), folder)


def _stage(config: Config, dataset: Dataset, store: ImageStore, splits: Splits, folder: Path) -> Stage:
    shuffled = np.random.default_rng(config.seed).permutation(splits.labelled)
    part = tuple(sorted(str(one) for one in shuffled[:len(shuffled) // 2]))
    ids = tuple(sorted(splits.labelled + splits.pool))
    detectors = [_trained(config, dataset, store, which, folder / f"{name}.pth")
                 for name, which in (("whole", splits.labelled), ("part", part))]
    views = []
    for name, detector in zip(("whole", "part"), detectors, strict=True):
        path = folder / f"{name}-view"
        if not path.exists():
            inspect(detector, store, ids).save(path)
        views.append(Inspection.load(path))
    return Stage(config, dataset, store, splits, detectors[0], views[0], part, detectors[1], views[1])


def measurements(stage: Stage) -> Iterator[tuple[str, Batch, Callable[[], dict]]]:
    """Key, batch and how to measure it; the cheap and important ones first."""
    config, splits, seed = stage.config, stage.splits, stage.config.seed
    yield "start", splits.labelled, lambda: {"reward": _figures(stage.detector, stage, splits.reward),
                                             "test": _figures(stage.detector, stage, splits.test)}
    budget = config.study.budget
    designs = {name: design_batches(TableConfig(records=RECORDS, design=name), stage.seen, splits.pool, splits.labelled,
                                    budget, seed) for name in ("random", "spread")}
    # Mostly spread, some random: what a search may come across. None of them is a record.
    held = [*design_batches(TableConfig(records=2 * HELD_OUT, design="spread"), stage.seen, splits.pool,
                            splits.labelled, budget, seed + 1000)]
    held = [one for one in held if one not in set(designs["spread"])][:HELD_OUT]
    for number, batch in enumerate(held):
        for repeat in range(2):
            yield f"truth/{number}/{repeat}", batch, lambda b=batch, r=repeat: true_gain(stage, b, r)
    of_labelled = design_batches(TableConfig(records=RECORDS, design="spread"), stage.part_seen, stage.held, stage.part,
                                 len(stage.held) // 2, seed)
    for repeat, (number, batch) in itertools.product(range(2), enumerate(designs["spread"])):
        yield f"student/spread/{number}/{repeat}", batch, lambda b=batch, r=repeat: student(stage, b, r)
    for number, batch in enumerate(of_labelled):
        yield f"labelled/spread/{number}/0", batch, lambda b=batch: played(stage, b, 0)
    for number, batch in enumerate(held):
        yield f"direct/{number}/0", batch, lambda b=batch: semisupervised(stage, b, 0)
    for repeat, (design, batches) in itertools.product(range(2), designs.items()):
        for number, batch in enumerate(batches[:TWICE] if repeat else batches):
            yield (f"semisupervised/{design}/{number}/{repeat}", batch,
                   lambda b=batch, r=repeat: semisupervised(stage, b, r))
    for number, batch in enumerate(designs["spread"]):
        yield f"student, long/spread/{number}/0", batch, lambda b=batch: student(stage, b, 0, LONG)
    for number, batch in enumerate(designs["spread"]):
        yield f"long/spread/{number}/0", batch, lambda b=batch: semisupervised(stage, b, 0, LONG)


def semisupervised(stage: Stage, batch: Batch, repeat: int, times: int = 1) -> dict:
    settings = stage.config.semisup.model_copy(update={"steps": times * stage.config.semisup.steps})
    found = run_experiment(stage.detector, stage.store, stage.truth(stage.splits.labelled), batch,
                           stage.truth(stage.splits.reward), settings, derived_seed(stage.config.seed, repeat),
                           measurements=times * MEASUREMENTS)
    return asdict(found)


def student(stage: Stage, batch: Batch, repeat: int, times: int = 1) -> dict:
    """Part of the labels, and the batch as the detector of all labels sees it."""
    known = stage.truth(stage.part)
    for one in batch:
        sure = stage.seen.detections[stage.seen.row[one]].above(PSEUDO_LABEL)
        known[one] = Boxes.of(sure.xyxy, sure.labels)
    return _supervised(stage, stage.part_detector, known, batch, repeat, times * stage.config.semisup.steps)


def played(stage: Stage, batch: Batch, repeat: int) -> dict:
    """Part of the labels, and the batch of other labelled images with their own."""
    return _supervised(stage, stage.part_detector, stage.truth((*stage.part, *batch)), batch, repeat,
                       stage.config.semisup.steps)


def true_gain(stage: Stage, batch: Batch, repeat: int, measurements: int = MEASUREMENTS) -> dict:
    """The cycle's detector, trained on with the batch's true labels; measured on the test images."""
    return _supervised(stage, stage.detector, stage.truth((*stage.splits.labelled, *batch)), batch, repeat, TRUE_STEPS,
                       stage.splits.test, measurements)


def _supervised(stage: Stage, start: Detector, known: dict[ImageId, Boxes], batch: Batch, repeat: int, steps: int,
                measured_on: tuple[ImageId, ...] | None = None, measurements: int = MEASUREMENTS) -> dict:
    settings = stage.config.semisup
    settings = settings.model_copy(update={
        "method": "supervised", "steps": steps,
        "labelled_per_step": settings.labelled_per_step + settings.unlabelled_per_step})
    return asdict(run_experiment(start, stage.store, known, batch, stage.truth(measured_on or stage.splits.reward),
                                 settings, derived_seed(stage.config.seed, repeat), measurements=measurements))


def _trained(config: Config, dataset: Dataset, store: ImageStore, ids: tuple[ImageId, ...],
             path: Path | None = None) -> Detector:
    if path and path.exists():
        return load_checkpoint(path)
    detector = build_detector(config.detector, dataset.classes, config.seed)
    for _ in train(detector, store, dataset.boxes, sorted(ids), config.training, config.seed):
        pass
    if path:
        save_checkpoint(path, detector)
    return detector


def _figures(detector: Detector, stage: Stage, ids: tuple[ImageId, ...]) -> dict:
    found: Measured = measure(detector, stage.store, stage.truth(ids))
    return asdict(found)


if __name__ == "__main__":
    main()
