"""A folder as people have it: photos, some of them labelled in a COCO file; and an annotator who knows the rest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from mgral.config import SyntheticConfig
from mgral.data.synthetic import write_scenes


class People:
    """`photos` images in `folder/photos`, the first `labelled` of them in `folder/labels.json`."""

    def __init__(self, root: Path, photos: int, labelled: int, size: int = 32) -> None:
        scenes = root / "scenes"
        write_scenes(SyntheticConfig(pool=photos, reward=1, test=1, image_size=size, duplicates=0.35, empty=0.0),
                     scenes, 5)
        self.folder = root / "data"
        self.truth = json.loads((scenes / "annotations" / "instances_train.json").read_text())
        (self.folder / "photos").mkdir(parents=True)
        for image in self.truth["images"]:
            shutil.copy(scenes / "images" / image["file_name"], self.folder / "photos" / image["file_name"])
        self.names = [image["file_name"] for image in self.truth["images"]]
        if labelled:
            self.label(self.names[:labelled])

    def label(self, names: list[str]) -> None:
        """Writes the labels of these photos, as a file from elsewhere."""
        (self.folder / "labels.json").write_text(json.dumps(self._labels(names)))

    def annotate(self, batch: Path, back: Path) -> Path:
        """What a careful annotator gives back for a batch."""
        content = json.loads(batch.read_text())
        names = [Path(image["file_name"]).name for image in content["images"]]
        labels = self._labels(names)
        number = {Path(image["file_name"]).name: image["id"] for image in content["images"]}
        name_of = {image["id"]: image["file_name"] for image in labels["images"]}
        boxes = [{**box, "id": row, "image_id": number[name_of[box["image_id"]]]}
                 for row, box in enumerate(labels["annotations"], start=1)]
        back.write_text(json.dumps({**content, "categories": self.truth["categories"], "annotations": boxes}))
        return back

    def _labels(self, names: list[str]) -> dict:
        images = [image for image in self.truth["images"] if image["file_name"] in set(names)]
        ids = {image["id"] for image in images}
        return {**self.truth, "images": images,
                "annotations": [box for box in self.truth["annotations"] if box["image_id"] in ids]}
