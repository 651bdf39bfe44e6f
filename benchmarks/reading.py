"""Opening and checking a COCO data set, and a plain folder of images: ours against pycocotools and Pillow.

    python benchmarks/reading.py [--images 100000] [--boxes 7] [--folder DIR] [--json]

Makes the set first (1,000 little JPEGs, linked under as many names as there are images; nothing of them is decoded by
either side, so that their size hardly matters) and opens it in processes of their own. The reference is what one
writes by hand: `COCO(file)` a split, then for each image its file opened by Pillow and its size compared, for each box
whether it lies inside, and whether the ids are unique. Ours is `read_dataset`, with all of its checks. `cold`: nothing
is kept from before, though the system has the files in memory; `warm`: the second time. The ratio is the reference's
seconds over ours when cold. `folder` is the same for the images alone, that Pillow opens for their sizes. Memory is the
whole process's largest, `cpu` its seconds at work, which other programs change less.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from harness import benchmark_parser, hardware, print_line
from PIL import Image

GOAL = 1
DISTINCT = 1000
SPLITS = {"train": 0.8, "reward": 0.1, "test": 0.1}
WIDTH, HEIGHT = 64, 48


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--boxes", type=int, default=7, help="boxes of an image, on average")
    parser.add_argument("--folder", type=Path, help="where the set is made, or lies already; a temporary one else")
    parser.add_argument("--only", choices=SIDES, help="open the set in --folder by this side; used by the benchmark")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(SIDES[options.only](options.folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "annotations").is_dir():
            make_set(folder, options.images, options.boxes, np.random.default_rng(0))
        coco_set, plain = compared("pycocotools", "ours", folder), compared("pillow", "ours_plain", folder)
    ratio = round(coco_set["reference"]["seconds"] / coco_set["cold"]["seconds"], 2)
    if not options.json:
        for what, sides in (("COCO", coco_set), ("folder", plain)):
            for name, side in sides.items():
                print(f"{what:8}{name:12}{side['seconds']:8.2f} s{side['cpu']:8.2f} s cpu{side['peak_mb']:8.0f} MB"
                      f"  ratio {sides['reference']['seconds'] / side['seconds']:.2f}")
        print(f"ratio {ratio} (goal {GOAL})")
    print_line("reading", ratio, GOAL, {**coco_set, "folder": plain, **hardware()})


def compared(theirs: str, ours: str, folder: Path) -> dict[str, dict]:
    """The reference, and ours without and with what is kept from the time before."""
    reference = measured(theirs, folder)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    sides = {"reference": reference, "cold": measured(ours, folder), "warm": measured(ours, folder)}
    for side in sides.values():
        if side["counts"] != reference["counts"]:
            raise SystemExit(f"reading: expected the reference's {reference['counts']}, got {side['counts']}")
    return sides


def make_set(folder: Path, count: int, boxes: int, rng: np.random.Generator) -> None:
    """`images/NNNNNN.jpg` and one COCO file a split."""
    (folder / "images").mkdir(parents=True)
    (folder / "originals").mkdir()
    originals = [folder / "originals" / f"{row}.jpg" for row in range(min(DISTINCT, count))]
    for path in originals:
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(path, quality=75)
    ends = np.cumsum([round(count * share) for share in SPLITS.values()])
    for row in range(ends[-1]):
        os.link(originals[row % len(originals)], folder / "images" / f"{row:06d}.jpg")
    (folder / "annotations").mkdir()
    for split, start, end in zip(SPLITS, [0, *ends[:-1]], ends, strict=True):
        content = json.dumps(coco(range(start, end), boxes, rng))
        (folder / "annotations" / f"instances_{split}.json").write_text(content)


def coco(rows: Sequence[int], boxes: int, rng: np.random.Generator) -> dict[str, list]:
    owners = np.repeat(rows, rng.poisson(boxes, len(rows))).tolist()
    sides = rng.uniform(2, 20, (len(owners), 2))
    corners = rng.uniform(0, (WIDTH, HEIGHT) - sides)
    kinds = rng.integers(1, 81, len(owners)).tolist()
    annotations = [{"id": number, "image_id": owner, "category_id": kind, "bbox": box, "area": box[2] * box[3],
                    "iscrowd": 0, "segmentation": []}
                   for number, (owner, kind, box) in enumerate(zip(
                       owners, kinds, np.concatenate([corners, sides], axis=1).round(2).tolist(), strict=True), 1)]
    images = [{"id": row, "file_name": f"{row:06d}.jpg", "width": WIDTH, "height": HEIGHT} for row in rows]
    return {"images": images, "annotations": annotations,
            "categories": [{"id": kind, "name": f"class {kind}"} for kind in range(1, 81)]}


def measured(side: str, folder: Path) -> dict:
    command = [sys.executable, __file__, "--only", side, "--folder", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def open_ours(folder: Path) -> dict:
    return read(folder, "coco", folder / "cache")


def open_plain(folder: Path) -> dict:
    return read(folder / "images", "auto", folder / "cache")


def read(root: Path, kind: str, cache: Path) -> dict:
    from mgral.config import DataConfig
    from mgral.data.formats import read_dataset

    start = begin()
    loaded = read_dataset(DataConfig(format=kind), root, cache, lambda done, total: None)
    if loaded.problems:
        raise SystemExit(f"reading: expected a set without faults, got {loaded.problems[0]}")
    return found(start, len(loaded.dataset.images), sum(map(len, loaded.dataset.boxes.values())))


def open_with_pillow(folder: Path) -> dict:
    start, images = begin(), 0
    for path in sorted((folder / "images").iterdir()):
        with Image.open(path) as image:
            images += min(image.size) > 0
    return found(start, images, 0)


def open_theirs(folder: Path) -> dict:
    from pycocotools.coco import COCO

    start, images, boxes = begin(), 0, 0
    for split in SPLITS:
        with contextlib.redirect_stdout(io.StringIO()):
            split_file = COCO(folder / "annotations" / f"instances_{split}.json")
        listed = split_file.dataset["images"]
        if len({entry["id"] for entry in listed}) < len(listed) or len({entry["file_name"] for entry in listed}) < len(
                listed) or len(split_file.anns) < len(split_file.dataset["annotations"]):
            raise SystemExit("reading: expected unique ids")
        for entry in listed:
            with Image.open(folder / "images" / entry["file_name"]) as image:
                width, height = image.size
            if (width, height) != (entry["width"], entry["height"]):
                raise SystemExit("reading: expected the sizes as annotated")
            for annotation in split_file.imgToAnns[entry["id"]]:
                x, y, w, h = annotation["bbox"]
                if annotation["category_id"] not in split_file.cats or not (
                        x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= width + 0.02 and y + h <= height + 0.02):
                    raise SystemExit("reading: expected boxes inside")
                boxes += 1
        images += len(listed)
    return found(start, images, boxes)


def begin() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def found(start: tuple[float, float], images: int, boxes: int) -> dict:
    return {"seconds": round(time.perf_counter() - start[0], 3), "cpu": round(time.process_time() - start[1], 3),
            "counts": {"images": images, "boxes": boxes},
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}


SIDES = {"ours": open_ours, "pycocotools": open_theirs, "ours_plain": open_plain, "pillow": open_with_pillow}

if __name__ == "__main__":
    main()
