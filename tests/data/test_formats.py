"""Every format reads what is right, however it is laid out."""

import json

import numpy as np
import pytest
from PIL import Image

from mgral.data.formats import load_dataset
from tests.data.sets import COCO, VOC, YOLO, edit
from tests.small_data import coco_content, save_image, write_coco_set, write_voc_set, write_yolo_set


def test_reads_boxes_classes_and_splits(any_set):
    config, root = any_set
    loaded = load_dataset(config, root)
    dataset = loaded.dataset
    assert [len(dataset.splits[name]) for name in ("train", "reward", "test")] == [3, 2, 1]
    first, last = dataset.splits["train"][0], dataset.splits["train"][2]
    bee = dataset.classes.index("bee")
    assert (dataset.images[first].width, dataset.images[first].height) == (40, 30)
    order = np.argsort(dataset.boxes[first].xyxy[:, 0])
    np.testing.assert_allclose(dataset.boxes[first].xyxy[order], [[2, 3, 12, 11], [20.5, 4, 32.75, 24]], atol=1e-4)
    assert dataset.boxes[first].labels[order].tolist() == [bee, 1 - bee]
    assert dataset.boxes[first].xyxy.dtype == np.float32
    assert len(dataset.boxes[last]) == 0
    assert all(dataset.path(image_id).is_file() for image_id in dataset.images)
    assert all("empty" in note for note in loaded.notes), "the third image is, and formats differ in how they say so"


def test_an_image_is_its_path(tmp_path):
    coco = load_dataset(COCO, write_coco_set(tmp_path / "c")).dataset
    assert sorted(coco.images) == [f"images/{number}.jpg" for number in range(1, 7)]
    assert load_dataset(VOC, write_voc_set(tmp_path / "v")).dataset.splits["test"] == ("JPEGImages/6.jpg",)
    assert load_dataset(YOLO, write_yolo_set(tmp_path / "y")).dataset.splits["test"] == ("images/test/6.jpg",)


def test_coco_keeps_category_ids_in_order(tmp_path):
    dataset = load_dataset(COCO, write_coco_set(tmp_path / "c")).dataset
    assert dataset.classes == ("bee", "ant")
    assert dataset.category_ids == (1, 2)


def test_classes_may_be_chosen_and_ordered(any_set):
    config, root = any_set
    chosen = config.model_copy(update={"classes": ("ant", "bee")})
    assert load_dataset(chosen, root).dataset.classes == ("ant", "bee")


@pytest.mark.parametrize("layout", ["annotations/{}.json", "{}/_annotations.coco.json", "{}.json"])
def test_coco_layouts(tmp_path, layout):
    for split in ("train", "reward", "test"):
        path = tmp_path / layout.format(split)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(coco_content(split)))
        for entry in coco_content(split)["images"]:
            save_image(tmp_path / split / entry["file_name"])
    assert load_dataset(COCO, tmp_path).dataset.splits["test"] == ("test/6.jpg",)


def test_crowd_and_difficult_are_ignored(tmp_path):
    root = write_coco_set(tmp_path / "c")
    edit(root, "test", lambda content: content["annotations"][0].update(iscrowd=1))
    assert load_dataset(COCO, root).dataset.boxes["images/6.jpg"].ignore.tolist() == [True]
    root = write_voc_set(tmp_path / "v")
    path = root / "Annotations" / "6.xml"
    path.write_text(path.read_text().replace("<name>ant</name>", "<name>ant</name><difficult>1</difficult>"))
    assert load_dataset(VOC, root).dataset.boxes["JPEGImages/6.jpg"].ignore.tolist() == [True]


def test_sizes_are_those_seen_after_exif_rotation(tmp_path):
    root = write_coco_set(tmp_path / "c")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (30, 40)).save(root / "images" / "6.jpg", exif=turned)
    assert load_dataset(COCO, root).dataset.images["images/6.jpg"].width == 40


# What is wrong is refused.
