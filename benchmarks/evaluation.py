"""COCO's average precision: our arrays against pycocotools, on boxes in memory.

    python benchmarks/evaluation.py [--images 5000] [--classes 80] [--repeats 5] [--json]

Images hold about 7 objects and up to 100 detections. The reference is pycocotools' `evaluate` and `accumulate` over
boxes of every size, as `mgral.detection.evaluation.evaluate` asks; making its dictionaries and index is counted
separately, ours has no such step. All figures are compared first. Seconds are medians of alternating repeats; the last
line is one JSON object.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping, Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from harness import benchmark_parser, hardware, print_line, timed
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mgral.data.dataset import Boxes, ImageId
from mgral.detection import evaluate
from mgral.pool.inspection import Detections

GOAL = 10
SIDE = 640
LEAST_AGREEMENT = 1e-6


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    predictions, truth = scenes(options.images, options.classes, np.random.default_rng(0))
    classes = tuple(map(str, range(options.classes)))
    ours = evaluate(predictions, truth, classes)
    pair, loading = timed(lambda: (index(truth, predictions, classes), index(truth, truth, classes)))
    difference = compared(ours, precision(*pair))
    seconds: dict[str, list[float]] = {"ours": [], "pycocotools": []}
    for _ in range(options.repeats):
        seconds["ours"].append(timed(lambda: evaluate(predictions, truth, classes))[1])
        seconds["pycocotools"].append(timed(lambda: precision(*pair))[1])
    raw = {f"{name}_s": round(float(np.median(values)), 4) for name, values in seconds.items()}
    raw |= {"pycocotools_loading_s": round(loading, 4), "images": options.images, "classes": options.classes,
            "detections": sum(map(len, predictions.values())), "largest_difference": difference, **hardware()}
    ratio = round(float(np.median(np.divide(seconds["pycocotools"], seconds["ours"]))), 2)
    if not options.json:
        print(f"{'ours, from boxes in memory':40}{raw['ours_s']:9.3f} s")
        print(f"{'pycocotools, evaluate and accumulate':40}{raw['pycocotools_s']:9.3f} s")
        print(f"{'pycocotools, dictionaries and index':40}{loading:9.3f} s (not in the ratio)")
        print(f"ratio {ratio} (goal {GOAL}), largest difference {difference:.1e}")
    print_line("evaluation", ratio, GOAL, raw)


def scenes(images: int, classes: int, rng: np.random.Generator) -> tuple[dict[ImageId, Detections],
                                                                         dict[ImageId, Boxes]]:
    """Objects of common and rare classes, and detections near them: half of the right class, few of them close."""
    shares = 1 / np.arange(1, classes + 1)
    predictions, truth = {}, {}
    for row in range(images):
        objects, found = 1 + rng.poisson(6), rng.integers(20, 101)
        sides = np.exp(rng.uniform(np.log(12), np.log(300), (objects, 2)))
        corner = rng.uniform(0, SIDE - sides)
        xyxy = np.concatenate([corner, corner + sides], axis=1)
        labels = rng.choice(classes, objects, p=shares / shares.sum())
        truth[str(row)] = Boxes.of(xyxy, labels, rng.random(objects) < 0.02)
        source = rng.integers(0, objects, found)
        near = xyxy[source] + 0.15 * rng.normal(size=(found, 4)) * np.tile(sides[source], 2)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        guess = np.where(rng.random(found) < 0.5, labels[source], rng.choice(classes, found, p=shares / shares.sum()))
        scores = np.sort(rng.random(found, dtype=np.float32) ** 2)[::-1]
        predictions[str(row)] = Detections(near.astype(np.float32), scores, guess)
    return predictions, truth


def index(truth: Mapping[ImageId, Boxes], boxes: Mapping[ImageId, Boxes | Detections],
          classes: Sequence[str]) -> COCO:
    """pycocotools' own form of the boxes, on the images of `truth`."""
    coco = COCO()
    annotations = []
    for row, image_id in enumerate(truth, start=1):
        shown = boxes[image_id]
        marks = ([{"iscrowd": int(ignore)} for ignore in shown.ignore] if isinstance(shown, Boxes)
                 else [{"iscrowd": 0, "score": score} for score in shown.scores.tolist()])
        sides, labels = shown.xyxy.tolist(), shown.labels.tolist()
        for (left, top, right, bottom), label, mark in zip(sides, labels, marks, strict=True):
            annotations.append({"id": len(annotations) + 1, "image_id": row, "category_id": label + 1,
                                "bbox": [left, top, right - left, bottom - top],
                                "area": (right - left) * (bottom - top), **mark})
    coco.dataset = {"images": [{"id": row} for row in range(1, len(truth) + 1)], "annotations": annotations,
                    "categories": [{"id": row} for row in range(1, len(classes) + 1)]}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def precision(found: COCO, wanted: COCO) -> np.ndarray:
    """pycocotools' table (10, 101, C), -1 for a class without truth."""
    with contextlib.redirect_stdout(io.StringIO()):
        run = COCOeval(wanted, found, "bbox")
        run.params.areaRng, run.params.areaRngLbl = run.params.areaRng[:1], run.params.areaRngLbl[:1]
        run.params.maxDets = run.params.maxDets[-1:]
        run.evaluate()
        run.accumulate()
    return run.eval["precision"][..., 0, 0]


def compared(ours, table: np.ndarray) -> float:
    """The largest difference of any figure."""
    known = table[:, :, (table > -1).all(axis=(0, 1))]
    pairs = [(ours.map, known.mean()), (ours.ap50, known[0].mean())]
    pairs += [(-1.0 if mine is None else mine, table[:, :, row].mean()) for row, mine in enumerate(ours.per_class)]
    difference = float(np.abs(np.subtract(*zip(*pairs, strict=True))).max())
    if difference > LEAST_AGREEMENT:
        raise SystemExit(f"evaluation: expected pycocotools' figures within {LEAST_AGREEMENT}, got {difference} apart")
    return difference


if __name__ == "__main__":
    main()
