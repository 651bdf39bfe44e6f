"""Every format reads what is right, however it is laid out."""

import json

import numpy as np
import pytest
from PIL import Image

from mgral.config import DataConfig
from mgral.data.formats import load_dataset, voc
from tests.data.sets import COCO, VOC, YOLO, edit, problems
from tests.small_data import BCCD, coco_content, save_image, write_coco_set, write_voc_set, write_yolo_set


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
    assert loaded.notes == ()


def test_ids_are_the_sources_own(tmp_path):
    assert tuple(load_dataset(COCO, write_coco_set(tmp_path / "c")).dataset.images) == ("1", "2", "3", "4", "5", "6")
    assert tuple(load_dataset(VOC, write_voc_set(tmp_path / "v")).dataset.splits["test"]) == ("6",)
    assert load_dataset(YOLO, write_yolo_set(tmp_path / "y")).dataset.splits["test"] == ("images/test/6",)


def test_coco_keeps_category_ids_in_order(tmp_path):
    dataset = load_dataset(COCO, write_coco_set(tmp_path / "c")).dataset
    assert dataset.classes == ("bee", "ant")
    assert dataset.category_ids == (1, 2)


def test_only_the_named_splits_are_read(tmp_path):
    root = write_coco_set(tmp_path / "c")
    (root / "annotations" / "instances_test.json").write_text("{")
    dataset = load_dataset(DataConfig(format="coco", test=0.2), root).dataset
    assert set(dataset.splits) == {"train", "reward"}


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
    assert load_dataset(COCO, tmp_path).dataset.images["6"].file_name == "test/6.jpg"


def test_crowd_and_difficult_are_ignored(tmp_path):
    root = write_coco_set(tmp_path / "c")
    edit(root, "test", lambda content: content["annotations"][0].update(iscrowd=1))
    assert load_dataset(COCO, root).dataset.boxes["6"].ignore.tolist() == [True]
    root = write_voc_set(tmp_path / "v")
    path = root / "Annotations" / "6.xml"
    path.write_text(path.read_text().replace("<name>ant</name>", "<name>ant</name><difficult>1</difficult>"))
    assert load_dataset(VOC, root).dataset.boxes["6"].ignore.tolist() == [True]


def test_voc_one_folder_deeper(tmp_path):
    write_voc_set(tmp_path / "outer" / "VOC2007")
    assert load_dataset(VOC, tmp_path / "outer").dataset.root == tmp_path / "outer" / "VOC2007"


def test_voc_offset_counts_from_one(tmp_path):
    root = write_voc_set(tmp_path / "v")
    source = voc.read(root, "test", [], [], offset=1.0)
    assert source.images[0].boxes[0].corners == (7, 1, 17, 11)


def test_image_without_xml_is_not_annotated_in_the_pool_and_refused_elsewhere(tmp_path):
    root = write_voc_set(tmp_path / "v")
    (root / "Annotations" / "3.xml").unlink()
    assert "3" not in load_dataset(VOC, root).dataset.boxes
    (root / "Annotations" / "6.xml").unlink()
    assert any("6.xml, as 'test' must be annotated, got nothing there" in fault for fault in problems(VOC, root))


def test_image_without_label_file_is_not_annotated_in_the_pool_and_empty_elsewhere(tmp_path):
    root = write_yolo_set(tmp_path / "y")
    for name in ("train/2", "test/6"):
        (root / "labels" / f"{name}.txt").unlink()
    loaded = load_dataset(YOLO, root)
    assert "images/train/2" not in loaded.dataset.boxes
    assert len(loaded.dataset.boxes["images/test/6"]) == 0
    assert loaded.notes == (f"{root / 'data.yaml'}: test: 1 images without a label file count as empty",)


@pytest.mark.parametrize("settings", [
    "train: ../images/train\nreward: ../images/reward\ntest: [images/test]\nnames: [bee, ant]\n",
    "path: ../elsewhere\ntrain: images/train\nreward: images/reward\ntest: images/test\nnames: [bee, ant]\n",
    "train: train.txt\nreward: images/reward\ntest: lists/test.txt\nnames: [bee, ant]\n"])
def test_yolo_settings_of_the_wild(tmp_path, settings):
    root = write_yolo_set(tmp_path / "y")
    (root / "data.yaml").write_text(settings)
    (root / "train.txt").write_text("./images/train/1.jpg\nimages/train/2.jpg\n\nimages/train/3.jpg\n")
    (root / "lists").mkdir()
    (root / "lists" / "test.txt").write_text("images/test/6.jpg\n")
    assert len(load_dataset(YOLO, root).dataset.images) == 6


def test_yolo_labels_beside_images_without_an_images_folder(tmp_path):
    save_image(tmp_path / "shots" / "a.jpg")
    (tmp_path / "shots" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text("train: shots\nnames: [bee]\n")
    dataset = load_dataset(DataConfig(format="yolo", reward=0.1, test=0.1), tmp_path).dataset
    assert dataset.boxes["shots/a"].xyxy.tolist() == [[10, 7.5, 30, 22.5]]


def test_sizes_are_those_seen_after_exif_rotation(tmp_path):
    root = write_coco_set(tmp_path / "c")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (30, 40)).save(root / "images" / "6.jpg", exif=turned)
    assert load_dataset(COCO, root).dataset.images["6"].width == 40


# What is wrong is refused.


def test_blood_cells():
    if not BCCD.is_dir():
        pytest.skip(f"the BCCD set is not at {BCCD}")
    config = DataConfig(format="voc", reward="val")
    assert len(problems(config, BCCD)) == 2
    loaded = load_dataset(config.model_copy(update={"invalid_boxes": "repair"}), BCCD)
    assert loaded.dataset.classes == ("Platelets", "RBC", "WBC")
    assert [len(ids) for ids in loaded.dataset.splits.values()] == [205, 87, 72]
    assert sum(map(len, loaded.dataset.boxes.values())) == 4888 - 2
    assert len(loaded.notes) == 2
