"""Steps a second of preset lite0 with what its frozen stages make of images kept, against the same training without.

    python benchmarks/frozen.py [--data DIR] [--images 200] [--steps 60] [--repeats 3] [--threads 1 2] [--json]

Batches of 16, which is the default, at 128 px, the preset as it is, `VIEWS` fixed views an image; BCCD where `--data`
names its folder, else synthetic scenes. The other side draws the same views of the decoded images in every step and
runs the whole network on them, a batch at once. The file is filled by a first training (`filling_s`, not in the ratio:
a study fills it once, and all its trainings and experiments read it). Each side takes the number of torch threads that
suits it; the first `WARM_UP` steps do not count. `ratio_cpu` is the same by the seconds of the processor, which other
programs disturb less.

Compared first: the losses of all steps. Where a processor's convolutions give other last digits for a batch than image
by image, half precision hides most of them; a share of `ALIKE` is allowed.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import torch
from harness import hardware, print_line
from mmdet_reference import IMAGE_SIZE, image_options, images

from mgral.config import DetectorConfig
from mgral.data.images import ImageStore
from mgral.detection import Detector, build_detector
from mgral.training.supervised import supervised_training

GOAL = 2
BATCH = 16
VIEWS = 4
LABELLED = 40
WARM_UP = 10
ALIKE = 1e-3


def main() -> None:
    options = image_options(__doc__, images=200, steps=60, repeats=3)
    with tempfile.TemporaryDirectory() as folder:
        raw, ratio = measured(options, Path(folder))
    if not options.json:
        for name in ("kept", "whole"):
            print(f"{name:6}{raw[f'{name}_steps_s']:7.1f} steps/s with {raw[f'{name}_threads']} threads")
        print(f"ratio {ratio} (goal {GOAL}); losses apart by {raw['loss_difference']:.1e} at most; "
              f"{raw['kept_mib']} MiB kept")
    print_line("frozen", ratio, GOAL, raw)


def measured(options: argparse.Namespace, folder: Path) -> tuple[dict, float]:
    config, dataset = images(options.data, options.images, folder)
    ids = sorted(image_id for image_id, boxes in dataset.boxes.items() if (~boxes.ignore).any())[:LABELLED]
    store = ImageStore.open(dataset, IMAGE_SIZE, folder / "cache")
    settings = config.training.model_copy(update={"steps": options.steps, "batch_size": BATCH, "views": VIEWS})
    start = build_detector(DetectorConfig(preset="lite0", image_size=IMAGE_SIZE), dataset.classes, 0)

    def trained(threads: int) -> tuple[list[float], np.ndarray]:
        """The losses, and a step's median seconds by the clock and of the processor."""
        torch.set_num_threads(threads)
        training = supervised_training(copy.deepcopy(start), store, dataset.boxes, ids, settings, 0)
        losses, moments = zip(*((step.loss, (perf_counter(), process_time())) for step in training), strict=True)
        return list(losses), np.median(np.diff(moments, axis=0)[WARM_UP:], axis=0)

    def whole(threads: int) -> tuple[list[float], np.ndarray]:
        with nothing_kept():
            return trained(threads)

    began = perf_counter()
    trained(options.threads[0])
    filling = perf_counter() - began
    apart = float(np.max(np.abs(np.divide(trained(options.threads[0])[0], whole(options.threads[0])[0]) - 1)))
    if apart > ALIKE:
        raise SystemExit(f"frozen: expected the same losses within {ALIKE:.1%}, got them {apart:.2%} apart")
    for threads in options.threads[1:]:
        trained(threads)
    times = {name: {threads: [] for threads in options.threads} for name in ("kept", "whole")}
    for _ in range(options.repeats):
        for threads in options.threads:
            times["kept"][threads].append(trained(threads)[1])
            times["whole"][threads].append(whole(threads)[1])
    best = {name: min(found, key=lambda threads: np.median(found[threads], axis=0)[0]) for name, found in times.items()}
    seconds = {name: np.array(times[name][threads]) for name, threads in best.items()}
    ratio, ratio_cpu = np.median(seconds["whole"] / seconds["kept"], axis=0).tolist()
    raw = {f"{name}_steps_s": round(1 / float(np.median(found[:, 0])), 2) for name, found in seconds.items()}
    raw |= {"ratio_cpu": round(ratio_cpu, 2)} | {f"{name}_threads": threads for name, threads in best.items()}
    kept = sum(file.stat().st_blocks * 512 for file in (folder / "cache").glob("*.maps")) / len(options.threads)
    return raw | {"loss_difference": apart, "filling_s": round(filling, 2), "kept_mib": round(kept / 2**20, 1),
                  "images": len(ids), "views": VIEWS, "steps": options.steps, **hardware()}, round(ratio, 2)


@contextmanager
def nothing_kept() -> Iterator[None]:
    """A detector takes the pixels of the same views, as one without frozen stages does."""
    kept = Detector.prefix
    Detector.prefix = property(lambda detector: None)
    try:
        yield
    finally:
        Detector.prefix = kept


if __name__ == "__main__":
    main()
