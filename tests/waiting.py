"""A study whose first cycle waits for people, without the training that led there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from mgral.annotation.coco import export_batch
from mgral.config import DataConfig
from mgral.data.dataset import Boxes, Dataset
from mgral.data.formats import read_dataset
from mgral.pool.inspection import Detections
from mgral.study.results import Choice, ChoiceRecord
from mgral.study.workspace import Workspace
from tests.people import People

STRATEGY = "random"


class Waiting:
    """In `root`: `params.yaml`, `data/` of 24 images and more, eight of them labelled, and a batch of the others that
    went out with boxes, which are the true ones."""

    def __init__(self, root: Path, batch: int = 16, size: int = 64, study: str = "s") -> None:
        self.people = People(root, photos=8 + batch, labelled=8, size=size)
        self.space = Workspace(root, study, 0)
        settings = {"data": {"root": "data", "format": "coco"}, "study": {
            "name": study, "strategies": [STRATEGY], "budget": batch, "cycles": 2}}
        (root / "params.yaml").write_text(yaml.safe_dump(settings))
        self.truth = self.labelled(self.people.names)
        self.ids = tuple(f"photos/{name}" for name in sorted(self.people.names[8:]))
        ChoiceRecord(Choice(self.ids, "random"), None, None, {}).write(self.space.handed_out(STRATEGY, 1))
        self.proposed = {image_id: detections(self.truth.boxes[image_id]) for image_id in self.ids}
        export_batch(self.space.batch(STRATEGY, 1) / "preannotations.json", self.truth, self.ids, self.proposed)
        self.people.label(self.people.names[:8])

    def labelled(self, names: list[str]) -> Dataset:
        """The data set with the labels of these photos."""
        self.people.label(names)
        return read_dataset(DataConfig(format="coco"), self.people.folder, self.space.heads).dataset

    def returned(self, file: Path) -> Dataset:
        """What the reader of data sets makes of an export of Label Studio."""
        config = DataConfig(format="label_studio", annotations=(str(file.absolute()),))
        loaded = read_dataset(config, self.people.folder, self.space.heads)
        assert loaded.problems == (), loaded.problems
        return loaded.dataset


def classes_of(dataset: Dataset, image_id: str) -> list[str]:
    return [dataset.classes[label] for label in dataset.boxes[image_id].labels]


def detections(boxes: Boxes) -> Detections:
    return Detections(boxes.xyxy, np.full(len(boxes), 0.9, np.float32), boxes.labels)
