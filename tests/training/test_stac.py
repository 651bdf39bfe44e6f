import pytest
import torch

from mgral.config import DetectorConfig, SemisupConfig
from mgral.data.augment import STRONGEST, view
from mgral.detection import build_detector, moved
from mgral.randomness import stream
from mgral.training.inputs import contents_of, targets_of
from mgral.training.method import Draw
from mgral.training.methods import method_training
from mgral.training.stac import Stac
from tests.detection.scenes import CLASSES

CONFIG = SemisupConfig(method="stac", steps=4, labelled_per_step=2, unlabelled_per_step=3,
                       threshold=0.4)


@pytest.fixture
def new():
    return build_detector(DetectorConfig(image_size=64), CLASSES, seed=3)


@pytest.fixture
def method(new, start, scenes, labelled):
    truth = targets_of(scenes, labelled, list(labelled), torch.device("cpu"))
    return Stac(new.train(), start, scenes, truth, CONFIG)


def test_labels_are_the_teachers_sure_boxes_in_the_image_itself(method, start, scenes):
    for image_id in scenes.ids[8:16]:
        with torch.inference_mode():
            xyxy, scores, labels = start.eval().predict(scenes.pixels([image_id]), [(64, 64)])[0]
        pseudo = method.labels(image_id)
        assert torch.equal(pseudo.xyxy, xyxy[scores >= 0.4])
        assert torch.equal(pseudo.labels, labels[scores >= 0.4])
    assert sum(len(method.labels(image_id)) for image_id in scenes.ids[8:16]) > 6


def test_each_image_is_labelled_once(method, scenes, monkeypatch):
    asked = []
    pixels = scenes.pixels
    monkeypatch.setattr(scenes, "pixels", lambda ids: asked.append(tuple(ids)) or pixels(ids))
    for _ in range(2):
        for image_id in scenes.ids[8:11]:
            method.labels(image_id)
    assert asked == [(image_id,) for image_id in scenes.ids[8:11]]


def test_the_loss_is_that_of_the_static_labels_in_a_strong_view(method, scenes):
    ids, known = scenes.ids[8:11], scenes.ids[:2]
    losses = method.losses(Draw(0, 4, known, ids, stream(1)))
    draw = Draw(0, 4, known, ids, stream(1))
    labelled, truth = method.sure(draw)
    strong = view(scenes.pixels(ids), contents_of(scenes, ids), STRONGEST, draw.generator)
    pseudo = moved([method.labels(image_id) for image_id in ids], strong.matrices, scenes.canvas)
    assert sum(map(len, pseudo)) >= 2
    sure = method.student.losses(labelled.pixels, truth)
    unsure = method.student.losses(strong.pixels, pseudo)
    torch.testing.assert_close(losses, {f"labelled/{name}": value for name, value in sure.items()}
                               | {f"unlabelled/{name}": 2 * value for name, value in unsure.items()})


def test_the_teacher_stays_and_the_student_is_the_result(method, start):
    before = {name: value.clone() for name, value in start.state_dict().items()}
    for step in range(3):
        method.after(step)
    assert all(torch.equal(value, before[name]) for name, value in method.teacher.state_dict().items())
    assert method.result is method.student
    assert Stac.is_staged(CONFIG)


def test_without_sure_boxes_losses_are_finite(new, start, scenes, labelled):
    config = CONFIG.model_copy(update={"threshold": 1.0})
    steps = list(method_training(new, scenes, labelled, scenes.ids[8:16], config, 0, teacher=start))
    assert all(torch.isfinite(torch.tensor(step.loss)) for step in steps)
    assert len(steps) == 4


def test_a_resumed_training_labels_with_the_teacher_that_it_began_with(new, start, scenes, labelled, tmp_path):
    path = tmp_path / "part.pth"
    whole = method_training(new, scenes, labelled, scenes.ids[8:16], CONFIG, 0, teacher=start).run().state_dict()

    for step in method_training(new, scenes, labelled, scenes.ids[8:16], CONFIG, 0, start, path, every=2):
        if step.step == 3:
            break
    resumed = method_training(new, scenes, labelled, scenes.ids[8:16], CONFIG, 0, checkpoint=path).run().state_dict()
    untaught = method_training(new, scenes, labelled, scenes.ids[8:16], CONFIG, 0).run().state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    assert any(not torch.equal(value, untaught[name]) for name, value in whole.items())


def test_unlabelled_images_teach(new, start, scenes, labelled):
    first, second = (method_training(new, scenes, labelled, scenes.ids[8:16], CONFIG.model_copy(update={
        "weight": weight}), 0, teacher=start).run().state_dict() for weight in (0.0, 2.0))
    assert any(not torch.equal(value, second[name]) for name, value in first.items())
