import os

import pytest

from mgral.data.headers import read_headers
from mgral.findings import Findings
from tests.data.pictures import WHOLE, encoded, ramp


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "set"
    (root / "sub").mkdir(parents=True)
    for row, ending in enumerate(WHOLE):
        (root / "sub" / f"ä{row}.{ending}").write_bytes(WHOLE[ending])
    (root / "wide.png").write_bytes(encoded("PNG", ramp(4079)))
    return root


def names_in(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_second_time_opens_nothing(folder, tmp_path, monkeypatch):
    cache, calls = tmp_path / "runs" / "cache" / "headers.npz", []
    first = read_headers(folder, names_in(folder), cache, 10**6, Findings(), lambda *done: calls.append(done))
    assert calls == [(10, 10)]
    for opening in ("opened", "_plain"):
        monkeypatch.setattr(f"mgral.data.headers.{opening}", lambda *_: pytest.fail("opened"))
    second = read_headers(folder, names_in(folder), cache, 10**6, Findings(), lambda *_: pytest.fail("nothing to read"))
    assert second == first
    assert list(second) == names_in(folder)
    some = names_in(folder)[3:5][::-1]
    assert read_headers(folder, some, cache, 10**6, Findings()) == {name: first[name] for name in some}
    assert sorted(path.name for path in cache.parent.iterdir()) == ["headers.npz"]


def test_what_changed_is_read_again_and_the_rest_is_kept(folder, tmp_path, monkeypatch):
    from mgral.data import headers as module

    cache, opened = tmp_path / "headers.npz", []
    monkeypatch.setattr(module, "plain_size", lambda _: None)
    before = read_headers(folder, names_in(folder), cache, 10**6, Findings())
    real = module.opened
    monkeypatch.setattr(module, "opened", lambda path: opened.append(path.name) or real(path))
    changed = folder / "wide.png"
    times = changed.stat()
    changed.write_bytes(changed.read_bytes()[:-1] + b"\x83")
    os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))  # neither its size nor its time of writing tells
    (folder / "new.jpg").write_bytes(WHOLE["jpg"])
    after = read_headers(folder, names_in(folder), cache, 10**6, Findings())
    assert sorted(opened) == ["new.jpg", "wide.png"]
    assert after["wide.png"].digest != before["wide.png"].digest
    (folder / "new.jpg").unlink()
    findings = Findings()
    assert "new.jpg" not in read_headers(folder, [*before, "new.jpg"], cache, 10**6, findings)
    assert "got nothing there" in findings.problems[0]


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:100], lambda data: data[: len(data) // 2],
                                    lambda data: bytes(len(data)), lambda data: b"not a cache",
                                    lambda data: data[:700] + b"\xff" * 40 + data[740:]])
def test_a_damaged_cache_or_one_of_another_folder_or_version_is_made_again(folder, tmp_path, damage, monkeypatch):
    cache = tmp_path / "headers.npz"
    first = read_headers(folder, names_in(folder), cache, 10**6, Findings())
    good = cache.read_bytes()
    cache.write_bytes(damage(good))
    assert read_headers(folder, names_in(folder), cache, 10**6, Findings()) == first
    assert read_headers(folder, names_in(folder), cache, 10**6, Findings()) == first
    other = tmp_path / "other"
    folder.rename(other)
    assert read_headers(other, names_in(other), cache, 10**6, Findings()) == first
    monkeypatch.setattr("mgral.data.headers._VERSION", "headers 2")
    assert read_headers(other, names_in(other), cache, 10**6, Findings()) == first
