"""A detector trained anew on labelled images and a batch: the one that the study would train, measured once."""

import dataclasses
import pickle

import pytest

from mgral.config import DetectorConfig, SemisupConfig, TrainingConfig
from mgral.detection import load_checkpoint
from mgral.errors import TrainingError
from mgral.experiments.anew import AnewSetup
from mgral.experiments.experiment import measure
from mgral.experiments.processes import Planned, run_all
from mgral.training.detectors import Detectors, training_seed
from mgral.training.supervised import Supervised, supervised_training
from tests.detection.scenes import CLASSES, Scenes

BATCHES = (("scene-6", "scene-7"), ("scene-8", "scene-9"))
STAC = SemisupConfig(labelled_per_step=2, unlabelled_per_step=2)


@pytest.fixture
def setup(tmp_path):
    """Six labelled scenes, a pool of six whose boxes are known, eight to measure on."""
    scenes = Scenes(20)
    labelled, pool, truth = ({image_id: scenes.boxes[image_id] for image_id in ids}
                             for ids in (scenes.ids[:6], scenes.ids[6:12], scenes.ids[12:]))
    detectors = Detectors(DetectorConfig(image_size=64), TrainingConfig(steps=4, batch_size=4), STAC, "supervised",
                          CLASSES, scenes, "cpu", 5, tmp_path / "detectors")
    return AnewSetup(detectors, labelled, pool, (*labelled, *pool), truth)


def planned(setup, tmp_path, batch=BATCHES[0], repeat=0):
    return Planned(batch, setup.seed(5, batch, repeat), tmp_path / f"{'-'.join(batch)}-{repeat}.part.pth",
                   repeat=repeat)


def by_method(setup, method):
    return dataclasses.replace(setup, detectors=dataclasses.replace(setup.detectors, method=method))


@pytest.mark.parametrize("method", ["supervised", "mean_teacher", "stac"])
def test_it_is_the_detector_that_the_study_trains_on_as_many_images(setup, tmp_path, method):
    setup = by_method(setup, method)
    (reached,) = setup.run(planned(setup, tmp_path)).curve
    known = {**{image_id: setup.labels[image_id] for image_id in BATCHES[0]}, **setup.labelled}
    path = setup.detectors.train("next", known, setup.others)
    assert reached == measure(load_checkpoint(path), setup.detectors.store, setup.truth, 4)
    assert path.with_suffix(".teacher.pth").exists() == (method == "stac")
    assert list(tmp_path.glob("*.pth")) == [], "what an experiment trained is gone"


def test_each_repeat_has_first_weights_and_draws_of_its_own_alike_for_all_batches(setup, tmp_path):
    sets = [setup.detectors.training_set({**setup.labelled, **{image_id: setup.labels[image_id] for image_id in batch}},
                                         (), repeat) for repeat in range(3) for batch in BATCHES]
    assert len({(data.weights, data.seed) for data in sets}) == 3
    assert len({data.weights for data in sets}) == len({data.seed for data in sets}) == 3
    assert (sets[0].weights, sets[0].seed) == (5, training_seed(5, 8))
    assert [planned(setup, tmp_path, batch, repeat).seed for repeat in range(3) for batch in BATCHES] == [
        data.seed for data in sets]
    first, again = (setup.run(planned(setup, tmp_path, repeat=repeat)).end for repeat in (0, 1))
    assert first.figures["loss"] != again.figures["loss"]


def test_batches_and_their_boxes_matter(setup, tmp_path):
    nothing = dataclasses.replace(setup, labels={image_id: boxes.keep([]) for image_id, boxes in setup.labels.items()})
    figures = [one.run(planned(one, tmp_path, batch)).end.figures["loss"]
               for one, batch in ((setup, BATCHES[0]), (setup, BATCHES[1]), (nothing, BATCHES[0]))]
    assert len(set(figures)) == 3


def test_processes_train_what_one_process_trains(setup, tmp_path):
    wanted = [planned(setup, tmp_path, batch) for batch in BATCHES]
    alone, together = ({item: outcome.curve for item, outcome in run_all(setup, wanted, count)} for count in (1, 2))
    assert alone == together
    assert pickle.loads(pickle.dumps(setup)).device == "cpu"


def test_a_training_that_was_interrupted_goes_on(setup, tmp_path, monkeypatch):
    item = planned(setup, tmp_path)
    whole = setup.run(item).curve
    monkeypatch.setattr("mgral.training.from_scratch.supervised_training", killed_after(3))
    with pytest.raises(TrainingError, match="killed"):
        setup.run(item)
    monkeypatch.undo()
    made, losses = [], Supervised.losses
    monkeypatch.setattr(Supervised, "losses", lambda method, draw: made.append(draw.step) or losses(method, draw))
    assert setup.run(item).curve == whole
    assert made == [2, 3]
    assert list(tmp_path.glob("*.pth")) == []


def killed_after(steps):
    """A training that saves every two steps and dies."""
    def training(*given):
        made = supervised_training(*given, every=2)
        yield from (step for step, _ in zip(made, range(steps), strict=False))
        raise TrainingError("killed")

    return training


def test_what_it_must_not_be_trained_on_is_refused(setup, tmp_path):
    with pytest.raises(ValueError, match="expected boxes for every image of the batch, got none for scene-13"):
        setup.run(planned(setup, tmp_path, ("scene-13", "scene-6")))
    leaking = dataclasses.replace(setup, truth={**setup.truth, "scene-6": setup.labels["scene-6"]})
    with pytest.raises(ValueError, match="expected reward images apart from training images, got scene-6 in both"):
        leaking.run(planned(leaking, tmp_path))
    with pytest.raises(ValueError, match="got scene-6 in both"):
        by_method(leaking, "mean_teacher").run(planned(leaking, tmp_path, BATCHES[1]))
