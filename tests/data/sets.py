"""The little data set in every format, what is wrong with one, and a fault put into it."""

import json

import pytest

from mgral.config import DataConfig
from mgral.data.formats import load_dataset
from mgral.errors import DataError
from tests.small_data import coco_content, write_coco_set, write_voc_set, write_yolo_set

COCO, VOC, YOLO = (DataConfig(format=name) for name in ("coco", "voc", "yolo"))
SETS = {"coco": write_coco_set, "voc": write_voc_set, "yolo": write_yolo_set}


def problems(config, root):
    with pytest.raises(DataError) as caught:
        load_dataset(config, root)
    return caught.value.problems


def edit(root, split, change):
    content = coco_content(split)
    change(content)
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
