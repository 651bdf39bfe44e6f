"""What all tests share: no telemetry, state in temporary folders, and a small data set of made-up images."""

from __future__ import annotations

import os

# Before anything imports them: Prefect and MLflow read these once.
os.environ["DO_NOT_TRACK"] = "1"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["PREFECT_LOGGING_LEVEL"] = "ERROR"
os.environ["DVC_NO_ANALYTICS"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # as flows/ sets it; threads that wait for one another only cost time

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mgral.data.dataset import Boxes, Dataset, ImageInfo
from mgral.progress import Progress, current

ROOT = Path(__file__).parents[1]


@pytest.fixture
def toy(tmp_path) -> Dataset:
    """Six 40 × 30 pictures, i0.jpg to i5.jpg, of one "cat" (even) or one "dog" (odd) each."""
    folder = tmp_path / "toy"
    folder.mkdir()
    rng = np.random.default_rng(0)
    images, boxes = {}, {}
    for number in range(6):
        name = f"i{number}.jpg"
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)).save(folder / name)
        images[name] = ImageInfo(name, name, 40, 30)
        boxes[name] = Boxes.of([(2, 3, 12.5, 20)], [number % 2])
    return Dataset(folder, ("cat", "dog"), (1, 2), images, boxes, {"train": tuple(images)})


class Heard:
    """A display that remembers what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def show(self, title: str, done: int, total: int, left: str) -> None:
        pass

    close = show

    def note(self, line: str) -> None:
        self.notes.append(line)


@pytest.fixture
def heard() -> Iterator[Progress]:
    """The progress of this test; what it said is in `notes`."""
    display = Heard()
    progress = Progress(display)
    progress.notes = display.notes
    token = current.set(progress)
    yield progress
    current.reset(token)
