"""Trainings on fixed views: the same with and without what is kept, interrupted or not, in experiments too."""

import copy

import pytest
import torch

from mgral.config import DetectorConfig, SemisupConfig, TrainingConfig
from mgral.data.images import ImageStore
from mgral.detection import Detector, build_detector, kept
from mgral.errors import StateError
from mgral.experiments.experiment import run_experiment
from mgral.training.methods import method_training
from mgral.training.supervised import supervised_training
from tests.detection.test_kept import CLASSES, random_lite0

CONFIG = TrainingConfig(steps=5, batch_size=4, lr=1e-3, views=3)
EXPERIMENT = SemisupConfig(method="supervised", steps=3, labelled_per_step=4, lr=1e-3)


@pytest.fixture
def start():
    return random_lite0(frozen=5)


@pytest.fixture
def store(toy, tmp_path):
    return ImageStore.open(toy, 64, tmp_path / "store").with_views(3)


def losses(start, store, boxes, config=CONFIG, **more):
    training = supervised_training(copy.deepcopy(start), store, boxes, sorted(boxes), config, 0, **more)
    return [step.loss for step in training], training.result.state_dict()


def assert_same(one, other):
    assert one[0] == other[0]
    assert all(torch.equal(value, other[1][name]) for name, value in one[1].items())


def test_kept_or_not_a_training_is_the_same(start, store, toy, monkeypatch):
    filling, reading = (losses(start, store, toy.boxes) for _ in range(2))
    assert_same(filling, reading)
    monkeypatch.setattr(kept, "_kept", lambda *_: None)
    assert_same(losses(start, store, toy.boxes), reading)


def test_whole_batches_of_pixels_give_the_same_losses(start, store, toy, monkeypatch):
    kept_ones = losses(start, store, toy.boxes)[0]
    monkeypatch.setattr(Detector, "prefix", property(lambda self: None))
    assert losses(start, store, toy.boxes)[0] == pytest.approx(kept_ones, rel=1e-3)


def test_once_all_views_are_kept_nothing_frozen_is_computed(start, store, toy, monkeypatch):
    monkeypatch.setattr(Detector, "frozen", lambda *_: pytest.fail("computed"))
    with pytest.raises(pytest.fail.Exception, match="computed"):
        losses(start, store, toy.boxes)
    monkeypatch.undo()
    losses(start, store, toy.boxes)
    monkeypatch.setattr(Detector, "frozen", lambda *_: pytest.fail("computed"))
    losses(start, store, toy.boxes)


def test_frozen_stages_stay_and_the_others_learn(start, store, toy):
    _, after = losses(start, store, toy.boxes)
    before = start.state_dict()
    for name in ("stem.conv.weight", "stages.4.2.project.conv.weight", "stages.4.2.project.norm.running_mean"):
        assert torch.equal(before[f"model.backbone.{name}"], after[f"model.backbone.{name}"])
    for name in ("backbone.stages.5.0.expand.conv.weight", "neck.lateral_convs.0.conv.weight"):
        assert not torch.equal(before[f"model.{name}"], after[f"model.{name}"])


def test_an_interrupted_training_goes_on_exactly(start, store, toy, tmp_path):
    whole, path = losses(start, store, toy.boxes), tmp_path / "part.pth"
    ids = sorted(toy.boxes)
    begun = iter(supervised_training(copy.deepcopy(start), store, toy.boxes, ids, CONFIG, 0, path, every=1))
    first = [next(begun).loss for _ in range(3)]
    del begun
    rest = losses(start, store, toy.boxes, checkpoint=path, every=1)
    assert first[:2] + rest[0] == whole[0]
    assert all(torch.equal(value, rest[1][name]) for name, value in whole[1].items())


def test_the_settings_views_are_those_of_the_training(start, store, toy):
    """Whatever the store was opened for."""
    assert losses(start, store.with_views(None), toy.boxes)[0] == losses(start, store, toy.boxes)[0]
    new = losses(start, store, toy.boxes, CONFIG.model_copy(update={"views": None}))[0]
    assert new != losses(start, store, toy.boxes)[0]
    assert new == losses(start, store.with_views(None), toy.boxes, CONFIG.model_copy(update={"views": None}))[0]


def test_a_detector_that_learns_whole_draws_the_same_views_every_time(store, toy):
    tiny, one = build_detector(DetectorConfig(image_size=64), CLASSES, 0), CONFIG.model_copy(update={"views": 1})
    assert losses(tiny, store, toy.boxes, one)[0] == losses(tiny, store, toy.boxes, one)[0]
    assert not list(store.path.parent.glob("*.maps"))


def test_an_experiment_reads_what_the_cycles_training_kept(start, store, toy, monkeypatch):
    names = list(toy.boxes)
    known, reward = ({name: toy.boxes[name] for name in part} for part in (names[:4], names[4:]))

    def outcome():
        return run_experiment(start, store, known, [], reward, EXPERIMENT, seed=1).end

    first = outcome()
    monkeypatch.setattr(Detector, "frozen", lambda *_: pytest.fail("computed"))
    assert outcome() == first
    monkeypatch.undo()
    monkeypatch.setattr(kept, "_kept", lambda *_: None)
    assert outcome() == first


def test_semi_supervised_methods_go_on_drawing_new_views(start, store, toy):
    config = SemisupConfig(method="mean_teacher", steps=2, labelled_per_step=2, unlabelled_per_step=2)
    names = list(toy.boxes)

    def run(store):
        known = {name: toy.boxes[name] for name in names[:3]}
        return [step.loss for step in method_training(start, store, known, names[3:], config, 0)]

    assert run(store) == run(store.with_views(None))


def test_an_experiment_of_other_views_is_another_training(start, store, toy, tmp_path):
    path = tmp_path / "part.pth"
    list(method_training(start, store, toy.boxes, [], EXPERIMENT, 0, checkpoint=path, until=1, every=1))
    with pytest.raises(StateError, match="expected a training of the same images, settings and seed, got another"):
        method_training(start, store.with_views(4), toy.boxes, [], EXPERIMENT, 0, checkpoint=path, every=1)
