import hashlib
import os
import time

import pytest

from mgral.files import LEFT, canonical_json, md5, read_json, sha256, write_json, writing


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with writing(path) as temporary:
        temporary.write_text("old")

    def fail() -> None:
        with writing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail()
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"]


def test_what_a_killed_process_left_goes_when_the_file_is_written_again(tmp_path):
    old, young, others = (tmp_path / name for name in (".a.json.7.part", ".a.json.8.part", ".ab.json.7.part"))
    for left in (old, young, others):
        left.write_text("half")
        os.utime(left, (time.time() - LEFT - 5,) * 2)
    os.utime(young)
    write_json(tmp_path / "a.json", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([young.name, others.name, "a.json"])


def test_json_has_one_form_whatever_the_order(tmp_path):
    assert canonical_json({"b": 1, "a": [1.5, "ä"]}) == '{"a":[1.5,"ä"],"b":1}'
    write_json(tmp_path / "a.json", {"b": 1, "a": 2})
    write_json(tmp_path / "b.json", {"a": 2, "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert read_json(tmp_path / "a.json") == {"a": 2, "b": 1}


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_hashes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert md5(tmp_path / "a") == hashlib.md5(b"abc").hexdigest()
    assert sha256("ab", "c") != sha256("a", "bc")
