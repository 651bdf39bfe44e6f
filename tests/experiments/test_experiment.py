import dataclasses
import math
import typing

import pytest
import torch

from mgral.config import SemisupConfig
from mgral.data.dataset import Boxes
from mgral.detection import Target, detect, evaluate, soft_ap
from mgral.errors import DataError
from mgral.experiments.experiment import balanced_mean, measure, measured_at, run_experiment
from mgral.training.methods import METHODS

CONFIG = SemisupConfig(steps=2, labelled_per_step=3, unlabelled_per_step=3, threshold=0.3)


def test_every_configured_method_is_there():
    assert set(METHODS) == set(typing.get_args(SemisupConfig.model_fields["method"].annotation))


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_outcome(method, start, scenes, labelled, reward):
    if METHODS[method].refusal(start):
        pytest.skip(METHODS[method].refusal(start))
    config = CONFIG.model_copy(update={"method": method})
    first, second, third = (dataclasses.replace(
        run_experiment(start, scenes, labelled, scenes.ids[8:16], reward, config, seed), seconds=0.0)
        for seed in (3, 3, 4))
    assert first == second != third
    end = first.end
    assert end.step == 2
    assert 0 <= end.figures["map"] <= end.figures["ap50"] <= 1
    assert 0 <= end.figures["soft_ap"] <= 1
    assert len(end.per_class) == 3
    assert math.isfinite(end.figures["loss"])
    assert math.isfinite(end.figures["balanced_loss"])


def test_the_batch_matters(start, scenes, labelled, reward):
    first, second = (run_experiment(start, scenes, labelled, batch, reward, CONFIG, 0)
                     for batch in (scenes.ids[8:11], scenes.ids[11:16]))
    assert first.end.figures["loss"] != second.end.figures["loss"]
    assert first.seconds > 0


def test_measures_are_those_of_the_parts(start, scenes, reward):
    measured = measure(start, scenes, reward)
    detections = detect(start, scenes, list(reward))
    reached = evaluate(detections, reward, start.classes)
    assert (measured.figures["map"], measured.figures["ap50"]) == (reached.map, reached.ap50)
    assert measured.per_class == reached.per_class
    assert measured.figures["soft_ap"] == soft_ap(detections, reward)
    targets = [Target.of(boxes, 2.0) for boxes in reward.values()]
    with torch.inference_mode():
        start.eval()
        expected = sum(value.item() for value in start.losses(scenes.pixels(list(reward)), targets).values())
    assert measured.figures["loss"] == pytest.approx(expected, rel=1e-5)
    assert measured.figures["balanced_loss"] > 0


def test_measuring_on_the_way_changes_nothing(start, scenes, labelled, reward):
    config = CONFIG.model_copy(update={"steps": 5})
    once, often = (run_experiment(start, scenes, labelled, scenes.ids[8:12], reward, config, 0, measurements=count)
                   for count in (1, 3))
    assert [measured.step for measured in often.curve] == [2, 3, 5]
    assert once.curve == often.curve[-1:]
    assert often.curve[0].figures["loss"] != often.curve[1].figures["loss"]
    assert measured_at(4, 9) == (1, 2, 3, 4)


def test_a_training_that_paused_goes_on_with_what_it_had_measured(start, scenes, labelled, reward, tmp_path):
    config = CONFIG.model_copy(update={"steps": 4})
    def run(**further):
        return run_experiment(start, scenes, labelled, scenes.ids[8:12], reward, config, 0, measurements=2, **further)

    file = tmp_path / "paused.pth"
    whole, paused = run(), run(checkpoint=file, until=2)
    assert file.exists()
    assert paused.curve == whole.curve[:1]
    assert run(checkpoint=file, until=2).curve == paused.curve
    assert run(checkpoint=file).curve == whole.curve
    assert not file.exists()


def test_classes_weigh_alike():
    targets = [Target(torch.zeros(3, 4), torch.tensor([0, 0, 1]), torch.zeros(0, 4)),
               Target(torch.zeros(2, 4), torch.tensor([0, 1]), torch.zeros(0, 4))]
    losses = [torch.tensor([1.0, 2.0, 10.0]), torch.tensor([3.0, math.nan])]
    assert balanced_mean(losses, targets, 3) == (2 + 10) / 2  # class 2 has no box, one box of class 1 no loss


def test_reward_images_must_not_be_trained_on(start, scenes, labelled, reward):
    for batch, truth in ((scenes.ids[15:17], reward), (scenes.ids[8:9], labelled)):
        with pytest.raises(ValueError, match="expected reward images apart from training images, got scene-"):
            run_experiment(start, scenes, labelled, batch, truth, CONFIG, 0)


def test_reward_images_must_hold_boxes(start, scenes, labelled):
    with pytest.raises(DataError, match="expected at least one annotated box"):
        run_experiment(start, scenes, labelled, scenes.ids[8:10], {scenes.ids[20]: Boxes.of()}, CONFIG, 0)
