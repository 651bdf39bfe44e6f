"""Semi-supervised training where the teacher is sure of nothing, or where something is no number."""

import math

import pytest
import torch

from mgral.config import DetectorConfig, SemisupConfig, SoftTeacherConfig
from mgral.data.dataset import Boxes
from mgral.detection import build_detector
from mgral.errors import TrainingError
from mgral.training.from_scratch import TrainingSet, train_by_method
from mgral.training.methods import METHODS, method_training
from tests.detection.conftest import TWO_STAGE
from tests.detection.scenes import CLASSES, Scenes
from tests.training.test_isd import SMALL_SSD

STARTS = {"tiny": None, "ssd": SMALL_SSD, "two-stage": TWO_STAGE}
SUITED = [(method, kind) for method in METHODS for kind in STARTS
          if (method == "isd") == (kind == "ssd") and (method, kind) != ("sed", "two-stage")]
"""Methods with the detectors that they make sense for."""


def config_of(method: str, threshold: float = 1.0) -> SemisupConfig:
    return SemisupConfig(method=method, steps=2, lr=1e-4, labelled_per_step=1, unlabelled_per_step=3,
                         threshold=threshold, soft_teacher=SoftTeacherConfig(
                             teacher_threshold=threshold, foreground_threshold=threshold))


def detector_config(kind: str, folder) -> DetectorConfig:
    if STARTS[kind] is None:
        return DetectorConfig(image_size=64)
    path = folder / "model.py"
    path.write_text(STARTS[kind])
    return DetectorConfig(config=str(path), image_size=64)


@pytest.fixture(scope="module")
def four():
    return Scenes(4)


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
@pytest.mark.parametrize("boxes", ["one image", "one image without a box"])
@pytest.mark.parametrize(("method", "kind"), SUITED)
def test_without_any_pseudo_label_losses_are_finite_and_no_box_is_learned(method, kind, boxes, four, tmp_path):
    start = build_detector(detector_config(kind, tmp_path), CLASSES, seed=0)
    known = {four.ids[0]: four.boxes[four.ids[0]] if boxes == "one image" else Boxes.of()}
    training, seen = method_training(start, four, known, four.ids[1:], config_of(method), 0), []
    losses = training.method.losses
    training.method.losses = lambda draw: seen.append(losses(draw)) or seen[-1]
    steps = list(training)
    assert [step.step for step in steps] == [1, 2]
    assert all(math.isfinite(step.loss) for step in steps)
    assert all(torch.isfinite(loss) for step in seen for loss in step.values())
    boxes_learned = [loss.item() for step in seen for name, loss in step.items()
                     if name in ("unlabelled/loss_bbox", "unlabelled/loss_rpn_bbox")]
    assert not any(boxes_learned)
    assert bool(boxes_learned) is (method in ("mean_teacher", "stac", "soft_teacher"))
    assert all(torch.isfinite(value).all() for value in training.result.state_dict().values())


def training_set(kind: str, four, folder) -> TrainingSet:
    return TrainingSet(detector_config(kind, folder), CLASSES, four, {four.ids[0]: four.boxes[four.ids[0]]},
                       four.ids[1:], 0, 0, "cpu")


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize(("method", "kind"), SUITED)
def test_a_loss_that_is_no_number_ends_with_its_step_and_leaves_no_result(method, kind, bad, four, tmp_path,
                                                                          monkeypatch):
    losses = METHODS[method].losses

    def broken(self, draw):
        found = losses(self, draw)
        return {**found, "broken": found["labelled/loss_bbox" if "labelled/loss_bbox" in found else next(iter(found))
                                         ] * bad} if draw.step else found

    monkeypatch.setattr(METHODS[method], "losses", broken)
    path, teacher = tmp_path / "made.pth", tmp_path / "teacher.pth"
    with pytest.raises(TrainingError, match=r"^step 2: expected a finite loss, got \S+ on images scene-0"):
        list(train_by_method(training_set(kind, four, tmp_path), config_of(method), path, teacher))
    assert not path.exists()


@pytest.mark.parametrize(("method", "part"), [("mean_teacher", "teacher"), ("soft_teacher", "teacher"),
                                              ("supervised", "teacher"), ("stac", "student"), ("sed", "student")])
def test_weights_that_are_no_numbers_after_the_last_step_are_no_result(method, part, four, tmp_path, monkeypatch):
    """Loss and gradients of the last step are told apart from what the step made of the weights."""
    after = METHODS[method].after

    def breaking(self, step):
        after(self, step)
        if step:
            next(getattr(self, part).parameters()).data[0] = math.nan

    monkeypatch.setattr(METHODS[method], "after", breaking)
    monkeypatch.setattr(METHODS[method], "result", property(lambda self: getattr(self, part)))
    path = tmp_path / "made.pth"
    with pytest.raises(TrainingError, match=r"^step 2: expected finite weights, got others in model\.\S+; try a "):
        list(train_by_method(training_set("tiny", four, tmp_path),
                             config_of(method).model_copy(update={"threshold": 0.2}), path, tmp_path / "teacher.pth"))
    assert not path.exists()
