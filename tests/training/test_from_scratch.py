"""A detector from its first weights, by any method, as a cycle and the partial-label study train it."""

from functools import partial

import pytest
import torch

from mgral.config import DetectorConfig, SemisupConfig, TrainingConfig
from mgral.detection import World, load_checkpoint
from mgral.errors import ConfigError
from mgral.training import from_scratch
from mgral.training.from_scratch import TrainingSet, train_by_method, train_cycle_detector
from mgral.training.methods import method_training
from mgral.training.supervised import supervised_training
from tests.detection.scenes import CLASSES

TRAINING = TrainingConfig(steps=4, batch_size=3, lr=4e-3)
SEMISUP = SemisupConfig(steps=9, labelled_per_step=2, unlabelled_per_step=3, threshold=0.01)


@pytest.fixture
def data(scenes, labelled):
    return TrainingSet(DetectorConfig(image_size=64), CLASSES, scenes, labelled, scenes.ids[8:16], 3, 5, "cpu")


def weights(path):
    return load_checkpoint(path).state_dict()


def same(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize(("method", "steps"), [("supervised", 4), ("mean_teacher", 4), ("stac", 8)])
def test_interrupted_anywhere_it_ends_where_an_undisturbed_one_ends(method, steps, data, tmp_path, monkeypatch):
    def train(name):
        return train_cycle_detector(data, TRAINING, SEMISUP, method, tmp_path / name)

    monkeypatch.setattr(from_scratch, "method_training", partial(method_training, every=2))
    monkeypatch.setattr(from_scratch, "supervised_training", partial(supervised_training, every=2))
    whole = list(train("whole.pth"))
    assert len(whole) == steps
    assert {step.steps for step in whole} == {TRAINING.steps}
    steps_done = []
    for stop in (3, 2, 3, steps):  # a generator that is dropped is a process that is killed
        for _, step in zip(range(stop), train("part.pth"), strict=False):
            steps_done.append(step)
    assert len(steps_done) > steps  # some were made twice
    assert steps_done[-1] == whole[-1]
    list(train("part.pth"))
    assert same(weights(tmp_path / "whole.pth"), weights(tmp_path / "part.pth"))
    assert list(train("part.pth")) == []
    left = {"part.pth", "whole.pth"} | ({"part.teacher.pth", "whole.teacher.pth"} if method == "stac" else set())
    assert {path.name for path in tmp_path.iterdir()} == left


def test_a_cycles_supervised_training_is_that_of_its_own_settings(data, tmp_path):
    list(train_cycle_detector(data, TRAINING, SEMISUP, "supervised", tmp_path / "a.pth"))
    plain = supervised_training(data.untrained(), data.store, data.labelled, sorted(data.labelled), TRAINING, 5).run()
    assert same(weights(tmp_path / "a.pth"), plain.state_dict())


def test_another_method_takes_the_steps_and_the_rate_of_the_cycles_training(data, tmp_path):
    list(train_cycle_detector(data, TRAINING, SEMISUP, "mean_teacher", tmp_path / "a.pth"))
    config = SEMISUP.model_copy(update={"steps": 4, "lr": 4e-3})
    plain = method_training(data.untrained(), data.store, data.labelled, data.unlabelled, config, 5).run()
    assert same(weights(tmp_path / "a.pth"), plain.state_dict())


def test_a_staged_method_is_taught_by_the_supervised_baseline(data, tmp_path):
    config = SEMISUP.model_copy(update={"method": "stac", "steps": 3})
    list(train_by_method(data, config, tmp_path / "student.pth", tmp_path / "teacher.pth"))
    baseline = method_training(data.untrained(), data.store, data.labelled, (), config.model_copy(update={
        "method": "supervised"}), 5).run()
    assert same(weights(tmp_path / "teacher.pth"), baseline.state_dict())
    taught = method_training(data.untrained(), data.store, data.labelled, data.unlabelled, config, 5, baseline).run()
    assert same(weights(tmp_path / "student.pth"), taught.state_dict())


def test_several_processes_are_for_supervised_training(data, tmp_path):
    with pytest.raises(ConfigError, match="expected supervised for a training in 2 processes, got stac"):
        list(train_cycle_detector(data, TRAINING, SEMISUP, "stac", tmp_path / "a.pth", World(0, 2)))
