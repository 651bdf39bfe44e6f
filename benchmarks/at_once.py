"""Experiments at once: as many processes as the machine allows against one after the other, on synthetic scenes.

    python benchmarks/at_once.py [--experiments 12] [--steps 40] [--json]

The settings of params.yaml, a detector that was not trained. Compared first: every experiment's figures, to the last
bit. Starting the processes is part of the time, loading mmdet in the one they are forked from is not: a cycle does that
while its detector trains.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as `mgral` itself runs

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from harness import benchmark_parser, hardware, print_line, quiet, timed
from mmdet_reference import images

from mgral.data.images import ImageStore
from mgral.detection import build_detector, save_checkpoint
from mgral.experiments.processes import ExperimentSetup, Planned, run_all, warm_up
from mgral.progress import Lines, Progress, current

GOAL = 1.5


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--experiments", type=int, default=12)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    quiet()
    with tempfile.TemporaryDirectory() as folder:
        raw = measured(options, Path(folder))
    ratio = round(raw["one_by_one_s"] / raw["at_once_s"], 2)
    if not options.json:
        print(f"{options.experiments} experiments: one by one {raw['one_by_one_s']:.1f} s, {raw['said']} "
              f"{raw['at_once_s']:.1f} s, ratio {ratio}")
    print_line("at_once", ratio, GOAL, raw)


def measured(options: argparse.Namespace, folder: Path) -> dict:
    config, dataset = images(None, 200, folder)
    store = ImageStore.open(dataset, config.detector.image_size, folder / "store")
    path, ids = folder / "start.pth", list(dataset.splits["train"])
    save_checkpoint(path, build_detector(config.detector, dataset.classes, 0))
    labelled, reward = ({image_id: dataset.boxes[image_id] for image_id in part} for part in (ids[:60], ids[160:]))
    setup = ExperimentSetup(path, "cpu", store, labelled, reward,
                            config.semisup.model_copy(update={"steps": options.steps}))
    planned = [Planned(tuple(ids[60 + number:100 + number]), number) for number in range(options.experiments)]
    warm_up()
    time.sleep(20)  # while the process to fork from loads mmdet
    setup.run(planned[0])
    said: list[str] = []
    current.set(Progress(Lines(said.append)))
    first, alone = timed(lambda: dict(run_all(setup, planned, 1)))
    second, together = timed(lambda: dict(run_all(setup, planned, "auto")))
    if any(replace(first[item], seconds=0) != replace(second[item], seconds=0) for item in planned):
        raise SystemExit("at_once: expected the same figures of every experiment, got others")
    return {"one_by_one_s": round(alone, 1), "at_once_s": round(together, 1), "said": said[0],
            "experiments": options.experiments, "steps": options.steps, **hardware()}


if __name__ == "__main__":
    main()
