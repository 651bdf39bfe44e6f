"""Datumaro, the library behind CVAT, reads what goes out, and what it writes is read; where there is one.

MGRAL_DATUMARO names a Python that can import it: it needs other versions of packages than mgral does.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mgral.annotation.preannotations import write_preannotations
from mgral.annotation.returned import read_returned
from tests.annotation.annotators import INFO, detections, pictures

PYTHON = os.environ.get("MGRAL_DATUMARO")
SIDE = Path(__file__).with_name("datumaro_side.py")
SIZES = {"cam1/a.jpg": (64, 48), "cam2/b.jpg": (50, 80), "ä c.jpg": (33, 33), "d.jpg": (640, 30)}
FOUND = {"cam1/a.jpg": detections(((1, 2, 30.25, 20.5), 0), ((5, 5, 50.25, 39), 1)), "d.jpg": detections(),
         "cam2/b.jpg": detections(((10.75, 10, 20, 79.99), 1)), "ä c.jpg": detections(((0, 0, 33, 33), 0))}
CLASSES = ("ant", "bee & <co>")

pytestmark = pytest.mark.skipif(not PYTHON, reason="MGRAL_DATUMARO names no Python that has datumaro")


@pytest.fixture
def dataset(tmp_path):
    return pictures(tmp_path / "data", SIZES, CLASSES)


def assert_same(boxes, found, off):
    wanted = sorted((label, *corners) for label, corners in zip(found.labels, found.xyxy, strict=True))
    np.testing.assert_allclose(sorted(boxes), wanted, atol=off)


def datumaro(*arguments) -> str:
    run = subprocess.run([PYTHON, "-W", "ignore", str(SIDE), *map(str, arguments)], capture_output=True, text=True,
                         env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONUTF8": "1"})
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


@pytest.mark.parametrize(("kind", "theirs", "off"), [("cvat", "cvat", 0), ("cvat-coco", "coco", 1e-9),
                                                     ("coco", "coco", 1e-9), ("voc", "voc", 0), ("yolo", "yolo", 1e-3)])
def test_datumaro_reads_what_goes_out(dataset, tmp_path, kind, theirs, off):
    path = write_preannotations(kind, tmp_path / "out", dataset, list(SIZES), FOUND, INFO)[0]
    if kind == "coco":
        (tmp_path / "out" / "annotations").mkdir()
        path.rename(tmp_path / "out" / "annotations" / "instances_default.json")
    folder = path if path.is_dir() else tmp_path / "out"
    if kind not in ("voc", "yolo"):
        shutil.copytree(dataset.root, folder / "images")
    read = json.loads(datumaro("read", theirs, folder).splitlines()[-1])
    for name in SIZES:
        own = read[Path(name).stem if kind in ("voc", "yolo") else name.removesuffix(".jpg")]
        assert_same([(CLASSES.index(label), *corners) for label, *corners in own], FOUND[name], off + 1e-5)


@pytest.mark.parametrize(("theirs", "off"), [("cvat", 0.0001), ("coco", 0.0001), ("coco_instances", 0.0001),
                                             ("voc", 0.0001), ("voc_detection", 0.0001), ("yolo", 0.0001),
                                             ("yolo_ultralytics", 0.0001)])
def test_what_datumaro_writes_is_read(dataset, tmp_path, theirs, off):
    source, names = tmp_path / "out", list(SIZES)
    for subset, part in {"train": names[:2], "val": names[2:]}.items():  # of which YOLO wants both
        path, = write_preannotations("cvat-coco", tmp_path / subset, dataset, part, FOUND, INFO)
        shutil.copytree(path / "annotations", source / "annotations", dirs_exist_ok=True)
        (source / "annotations" / "instances_default.json").rename(source / "annotations" / f"instances_{subset}.json")
    shutil.copytree(dataset.root, source / "images")
    datumaro("write", theirs, tmp_path / "theirs", source)
    returned = read_returned(tmp_path / "theirs", dataset, list(SIZES))
    left_out = ("d.jpg",) if theirs.startswith("voc") else ()  # of VOC it writes no file without an object
    assert (returned.missing, returned.extra) == (left_out, 0)
    for name, boxes in returned.boxes.items():
        own = zip(boxes.labels, boxes.xyxy, strict=True)
        assert_same([(label, *corners) for label, corners in own], FOUND[name], off)
