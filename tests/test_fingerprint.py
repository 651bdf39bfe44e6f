import dataclasses
from types import MappingProxyType

import pytest

from mgral import fingerprint as module
from mgral.config import SemisupConfig
from mgral.data.dataset import Boxes, dataset_hash
from mgral.fingerprint import ENTRIES, code_version, fingerprint


def test_a_fingerprint_follows_settings_ids_and_code(monkeypatch):
    base = fingerprint("experiment", "a", SemisupConfig(), ("1", "2"))
    assert base == fingerprint("experiment", "a", SemisupConfig(), ("1", "2"))
    others = [fingerprint("search", "a", SemisupConfig(), ("1", "2")),
              fingerprint("experiment", "b", SemisupConfig(), ("1", "2")),
              fingerprint("experiment", "a", SemisupConfig(steps=41), ("1", "2")),
              fingerprint("experiment", "a", SemisupConfig(), ("1", "3"))]
    monkeypatch.setattr(module, "code_version", lambda kind: "other")
    assert len({base, *others, fingerprint("experiment", "a", SemisupConfig(), ("1", "2"))}) == 6


@pytest.mark.parametrize("kind", ENTRIES)
def test_every_kind_of_work_has_a_code_version(kind):
    assert len(code_version(kind)) == 64


def test_a_code_version_covers_all_that_the_work_runs_through():
    search = module._reached(ENTRIES["search"])
    assert search >= {"mgral.search.agent", "mgral.search.policy", "mgral.search.gradient", "mgral.lookup.reward",
                      "mgral.lookup.estimator.gaussian_process", "mgral.strategies.balanced_entropy",
                      "mgral.pool.near_duplicates", "mgral.training.loop", "mgral.detection.anchors"}
    detector = module._reached(ENTRIES["detector"])
    assert detector >= {"mgral.training.loop", "mgral.training.soft_teacher", "mgral.detection.heads",
                        "mgral.data.augment", "mgral.randomness"}
    assert not any(name.startswith(("mgral.search", "mgral.lookup", "mgral.report")) for name in detector)
    assert module._reached(ENTRIES["experiment"]) > {*detector, "mgral.experiments.experiment"}
    assert "mgral.pool.neighbours" in module._reached(ENTRIES["shortlist"])


def test_an_edit_of_the_agent_is_another_search_and_the_same_detector(monkeypatch, tmp_path):
    before = {kind: code_version.__wrapped__(kind) for kind in ("search", "detector")}
    real = module._path
    (tmp_path / "agent.py").write_text(real("mgral.search.agent").read_text() + "\n# edited\n")
    monkeypatch.setattr(module, "_path", lambda name: tmp_path / "agent.py" if name == "mgral.search.agent"
                        else real(name))
    assert code_version.__wrapped__("search") != before["search"]
    assert code_version.__wrapped__("detector") == before["detector"]


def test_a_data_set_with_another_box_or_name_has_another_hash(toy):
    moved = dict(toy.boxes) | {"i0.jpg": Boxes.of([(2, 3, 12, 20)], [0])}
    unknown = {key: value for key, value in toy.boxes.items() if key != "i0.jpg"}
    others = [dataclasses.replace(toy, boxes=moved), dataclasses.replace(toy, boxes=unknown),
              dataclasses.replace(toy, classes=("cat", "wolf"))]
    assert len({dataset_hash(dataset) for dataset in (toy, *others)}) == 4
    turned = MappingProxyType(dict(reversed(toy.images.items())))
    assert dataset_hash(toy) == dataset_hash(dataclasses.replace(toy, images=turned))
