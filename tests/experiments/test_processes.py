"""Experiments in processes of their own: the same results, no fault that takes the others along, no orphans."""

import dataclasses
import os
import pickle
import signal
import subprocess
import sys

import psutil
import pytest
import torch

from mgral.config import DetectorConfig, SemisupConfig
from mgral.detection import build_detector, save_checkpoint
from mgral.errors import MemoryFault, TrainingError
from mgral.experiments import processes
from mgral.experiments.processes import ExperimentSetup, Planned, fitting, run_all
from tests.conftest import ROOT
from tests.detection.scenes import CLASSES, Scenes

CONFIG = SemisupConfig(steps=2, labelled_per_step=2, unlabelled_per_step=2)
PLANNED = [Planned((f"scene-{6 + row}", f"scene-{7 + row}"), row) for row in range(4)]


@dataclasses.dataclass(frozen=True, eq=False)
class Deadly(ExperimentSetup):
    """The process that runs seed 2 is killed."""

    def run(self, planned):
        if planned.seed == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(planned)


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    path = tmp_path_factory.mktemp("detector") / "start.pth"
    save_checkpoint(path, build_detector(DetectorConfig(image_size=64), CLASSES, seed=0))
    scenes = Scenes(20)
    boxes = {image_id: scenes.boxes[image_id] for image_id in scenes.ids}
    return ExperimentSetup(path, "cpu", scenes, {image_id: boxes[image_id] for image_id in scenes.ids[:6]},
                           {image_id: boxes[image_id] for image_id in scenes.ids[12:]}, CONFIG)


def without_times(results):
    return {planned: dataclasses.replace(outcome, seconds=0.0) for planned, outcome in results}


def test_processes_measure_what_one_process_measures(setup, heard):
    alone = without_times(run_all(setup, PLANNED, 1))
    assert without_times(run_all(setup, PLANNED, 2)) == alone
    assert set(alone) == set(PLANNED)
    assert without_times(run_all(setup, PLANNED, "auto")) == alone
    assert len(heard.notes) == 1
    assert "experiments at once (" in heard.notes[0]


def test_a_setup_travels_without_its_opened_detector(setup):
    assert setup.start.classes == CLASSES
    assert "start" not in vars(pickle.loads(pickle.dumps(setup)))


def test_an_experiment_without_memory_takes_no_other_along(setup, monkeypatch):
    def greedy(start, store, labelled, batch, truth, config, seed, checkpoint, measurements, until):
        if seed == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return seed

    monkeypatch.setattr(processes, "run_experiment", greedy)
    results = dict(run_all(setup, PLANNED, 1))
    fault = results.pop(PLANNED[1])
    assert isinstance(fault, MemoryFault)
    assert str(fault) == ("experiment on scene-7, scene-8…: expected to fit into the memory of cpu, got CUDA out of "
                          "memory; lower table.at_once, training.batch_size, semisup.unlabelled_per_step or "
                          "detector.image_size")
    assert list(results.values()) == [0, 2, 3]


def test_a_killed_process_is_one_clear_line(setup):
    deadly = Deadly(**{field.name: getattr(setup, field.name) for field in dataclasses.fields(setup)})
    with pytest.raises(TrainingError, match=r"got one that was killed, .*; lower table.at_once, then run again"):
        list(run_all(deadly, PLANNED, 2))


@pytest.mark.parametrize(("need", "free", "cores", "count"), [
    (2 << 30, 10 << 30, 16, 4), (2 << 30, 10 << 30, 2, 2), (20 << 30, 10 << 30, 8, 1), (0, 10 << 30, 3, 3)])
def test_as_many_at_once_as_memory_and_cores_allow(need, free, cores, count, monkeypatch):
    monkeypatch.setattr(processes.psutil, "virtual_memory", lambda: type("Memory", (), {"available": free}))
    monkeypatch.setattr(processes.os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    assert fitting("cpu", need)[0] == count


ENDLESS = """
from mgral.experiments.processes import Planned, ExperimentSetup, run_all

class Endless(ExperimentSetup):
    def run(self, planned):
        print("at work", flush=True)
        time.sleep(600)

if __name__ == "__main__":
    list(run_all(Endless(None, "cpu", None, {}, {}, None), [Planned((), 0), Planned((), 1)], 2))
"""


def test_a_killed_run_leaves_no_process_behind(tmp_path):
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert [process.stdout.readline() for _ in range(2)] == ["at work\n"] * 2
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    assert len(children) >= 3  # the process they are forked from, and two at work
    _, alive = psutil.wait_procs(children, timeout=20)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
