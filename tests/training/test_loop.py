import copy
from itertools import islice

import pytest
import torch

from mgral.config import DetectorConfig, TrainingConfig
from mgral.data.dataset import Boxes
from mgral.detection import build_detector
from mgral.errors import StateError, TrainingError
from mgral.training.loop import Step
from mgral.training.supervised import supervised_training
from tests.detection.scenes import CLASSES, Scenes, ap50_of, learn_by_heart

SHORT = TrainingConfig(steps=5, batch_size=3)


def weights(detector):
    return {name: value.clone() for name, value in detector.state_dict().items()}


def trained(detector, scenes, config=SHORT, seed=0, checkpoint=None, steps=None):
    detector = copy.deepcopy(detector)
    training = supervised_training(detector, scenes, scenes.boxes, scenes.ids, config, seed, checkpoint, every=2)
    facts = list(islice(training, steps))
    return weights(detector), facts


def test_losses_fall_and_eight_images_are_learned_by_heart(detector):
    scenes = Scenes(8)
    config = TrainingConfig(steps=120, batch_size=8, lr=5e-3)
    losses = learn_by_heart(detector, scenes, config)
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    assert ap50_of(detector, scenes) > 0.9


def test_same_seed_same_weights_and_nothing_global_is_seeded(detector):
    scenes, state = Scenes(7), torch.random.get_rng_state()
    (first, facts), (second, again), (third, _) = (trained(detector, scenes, seed=seed) for seed in (1, 1, 2))
    assert facts == again
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert any(not torch.equal(value, third[name]) for name, value in first.items())
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("until", [3, 4, 5])
def test_interrupted_and_continued_equals_undisturbed(detector, tmp_path, until):
    scenes, checkpoint = Scenes(7), tmp_path / "training.pt"
    whole, facts = trained(detector, scenes)
    trained(detector, scenes, checkpoint=checkpoint, steps=until)
    torch.manual_seed(5)  # another process
    torch.rand(3)
    fresh = build_detector(DetectorConfig(image_size=64), CLASSES, seed=9)
    rest, continued = trained(fresh, scenes, checkpoint=checkpoint)
    assert continued == facts[(until - 1) // 2 * 2:]  # a step is saved when the next one is asked for
    assert all(torch.equal(value, rest[name]) for name, value in whole.items())


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
def test_foreign_detectors_are_continued_exactly_too(foreign, tmp_path):
    scenes, checkpoint = Scenes(4), tmp_path / "training.pt"
    config = TrainingConfig(steps=3, batch_size=2)
    whole, _ = trained(foreign, scenes, config)
    trained(foreign, scenes, config, checkpoint=checkpoint, steps=3)
    rest, _ = trained(foreign, scenes, config, checkpoint=checkpoint)
    assert all(torch.equal(value, rest[name]) for name, value in whole.items())


def test_a_finished_training_has_no_more_steps(detector, tmp_path):
    scenes, checkpoint = Scenes(3), tmp_path / "training.pt"
    config = SHORT.model_copy(update={"steps": 2})
    first, facts = trained(detector, scenes, config, checkpoint=checkpoint)
    again, none = trained(detector, scenes, config, checkpoint=checkpoint)
    assert [fact.step for fact in facts] == [1, 2]
    assert none == []
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_facts(detector):
    facts = trained(detector, Scenes(4))[1]
    assert [(fact.step, fact.steps) for fact in facts] == [(step, 5) for step in range(1, 6)]
    assert facts[0].lr == SHORT.lr
    assert facts[0] == Step(1, 5, facts[0].loss, SHORT.lr)


def test_a_checkpoint_of_another_run_is_refused(detector, tmp_path):
    scenes, checkpoint = Scenes(4), tmp_path / "training.pt"
    trained(detector, scenes, checkpoint=checkpoint)
    with pytest.raises(StateError, match="training.pt: expected a training of the same images.*got another; remove"):
        trained(detector, scenes, seed=1, checkpoint=checkpoint)


def test_a_loss_that_is_not_finite_names_the_images(detector):
    scenes = Scenes(3)
    with torch.no_grad():
        detector.model.bbox_head.retina_cls.bias.fill_(float("nan"))
    with pytest.raises(TrainingError, match="step 1: expected a finite loss, got nan on images scene-"):
        trained(detector, scenes)


def test_images_without_any_box_train(detector):
    scenes = Scenes(4, objects=(0, 0))
    assert all(fact.loss < 10 for fact in trained(detector, scenes)[1])


def test_images_that_are_not_annotated_are_refused(detector):
    scenes = Scenes(3)
    with pytest.raises(ValueError, match="expected boxes for every training image, got none for scene-2"):
        supervised_training(detector, scenes, {image_id: Boxes.of() for image_id in scenes.ids[:2]}, scenes.ids, SHORT,
                            0)


def test_no_images_are_refused(detector):
    with pytest.raises(ValueError, match="expected at least one item to draw from, got none"):
        supervised_training(detector, Scenes(1), {}, (), SHORT, 0).run()
