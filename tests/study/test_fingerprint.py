import dataclasses
from types import MappingProxyType

from mgral.config import SemisupConfig
from mgral.data.dataset import Boxes
from mgral.study import fingerprint as module
from mgral.study.fingerprint import code_version, dataset_hash, derived_seed, fingerprint


def test_a_fingerprint_follows_settings_ids_and_code(monkeypatch):
    base = fingerprint("experiment", "a", SemisupConfig(), ("1", "2"))
    assert base == fingerprint("experiment", "a", SemisupConfig(), ("1", "2"))
    others = [fingerprint("search", "a", SemisupConfig(), ("1", "2")),
              fingerprint("experiment", "b", SemisupConfig(), ("1", "2")),
              fingerprint("experiment", "a", SemisupConfig(steps=41), ("1", "2")),
              fingerprint("experiment", "a", SemisupConfig(), ("1", "3"))]
    monkeypatch.setattr(module, "code_version", lambda: "other")
    assert len({base, *others, fingerprint("experiment", "a", SemisupConfig(), ("1", "2"))}) == 6


def test_the_code_version_is_a_hash():
    assert len(code_version()) == 64


def test_seeds_are_stable_and_unrelated():
    assert derived_seed(0, "a") == derived_seed(0, "a")
    assert len({derived_seed(0, "a"), derived_seed(0, "b"), derived_seed(1, "a")}) == 3
    assert all(0 <= derived_seed(0, str(number)) < 2**63 for number in range(100))


def test_a_data_set_with_another_box_or_name_has_another_hash(toy):
    moved = dict(toy.boxes) | {"i0": Boxes.of([(2, 3, 12, 20)], [0])}
    unknown = {key: value for key, value in toy.boxes.items() if key != "i0"}
    others = [dataclasses.replace(toy, boxes=moved), dataclasses.replace(toy, boxes=unknown),
              dataclasses.replace(toy, classes=("cat", "wolf"))]
    assert len({dataset_hash(one) for one in (toy, *others)}) == 4
    turned = MappingProxyType(dict(reversed(toy.images.items())))
    assert dataset_hash(toy) == dataset_hash(dataclasses.replace(toy, images=turned))
