"""Files of tensors from anywhere: what mmengine writes is read, nothing is run, and each bad file is one line."""

import collections
import datetime
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mgral.config import DetectorConfig
from mgral.detection.building import build_detector, check_detector, load_mmdet
from mgral.detection.tensors import Forgotten, counted, read_tensors, weights_of
from mgral.errors import ConfigError, MgralError, StateError
from tests.detection.checkpoints import message_hub, write_mmengine


def ran(*_):
    raise AssertionError("code of a checkpoint was run")


class Mischief:
    """What a pickle of another kind would call."""

    def __init__(self, function=ran, *inputs):
        self.function, self.inputs = function, inputs

    def __reduce__(self):
        return self.function, self.inputs


def test_what_mmengine_writes_is_read(tmp_path):
    path = tmp_path / "epoch_12.pth"
    write_mmengine(path, {"w": torch.ones(2)}, dataset_meta={"classes": ("a", "b"), "palette": [(1, 2, 3)]}, cfg="x=1")
    saved = read_tensors(path)
    assert saved["meta"]["dataset_meta"]["classes"] == ("a", "b")
    assert torch.equal(saved["state_dict"]["w"], torch.ones(2))
    assert isinstance(saved["message_hub"]["log_scalars"]["train/loss"], Forgotten)
    remembered = saved["message_hub"]["runtime_info"]
    assert (remembered["epoch"], remembered["seen"]) == (3, {"a": [1]})
    assert all(isinstance(remembered[name], Forgotten) for name in ("best", "matrix", "last", "flag"))


def test_mmengine_itself_wrote_one(tmp_path):
    load_mmdet()
    from mmengine.runner import save_checkpoint

    save_checkpoint({"state_dict": {"w": torch.ones(2)}, "message_hub": message_hub()}, str(tmp_path / "a.pth"))
    assert torch.equal(weights_of(read_tensors(tmp_path / "a.pth"), tmp_path)["w"], torch.ones(2))


def test_the_older_formats_are_read(tmp_path):
    path = tmp_path / "old.pth"
    torch.save({"state_dict": {"w": torch.ones(2)}}, path, _use_new_zipfile_serialization=False)
    assert torch.equal(read_tensors(path)["state_dict"]["w"], torch.ones(2))
    torch.save({"state_dict": {"w": torch.ones(2)}}, path, pickle_protocol=2)
    assert torch.equal(read_tensors(path)["state_dict"]["w"], torch.ones(2))


def test_what_others_allow_is_not_allowed_here_and_stays_allowed_there(tmp_path):
    torch.save({"w": torch.ones(1), "day": datetime.date(2024, 1, 1)}, tmp_path / "a.pth")
    before = set(torch.serialization.get_safe_globals())
    with torch.serialization.safe_globals([datetime.date]):
        with pytest.raises(StateError, match=r"got an object of datetime\.date"):
            read_tensors(tmp_path / "a.pth")
        assert set(torch.serialization.get_safe_globals()) == before | {datetime.date}
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("value", [
    Mischief(), Mischief(print, "x"), Mischief(exec, "raise SystemExit"), Mischief(__import__("os").system,
                                                                                 "true"),
    Mischief(eval, "1"), Mischief(np.load, "x"), Mischief(np.frombuffer, b"x"), datetime.date(2024, 1, 1), Path("a"),
    pytest, collections.deque([1]), DetectorConfig(), Mischief(Mischief(getattr, print, "__call__"), "x"),
], ids=lambda value: getattr(value, "__name__", type(value).__name__))
def test_no_other_object_is_made(tmp_path, value, capsys):
    path = tmp_path / "bad.pth"
    try:
        torch.save({"state_dict": {"w": torch.ones(2)}, "more": value}, path)
    except (TypeError, AttributeError, pickle.PicklingError):  # modules, and functions of functions
        path.write_bytes(pickle.dumps({"w": datetime.date(2024, 1, 1)}, protocol=2))
    with pytest.raises(StateError, match="bad.pth: expected a file of tensors, got an object of .* which could run"):
        read_tensors(path)
    assert capsys.readouterr() == ("", "")


def test_an_object_is_named(tmp_path):
    torch.save({"w": Path("a")}, tmp_path / "bad.pth")
    with pytest.raises(StateError, match=r"got an object of pathlib\.(_local\.)?PosixPath, which could run code and "
                                         "was not made; save the model's state_dict, or use the checkpoint"):
        read_tensors(tmp_path / "bad.pth")


def test_what_is_forgotten_runs_nothing(tmp_path):
    """The names that are let through stand for an empty object, whatever is done to them."""
    path = tmp_path / "a.pth"
    torch.save({"w": torch.ones(1), "a": Mischief(getattr, "x", "upper"), "b": Mischief(list, "abc")}, path)
    saved = read_tensors(path)
    assert isinstance(saved["a"], Forgotten)
    assert isinstance(saved["b"], Forgotten)


FILES = {
    "empty": (b"", "an empty file"),
    "text": (b"no checkpoint", "a damaged file or one of another kind"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "a pointer of Git LFS in its place; fetch it with `git lfs pull`"),
    "html": (b"<!DOCTYPE html><html>404</html>", "a web page; download the file itself"),
    "image": (b"\x89PNG\r\n\x1a\n" + bytes(100), "a damaged file or one of another kind"),
    "zeros": (bytes(5000), "a damaged file or one of another kind"),
    "zip": (b"PK\x05\x06" + bytes(18), "a damaged file or one of another kind"),
    "pickle": (pickle.dumps({"w": 1}, protocol=4), "a damaged file or one of another kind"),
    "safetensors": (b"\x40\0\0\0\0\0\0\0{\"w\":{}}" + bytes(60), "a damaged file or one of another kind"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_another_kind_are_one_line(tmp_path, name):
    content, got = FILES[name]
    path = tmp_path / "bad.pth"
    path.write_bytes(content)
    with pytest.raises(StateError) as caught:
        read_tensors(path)
    assert str(caught.value).startswith(f"{path}: expected a file of tensors, got {got}")
    assert str(caught.value).isprintable()
    with pytest.raises(ConfigError, match="^detector.weights: .*bad.pth: expected a file of tensors, got "):
        check_detector(DetectorConfig(weights=str(path)), "cpu")


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(0, 255), st.booleans())
def test_a_cut_or_changed_file_is_one_line_or_whole(tmp_path_factory, place, byte, cut):
    path = tmp_path_factory.mktemp("cut") / "a.pth"
    torch.save({"state_dict": {f"layer{row}.weight": torch.ones(row + 1, 3) for row in range(6)}}, path)
    content = bytearray(path.read_bytes())
    place %= len(content)
    content[place] = byte
    path.write_bytes(content[:place] if cut else content)
    try:
        weights = weights_of(read_tensors(path), path)
    except MgralError as error:
        lines = error.problems
    else:
        assert weights
        lines = ("whole",)
    assert len(lines) == 1
    assert "\n" not in lines[0]


def test_a_zip_without_its_tensors_is_refused(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"w": torch.ones(3)}, path)
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "b.pth", "w") as part:
        for name in whole.namelist():
            if "/data/" not in name:
                part.writestr(name, whole.read(name))
    with pytest.raises(StateError, match="b.pth: expected a file of tensors, got a damaged file"):
        read_tensors(tmp_path / "b.pth")


@pytest.mark.parametrize(("saved", "fault"), [
    ({"epoch": 3, "meta": {}}, "expected weights, got a file without a tensor under a name"),
    ({"state_dict": [1, 2]}, "expected weights, got a file without a tensor under a name"),
    ({"state_dict": {"w": 1.5, "v": "x", "u": None}}, "expected weights, got a file without a tensor under a name"),
    ({"state_dict": {1: torch.ones(2)}}, "expected weights, got a file without a tensor under a name"),
    ({"state_dict": {}}, "expected weights, got a file without a tensor under a name"),
    ({}, "expected weights, got a file without a tensor under a name"),
    ({"w": torch.ones(2).to_sparse()}, "expected weights, got a file without a tensor under a name"),
    ({"w": torch.ones(2, device="meta")}, "expected weights, got a file without a tensor under a name"),
    ({"state_dict": {"w": torch.tensor([1.0, float("nan")]), "v": torch.ones(1)}},
     "expected finite weights, got NaN or infinity in 1 (w); take an earlier checkpoint"),
    ({"state_dict": {f"w{row}": torch.tensor(float("inf")).half() for row in range(5)}},
     "expected finite weights, got NaN or infinity in 5 (w0, w1, w2, …); take an earlier checkpoint")], ids=str)
def test_files_without_usable_weights_are_refused(tmp_path, saved, fault):
    path = tmp_path / "bad.pth"
    torch.save(saved, path)
    with pytest.raises(ConfigError) as caught:
        weights_of(read_tensors(path), path)
    assert str(caught.value).startswith(f"{path}: {fault}")
    with pytest.raises(ConfigError, match="^detector.weights: .*bad.pth: expected "):
        check_detector(DetectorConfig(weights=str(path)), "cpu")


@pytest.mark.parametrize("saved", [
    {"state_dict": {"a.w": 0, "b.w": 0}}, {"state": {"model.a.w": 0, "model.b.w": 0}}, {"a.w": 0, "b.w": 0, "epoch": 3},
    {"model": {"module.a.w": 0, "module.b.w": 0}}, {"state_dict": {"module.model.a.w": 0, "module.model.b.w": 0}}],
    ids=str)
def test_weights_are_found_under_the_names_of_the_model(saved):
    def tensors(value):
        return {name: tensors(item) for name, item in value.items()} if isinstance(value, dict) else torch.ones(1)

    saved = {name: value if name == "epoch" else tensors(value) for name, value in saved.items()}
    assert set(weights_of(saved, Path("a.pth"))) == {"a.w", "b.w"}


def test_a_prefix_that_only_some_weights_have_stays():
    weights = {"model.a": torch.ones(1), "b": torch.ones(1)}
    assert set(weights_of(weights, Path("a.pth"))) == {"model.a", "b"}


def test_names_are_counted():
    assert [counted(list("abcd"[:count])) for count in (1, 3, 4)] == ["1 (a)", "3 (a, b, c)", "4 (a, b, c, …)"]


def test_a_detector_is_built_of_what_mmengine_wrote(detector, tmp_path):
    path = tmp_path / "epoch_12.pth"
    write_mmengine(path, detector.model.state_dict())
    built = build_detector(DetectorConfig(weights=str(path)), detector.classes, seed=5)
    assert all(torch.equal(value, detector.state_dict()[name]) for name, value in built.state_dict().items())
    check_detector(DetectorConfig(weights=str(path)), "cpu", detector.classes)
