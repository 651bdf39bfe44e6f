"""What a lookup table costs at the size of VOC: SSD300, ISD, 16,551 synthetic images of 300 × 300 pixels.

    python benchmarks/table_cost.py [--images 16551] [--steps 3] [--batch 32] [--width 1.0] [--json]

Measured: decoding all images once, `--steps` steps of an experiment after two to warm up, and measuring the result on
`--reward` images. From that: an experiment of `--length` steps and a table of 200. The paper's table of 200 took nine
hours on four GTX 1080 Ti, 648 GPU seconds an experiment; it does not say how many steps that was, so `raw` also tells
how many of ours go into that time. `ratio` is the paper's GPU time over ours on one device of this machine: on a GPU
the figure that counts, on a CPU only the proof that it runs at this size.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import torch
from harness import benchmark_parser, hardware, print_line, quiet, timed

from mgral.config import DataConfig, DetectorConfig, SemisupConfig, SyntheticConfig
from mgral.data.dataset import Dataset
from mgral.data.formats import load_dataset
from mgral.data.images import ImageStore
from mgral.data.synthetic import write_scenes
from mgral.detection import build_detector
from mgral.experiments.experiment import measure
from mgral.training.methods import method_training

PAPER = 9 * 3600 * 4 / 200
"""GPU seconds an experiment (MGRAL, section IV-A)."""
DRAWN = 256
"""Scenes that are really drawn; the images repeat them, each decoded for itself."""


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--images", type=int, default=16551)
    parser.add_argument("--reward", type=int, default=500)
    parser.add_argument("--labelled", type=int, default=1000)
    parser.add_argument("--candidates", type=int, default=1000, help="images of the batch that is tried")
    parser.add_argument("--length", type=int, default=500, help="steps of an experiment, to reckon with")
    parser.add_argument("--steps", type=int, default=3, help="steps that are measured")
    parser.add_argument("--batch", type=int, default=32, help="images a step, half of them labelled")
    parser.add_argument("--width", type=float, default=1.0)
    options = parser.parse_args()
    quiet()
    with tempfile.TemporaryDirectory() as folder:
        raw = measured(options, Path(folder))
    ratio = round(PAPER / raw["experiment_s"], 3)
    if not options.json:
        print(f"{raw['step_s']:.2f} s a step of {options.batch} images, {raw['experiment_s'] / 60:.1f} min and so",
              f"{raw['experiments_an_hour']:.2f} an hour for experiments of {options.length} steps on one",
              raw["device"])
        print(f"the paper's time for one experiment holds {raw['steps_in_the_papers_time']} of these steps")
    print_line("table_cost", ratio, 1, raw)


def measured(options: argparse.Namespace, folder: Path) -> dict:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dataset = repeated(options.images, folder / "scenes")
    config = DetectorConfig(preset="ssd300", image_size=300, width=options.width)
    store, decoding = timed(lambda: ImageStore.open(dataset, config.image_size, folder / "store"))
    store, ids = store.on(device), list(dataset.images)
    rest = iter(ids)
    labelled, candidates, reward = (list(islice(rest, count)) for count in
                                    (options.labelled, options.candidates, options.reward))
    start = build_detector(config, dataset.classes, 0, device)
    half = options.batch // 2
    settings = SemisupConfig(method="isd", steps=options.steps + 2, labelled_per_step=half, unlabelled_per_step=half,
                             lr=1e-4)
    training = method_training(start, store, {image_id: dataset.boxes[image_id] for image_id in labelled}, candidates,
                               settings, 0)
    moments: list[float] = []
    for _ in training:
        if device == "cuda":
            torch.cuda.synchronize()
        moments.append(time.perf_counter())
    step = (moments[-1] - moments[1]) / options.steps
    truth = {image_id: dataset.boxes[image_id] for image_id in reward}
    _, measuring = timed(lambda: measure(training.result, store, truth))
    experiment = options.length * step + measuring
    return {"device": torch.cuda.get_device_name() if device == "cuda" else "CPU core", "images": options.images,
            "decoding_s": round(decoding, 1), "store_gib": round(store.array.nbytes / 2**30, 2),
            "step_s": round(step, 3), "measuring_s": round(measuring, 1), "experiment_s": round(experiment, 1),
            "experiments_an_hour": round(3600 / experiment, 3), "table_of_200_h": round(200 * experiment / 3600, 1),
            "steps_in_the_papers_time": int((PAPER - measuring) / step), "threads": torch.get_num_threads(),
            "batch": options.batch, "width": options.width, "length": options.length, **hardware()}


def repeated(count: int, folder: Path) -> Dataset:
    """`count` images that show the drawn scenes again and again."""
    drawn = SyntheticConfig(pool=min(count, DRAWN), reward=1, test=1, image_size=300)
    write_scenes(drawn, folder, 0)
    small = load_dataset(DataConfig(format="synthetic", synthetic=drawn), folder).dataset
    names = {f"{number:06}": image_id for number, image_id in enumerate(islice(cycle(small.splits["train"]), count))}
    images, boxes = ({new: table[old] for new, old in names.items()} for table in (small.images, small.boxes))
    return Dataset(small.root, small.classes, small.category_ids, images, boxes, {"train": tuple(names)})


if __name__ == "__main__":
    main()
