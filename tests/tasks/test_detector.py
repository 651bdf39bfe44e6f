"""A cycle's detector: found again by what it was made from, trained by whatever method the study names."""

from dataclasses import replace

import pytest

from mgral.config import Config
from mgral.pool.inspection import Inspection
from tasks.detector import inspect_pool, train_detector
from tasks.job import Job
from tasks.opened import open_study
from tasks.prepare import prepare_data

CONFIG = {
    "data": {"format": "synthetic", "labelled": 8, "synthetic": {"pool": 24, "reward": 4, "test": 6, "image_size": 32}},
    "detector": {"image_size": 32}, "training": {"steps": 3, "batch_size": 4},
    "semisup": {"labelled_per_step": 2, "unlabelled_per_step": 2},
    "study": {"name": "s", "strategies": ("random",), "budget": 4, "cycles": 1}}


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    made = Job(Config.model_validate(CONFIG), tmp_path_factory.mktemp("detectors"), None, "random", 1, 0)
    prepare_data(made)
    return made


def trained_by(job, method):
    study = job.config.study.model_copy(update={"training": method})
    return replace(job, config=job.config.model_copy(update={"study": study}))


def test_a_detector_is_trained_once_and_shown_the_pool_once(job, heard):
    heard.expect({"train": 3, "test": 6, "inspect": 24})
    first = train_detector(job, 0)
    seen = inspect_pool(job, first)
    assert heard.remaining() == (0, True)
    heard.expect({"train": 3, "test": 6, "inspect": 24})
    assert train_detector(job, 0) == first
    assert inspect_pool(job, first) == seen
    assert heard.remaining()[0] == 0
    assert first.labelled == 8
    assert set(first.per_class) == set(open_study(job).dataset.classes)
    assert len(Inspection.load(seen.path).ids) == 28


def test_a_detector_whose_weights_were_deleted_is_made_again(job):
    first = train_detector(job, 0)
    open_study(job).detectors.path(first.fingerprint).unlink()
    again = train_detector(job, 0)
    assert (again.fingerprint, again.map, again.per_class) == (first.fingerprint, first.map, first.per_class)
    assert open_study(job).detectors.path(first.fingerprint).exists()


@pytest.mark.parametrize("method", ["mean_teacher", "stac"])
def test_a_semi_supervised_method_makes_another_detector_from_all_images(job, method, monkeypatch):
    from mgral.training import detectors

    asked = []
    whole = detectors.train_cycle_detector

    def listening(data, *settings, **more):
        asked.append((len(data.labelled), len(data.unlabelled), settings[2]))
        return whole(data, *settings, **more)

    monkeypatch.setattr(detectors, "train_cycle_detector", listening)
    found = train_detector(trained_by(job, method), 0)
    assert asked == [(8, 16, method)]
    assert found.fingerprint != train_detector(job, 0).fingerprint
    assert found.snapshot == train_detector(job, 0).snapshot
