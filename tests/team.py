"""A team's folder of 300 photos, 60 of them labelled, laid out as people's are; and an annotator who knows the rest and
corrects what an annotation tool is given."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree as Xml

from mgral.config import SyntheticConfig
from mgral.data.synthetic import write_scenes

SECONDS = 12.5
"""That the annotator spends on an image."""


class Team:
    """Photos in `folder`, of `width` × `height` pixels; `boxes` by name of the photo: class, x1, y1, x2, y2."""

    def __init__(self, root: Path, layout: str, photos: int = 300, labelled: int = 60, size: int = 32) -> None:
        scenes, self.folder, self.size = root / "scenes", root / "data", size
        write_scenes(SyntheticConfig(pool=photos, reward=1, test=1, image_size=size, duplicates=0.35, empty=0.15),
                     scenes, 5)
        truth = json.loads((scenes / "annotations" / "instances_train.json").read_text())
        self.classes = [entry["name"] for entry in truth["categories"]]
        classes = {entry["id"]: entry["name"] for entry in truth["categories"]}
        names = {image["id"]: Path(image["file_name"]).name for image in truth["images"]}
        self.boxes: dict[str, list[tuple]] = {name: [] for name in names.values()}
        for entry in truth["annotations"]:
            x, y, width, height = entry["bbox"]
            self.boxes[names[entry["image_id"]]].append((classes[entry["category_id"]], x, y, x + width, y + height))
        self.labelled = list(self.boxes)[:labelled]
        write = {"yolo": self._write_yolo, "roboflow": self._write_roboflow}[layout]
        write({Path(image["file_name"]).name: scenes / "images" / image["file_name"] for image in truth["images"]})
        shutil.rmtree(scenes)

    def _write_yolo(self, files: dict[str, Path]) -> None:
        """images/ and labels/ side by side, as Ultralytics has them; no label file where nobody has looked."""
        for part in ("images", "labels"):
            (self.folder / part).mkdir(parents=True)
        for name, path in files.items():
            shutil.copy(path, self.folder / "images" / name)
        for name in self.labelled:
            lines = [" ".join([str(self.classes.index(label)), *(f"{share:.6f}" for share in (
                (x1 + x2) / 2 / self.size, (y1 + y2) / 2 / self.size, (x2 - x1) / self.size, (y2 - y1) / self.size))])
                for label, x1, y1, x2, y2 in self.boxes[name]]
            (self.folder / "labels" / name).with_suffix(".txt").write_text("".join(f"{line}\n" for line in lines))
        (self.folder / "data.yaml").write_text(json.dumps({"names": self.classes, "nc": len(self.classes)}))

    def _write_roboflow(self, files: dict[str, Path]) -> None:
        """train/ with the XML file beside its photo, and a folder of photos that nobody has looked at."""
        for name, path in files.items():
            folder = self.folder / ("train" if name in self.labelled else "unlabelled")
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / name)
            if name in self.labelled:
                (folder / name).with_suffix(".xml").write_text(self.voc(name))

    def voc(self, name: str) -> str:
        """A photo's true boxes as Pascal VOC."""
        objects = "".join(
            f"<object><name>{label}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
            "</bndbox></object>" for label, x1, y1, x2, y2 in self.boxes[name])
        return (f"<annotation><filename>{name}</filename><size><width>{self.size}</width><height>{self.size}</height>"
                f"<depth>3</depth></size>{objects}</annotation>")

    def in_label_studio(self, tasks: Path, back: Path) -> Path:
        """Label Studio's export after the annotator has drawn every box of every task afresh."""
        exported = [{"id": row, **task, "annotations": [{
            "id": row, "was_cancelled": False, "lead_time": SECONDS, "created_at": "2026-11-02T10:00:00Z",
            "result": [self.region(number, *box) for number, box in enumerate(self.boxes[name(task["data"]["path"])])],
        }]} for row, task in enumerate(json.loads(tasks.read_text()), start=1)]
        back.write_text(json.dumps(exported))
        return back

    def region(self, number: int, label: str, x1: float, y1: float, x2: float, y2: float) -> dict:
        """A box as Label Studio has it."""
        percent = (100 / self.size * value for value in (x1, y1, x2 - x1, y2 - y1))
        return {"id": f"r{number}", "type": "rectanglelabels", "from_name": "label", "to_name": "image",
                "original_width": self.size, "original_height": self.size, "image_rotation": 0,
                "value": {**dict(zip(("x", "y", "width", "height"), percent, strict=True)), "rotation": 0,
                          "rectanglelabels": [label]}}

    def in_cvat(self, given: Path, back: Path) -> Path:
        """The same in CVAT's own format: what was there is thrown away, what is true is drawn."""
        tree = Xml.parse(given)
        for image in tree.iter("image"):
            for box in list(image):
                image.remove(box)
            for label, *corners in self.boxes[name(image.get("name"))]:
                sides = dict(zip(("xtl", "ytl", "xbr", "ybr"), map(str, corners), strict=True))
                Xml.SubElement(image, "box", {"label": label, "occluded": "0", "z_order": "0", **sides})
        tree.write(back)
        return back

    def in_voc(self, given: Path) -> Path:
        """The same in a folder of Pascal VOC files, in place."""
        for path in (given / "Annotations").glob("*.xml"):
            photo = next(photo for photo in self.boxes if Path(photo).stem == path.stem)
            path.write_text(self.voc(photo))
        return given


def name(path: str) -> str:
    return Path(path).name
