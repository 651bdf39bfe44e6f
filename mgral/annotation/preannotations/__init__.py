"""A batch for annotators with the detector's boxes as a start, in the formats that their tools read.

| format | file | what it does not keep |
|---|---|---|
| `label-studio` | tasks.json, label_config.xml | |
| `cvat` | annotations.xml (CVAT for images 1.1) | |
| `coco` | preannotations.json | |
| `cvat-coco` | cvat-coco/: COCO as CVAT imports it | categories' ids, images' numbers |
| `voc` | voc/: images, XML files, a list | scores |
| `yolo` | yolo/: images, text files, data.yaml | scores: a sixth column would be read as a track's number |
"""

from mgral.annotation.preannotations.writing import FORMATS, write_preannotations

__all__ = ["FORMATS", "write_preannotations"]
