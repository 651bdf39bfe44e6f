"""On a second device searches and trainings give the numbers of the CPU, and nothing is left behind on the CPU."""

from dataclasses import astuple, dataclass

import numpy as np
import pytest
import torch

from mgral.agent.search import Search
from mgral.config import DetectorConfig, SearchConfig, SemisupConfig, SoftTeacherConfig, StacConfig, TrainingConfig
from mgral.detection.building import build_detector
from mgral.detection.inspecting import inspect
from mgral.detection.training import train
from mgral.semisup.experiment import measure
from mgral.semisup.learning import METHODS, learn
from tests.detection.scenes import CLASSES, Scenes
from tests.elsewhere import DEVICE, second_device

DETECTORS = {"tiny": DetectorConfig(image_size=64),
             "ssd300": DetectorConfig(preset="ssd300", width=0.25, image_size=288),
             "faster_rcnn_r50": DetectorConfig(preset="faster_rcnn_r50", width=0.25, image_size=64)}
LEARNERS = [*(("tiny", method) for method in METHODS if method != "isd"), ("ssd300", "isd"),
            ("faster_rcnn_r50", "soft_teacher")]
"""Each method once, and Soft Teacher in both forms."""
PLACES = ["cpu", str(DEVICE)]


@dataclass
class Resident:
    """Scenes whose pixels lie on a device, as an `ImageStore` on a GPU has them."""

    scenes: Scenes
    device: str

    def __getattr__(self, name):
        return getattr(self.scenes, name)

    def pixels(self, ids):
        return self.scenes.pixels(ids).to(self.device)


@pytest.fixture(autouse=True)
def elsewhere():
    with second_device():
        yield


def store_for(name, device="cpu"):
    return Resident(Scenes(12, side=DETECTORS[name].image_size), device)


def test_what_a_gpu_would_refuse_is_refused():
    here, there = torch.ones(2, 3), torch.arange(6.0).reshape(2, 3).to(DEVICE)
    for wrong in (lambda: here + there, lambda: torch.cat([here, there]), lambda: here[there[0].long()],
                  lambda: there.index_select(1, torch.tensor([0])), lambda: there.masked_fill(here > 0, 0.0),
                  lambda: torch.rand(2, device=DEVICE, generator=torch.Generator())):
        with pytest.raises(RuntimeError, match=r"expected all tensors on one device|expected a generator"):
            wrong()
    with pytest.raises((RuntimeError, TypeError)):
        there.numpy()


def test_what_a_gpu_would_do_is_done():
    there = torch.arange(6.0).reshape(2, 3).to(DEVICE).requires_grad_()
    assert there.device == DEVICE
    ((there[torch.tensor([1])] * torch.tensor(2.0)).sum() + there[:, (0, 2)].sum()).backward()
    assert there.grad.device == DEVICE
    assert there.grad.tolist() == [[1, 0, 1], [3, 2, 3]]
    made = there.new_tensor([1, 2]) + torch.tensor([1.0, 1.0], device=DEVICE)
    assert made.device == DEVICE
    assert made.cpu().numpy().tolist() == [2, 3]


@pytest.mark.parametrize("settings", [{}, {"segments": 4}, {"bidirectional": True}, {"decoder": "per_image"}], ids=str)
def test_a_search_goes_the_same_way(settings):
    ids = [f"{row:03d}" for row in range(40)]
    embedding = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    config = SearchConfig(iterations=4, batches_per_iteration=4, **settings)
    found = []
    for device in PLACES:
        search = Search(ids, embedding, 5, lambda batches: np.array([float(sum(map(int, one))) for one in batches]),
                        config, 0, device=device)
        facts = [astuple(one)[:-1] for one in search]
        again = Search(ids, embedding, 5, search.reward, config, 0, search.state(), device)
        found.append((facts, search.choose(), again.choose()))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-6)
    assert found[1][1:] == found[0][1:]


@pytest.mark.parametrize(("name", "resident"), [("tiny", False), *((name, True) for name in DETECTORS)])
def test_a_detector_learns_and_is_measured_the_same(name, resident):
    found = []
    for device in PLACES:
        store = store_for(name, device if resident else "cpu")
        detector = build_detector(DETECTORS[name], CLASSES, 0, device)
        facts = [one.loss for one in train(detector, store, store.boxes, store.ids[:8],
                                           TrainingConfig(steps=2, batch_size=4), 0)]
        reached = measure(detector, store, {one: store.boxes[one] for one in store.ids[8:]})
        seen = inspect(detector, store, store.ids)
        found.append([*facts, reached.map, reached.loss, reached.balanced_loss, reached.soft_ap,
                      float(seen.embedding.sum()), float(seen.class_scores.sum()),
                      *(float(one.scores.sum()) for one in seen.detections)])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3)


@pytest.mark.parametrize(("name", "method"), LEARNERS)
def test_semi_supervised_methods_learn_the_same_and_go_on_the_same(name, method, tmp_path):
    config = SemisupConfig(method=method, steps=2, labelled_per_step=2, unlabelled_per_step=2,
                           soft_teacher=SoftTeacherConfig(teacher_threshold=0.01, foreground_threshold=0.02),
                           stac=StacConfig(threshold=0.02))
    found = []
    for device in PLACES:
        store, facts = store_for(name, device), []
        start, path = build_detector(DETECTORS[name], CLASSES, 0, device), tmp_path / f"{device}.pth"
        labelled = {one: store.boxes[one] for one in store.ids[:4]}
        for until in (1, None):
            learn(start, store, labelled, store.ids[4:], config, 0, checkpoint=path,
                  watch=lambda step, facts=facts: facts.append(step.loss), until=until)
        found.append(facts)
    assert len(found[0]) == 2
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3)
