"""No labelled image is left out of a training, however small it is and though nothing is in it."""

import json
from collections import Counter

import pytest

from mgral.config import Config, DetectorConfig, SemisupConfig, TrainingConfig
from mgral.detection import build_detector
from mgral.study.preparation import open_images, prepare
from mgral.study.workspace import Workspace
from mgral.training.methods import method_training
from mgral.training.supervised import supervised_training
from tests.small_data import save_image

LABELLED = {"empty.jpg": (200, 150, []), "small.jpg": (30, 30, [[4, 5, 12, 9]]), "tiny.jpg": (3, 2, [[0, 0, 3, 2]]),
            "thin.jpg": (300, 4, [[10, 0, 1, 1]]), "normal.jpg": (200, 150, [[10, 20, 60, 50], [100, 20, 40, 40]])}
"""Width, height and boxes."""
MEASURED = {f"{split}{number}.jpg": (60, 40, [[5, 5, 20, 20]]) for split in ("reward", "test") for number in range(2)}
POOL = {f"pool{number}.jpg": (60, 40, []) for number in range(4)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A COCO set with given splits; labelled is what its `train` annotates."""
    root, workspace = tmp_path_factory.mktemp("data"), Workspace(tmp_path_factory.mktemp("work"), "s", 0)
    (root / "annotations").mkdir()
    for seed, (name, (width, height, _)) in enumerate({**LABELLED, **MEASURED, **POOL}.items()):
        save_image(root / "images" / name, width, height, seed)
    for split in ("train", "reward", "test"):
        images = LABELLED if split == "train" else {name: image for name, image in MEASURED.items() if split in name}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(coco(images)))
    config = Config.model_validate({"data": {"format": "coco"}, "detector": {"image_size": 64},
                                    "study": {"strategies": ("random",), "cycles": 1, "budget": 2}})
    made = prepare(config, workspace, root)
    return made, open_images(made.dataset, 64, workspace.images)


def coco(images: dict) -> dict:
    rows = list(images.items())
    boxes = [(number, box) for number, (_, (_, _, known)) in enumerate(rows) for box in known]
    return {"images": [{"id": number, "file_name": name, "width": width, "height": height}
                       for number, (name, (width, height, _)) in enumerate(rows)],
            "annotations": [{"id": number, "image_id": image, "bbox": box, "category_id": 1, "iscrowd": 0,
                             "area": box[2] * box[3]} for number, (image, box) in enumerate(boxes)],
            "categories": [{"id": 1, "name": "cell"}]}


def drawn(training) -> Counter:
    """How often each labelled image was drawn, and that its boxes came with it."""
    counts, losses = Counter(), training.method.losses

    def counted(draw):
        counts.update(draw.labelled)
        return losses(draw)

    training.method.losses = counted
    for step in training:
        assert step.loss > 0
    return counts


def test_all_are_labelled(prepared):
    made, store = prepared
    assert sorted(made.splits.labelled) == [f"images/{name}" for name in sorted(LABELLED)]
    assert {image_id: len(made.dataset.boxes[image_id]) for image_id in made.splits.labelled} == {
        f"images/{name}": len(boxes) for name, (_, _, boxes) in LABELLED.items()}
    assert sorted(made.splits.pool) == [f"images/{name}" for name in sorted(POOL)]
    assert len(store) == len(LABELLED) + len(MEASURED) + len(POOL)


@pytest.mark.parametrize("method", ["supervised cycle", "supervised", "mean_teacher", "stac", "soft_teacher", "sed"])
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_each_is_drawn_as_often_as_any_other(prepared, method, batch):
    made, store = prepared
    known = {image_id: made.dataset.boxes[image_id] for image_id in made.splits.labelled}
    steps = 5 if batch in (2, 7) else -(-5 // batch)
    detector = build_detector(DetectorConfig(image_size=64), made.dataset.classes, seed=0)
    if method == "supervised cycle":
        training = supervised_training(detector, store, known, sorted(known),
                                       TrainingConfig(steps=steps, batch_size=batch, lr=1e-4), 0)
    else:
        settings = SemisupConfig(method=method, steps=steps, labelled_per_step=batch, unlabelled_per_step=2, lr=1e-4)
        training = method_training(detector, store, known, made.splits.pool, settings, 0)
    assert training.method.truth.keys() == known.keys()
    assert {image_id: len(target) for image_id, target in training.method.truth.items()} == {
        image_id: len(boxes) for image_id, boxes in known.items()}
    assert drawn(training) == dict.fromkeys(known, steps * batch // 5)
