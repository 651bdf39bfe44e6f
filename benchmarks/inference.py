"""A pass over the pool: detections, embeddings and class scores, against the detections of mmdet's `DetInferencer`.

    python benchmarks/inference.py [--data DIR] [--images 300] [--repeats 5] [--threads 1 2] [--json]

Same files, weights, thresholds and image size (128 px), the tiny preset after a short training; BCCD where `--data`
names its folder, else synthetic scenes. Both sides take the number of torch threads that suits them, mmdet also the
batch size. mmdet decodes every image in every pass. We decode once a study and keep the pixels, so there are two
figures: `cold` has the decoding of all images in it, `warm` is every other pass. `ratio` is the cold one, a whole pass
from files on both sides: what a single pass gains, and the least that any pass does.

Compared first: fed with the same pixels, both find the same (score within 0.001, IoU of .99; 1 in 200 may differ, where
a score lies on the threshold or two boxes on the limit of suppression). From files they differ by how they shrink an
image (Pillow averages, OpenCV picks); that share is reported.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from harness import hardware, print_line, timed
from mmdet_reference import IMAGE_SIZE, image_options, images, mmdet_config, save_for_mmdet
from torchvision.ops import box_iou

from mgral.data.images import ImageStore
from mgral.detection import Detector, build_detector, detect, inspect
from mgral.pool.inspection import Detections
from mgral.training.supervised import supervised_training

GOAL = 2
BATCHES = (1, 8, 32)
LEAST_ALIKE = 0.995


def main() -> None:
    options = image_options(__doc__, images=300, steps=150, repeats=5)
    with tempfile.TemporaryDirectory() as folder:
        raw, ratio = measured(options, Path(folder))
    if not options.json:
        for name in ("ours_warm", "ours_cold", "mmdet"):
            print(f"{name:12}{raw[f'{name}_images_s']:9.1f} images/s")
        print(f"ratio {ratio} cold (goal {GOAL}), {raw['ratio_warm']} warm; "
              f"the same found in {raw['alike_same_pixels']:.1%}, from files in {raw['alike_from_files']:.1%}")
    print_line("inference", ratio, GOAL, raw)


def measured(options: argparse.Namespace, folder: Path) -> tuple[dict, float]:
    config, dataset = images(options.data, options.images, folder)
    ids = sorted(dataset.images)
    files = [str(dataset.path(image_id)) for image_id in ids]
    store = ImageStore.open(dataset, IMAGE_SIZE, folder / "cache")
    detector = build_detector(config.detector, dataset.classes, 0)
    training = config.training.model_copy(update={"steps": options.steps})
    supervised_training(detector, store, dataset.boxes, sorted(dataset.boxes), training, 0).run()
    inferencer = inferencer_of(detector, folder)
    same, files_alike = compared(detector, inferencer, store, ids, files)

    def ours(threads: int) -> float:
        torch.set_num_threads(threads)
        return timed(lambda: inspect(detector, store, ids))[1]

    def theirs(threads: int, batch: int) -> float:
        torch.set_num_threads(threads)
        return timed(lambda: found_by(inferencer, files, batch))[1]

    def decoding() -> float:
        shutil.rmtree(folder / "cache")
        return timed(lambda: ImageStore.open(dataset, IMAGE_SIZE, folder / "cache"))[1]

    first = {threads: ours(threads) for threads in options.threads}
    trials = {(threads, batch): theirs(threads, batch) for threads in options.threads for batch in BATCHES}
    threads, setting = min(first, key=first.get), min(trials, key=trials.get)
    rounds = np.array([(ours(threads), theirs(*setting), decoding()) for _ in range(options.repeats)])
    warm, mmdet, decoded = np.median(rounds, axis=0)
    ratio = float(np.median(rounds[:, 1] / (rounds[:, 0] + rounds[:, 2])))
    speed = {"ours_warm": warm, "ours_cold": warm + decoded, "mmdet": mmdet}
    raw = {f"{name}_images_s": round(len(ids) / seconds, 1) for name, seconds in speed.items()}
    raw |= {"ratio_warm": round(float(np.median(rounds[:, 1] / rounds[:, 0])), 2), "decoding_s": round(decoded, 3),
            "images": len(ids), "ours_threads": threads, "mmdet_threads_batch": setting,
            "mmdet_tried_images_s": {f"{threads} threads, batch {batch}": round(len(ids) / seconds, 1)
                                     for (threads, batch), seconds in trials.items()},
            "alike_same_pixels": round(same, 4), "alike_from_files": round(files_alike, 4), **hardware()}
    return raw, round(ratio, 2)


def inferencer_of(detector: Detector, folder: Path):
    """mmdet's own way from files to detections, with these weights."""
    from mmdet.apis import DetInferencer
    from mmengine.config import Config

    save_for_mmdet(detector, folder / "mmdet.pth")
    pipeline = [{"type": "LoadImageFromFile", "backend_args": None},
                {"type": "Resize", "scale": (IMAGE_SIZE, IMAGE_SIZE), "keep_ratio": True},
                {"type": "PackDetInputs", "meta_keys": ("img_path", "ori_shape", "img_shape", "scale_factor")}]
    return DetInferencer(Config(mmdet_config(detector.classes, pipeline)), str(folder / "mmdet.pth"), device="cpu",
                         show_progress=False)


def found_by(inferencer, inputs: Sequence, batch: int) -> list[Detections]:
    samples = inferencer(inputs, batch_size=batch, return_datasamples=True)["predictions"]
    return [Detections(*(values.numpy() for values in (found.bboxes, found.scores, found.labels)))
            for found in (sample.pred_instances for sample in samples)]


def compared(detector: Detector, inferencer, store: ImageStore, ids: Sequence[str],
             files: Sequence[str]) -> tuple[float, float]:
    """Shares of detections that the other side has too, on the same pixels and from files."""
    found = detect(detector, store, ids)
    ours = [found[image_id] for image_id in ids]
    contents = [store.content(image_id) for image_id in ids]
    drawn = [np.ascontiguousarray(store.pixels([image_id])[0].permute(1, 2, 0).numpy()[:height, :width, ::-1])
             for image_id, (height, width) in zip(ids, contents, strict=True)]
    theirs = [Detections(other.xyxy / store.scale(image_id), other.scores, other.labels)
              for image_id, other in zip(ids, found_by(inferencer, drawn, 8), strict=True)]
    same = alike(ours, theirs, 0.99, 1e-3)
    if same < LEAST_ALIKE:
        raise SystemExit(f"inference: expected the same detections from the same pixels, got {same:.1%} alike")
    return same, alike(ours, found_by(inferencer, files, 8), 0.5, 0.5)


def alike(ours: Sequence[Detections], theirs: Sequence[Detections], overlap: float, score: float) -> float:
    """Share of the detections, of both sides, that have a partner of their class on the other side."""
    partners = []
    for pair in zip(ours, theirs, strict=True):
        mine, other = ([torch.from_numpy(value) for value in (side.xyxy, side.scores, side.labels)] for side in pair)
        fit = ((box_iou(mine[0], other[0]) >= overlap) & ((mine[1][:, None] - other[1]).abs() <= score)
               & (mine[2][:, None] == other[2]))
        partners += [*fit.any(dim=1).tolist(), *fit.any(dim=0).tolist()]
    if not partners:
        raise SystemExit("inference: expected something to be found, got nothing; train longer (--steps)")
    return sum(partners) / len(partners)


if __name__ == "__main__":
    main()
