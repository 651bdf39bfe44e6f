"""Two processes and one part of a study."""

import os
import subprocess
import sys
import threading

import pytest

from mgral.study.alone import DATA, REPORT, alone
from mgral.study.workspace import Workspace

HOLDING = """
import sys
from pathlib import Path
from mgral.study.alone import alone
from mgral.study.workspace import Workspace
with alone(Workspace(Path(sys.argv[1]), "s", 0), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def held_by_another(tmp_path):
    """Starts another process that holds a part of study s, seed 0, until its input ends or it is killed."""
    started = []

    def hold(part: str) -> subprocess.Popen:
        started.append(subprocess.Popen([sys.executable, "-c", HOLDING, str(tmp_path), part], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield hold
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stdin.close()


@pytest.mark.parametrize(("part", "said"), [(DATA, "the data"), (REPORT, "the report"), ("random", "random"),
                                            ("own/mine.py", "own/mine.py")])
@pytest.mark.parametrize("end", [subprocess.Popen.kill, lambda process: process.stdin.close()])
def test_waits_for_another_process_and_says_so(held_by_another, tmp_path, heard, part, said, end):
    other, space = held_by_another(part), Workspace(tmp_path, "s", 0)
    timer = threading.Timer(0.5, end, [other])
    timer.start()
    with alone(space, part):
        other.wait(timeout=20)  # it has ended, or this would time out
    timer.join()
    assert heard.notes == [f"another mgral (process {other.pid}) works on {space.seed_folder} ({said}); waiting until "
                           "it is done."]


def test_nobody_waits_for_another_part_seed_or_study(held_by_another, tmp_path, heard):
    held_by_another("random")
    for study, seed, part in (("s", 0, "mgral"), ("s", 0, DATA), ("s", 0, REPORT), ("s", 1, "random"),
                              ("t", 0, "random")):
        with alone(Workspace(tmp_path, study, seed), part):
            pass
    assert heard.notes == []


def test_what_a_process_holds_it_may_hold_again(tmp_path, heard):
    space = Workspace(tmp_path, "s", 0)
    with alone(space, "random"), alone(space, DATA), alone(space, "random"):
        assert {path.read_text() for path in space.locks.glob("*.pid")} == {str(os.getpid())}
    assert heard.notes == []


def test_an_error_frees_what_was_held(held_by_another, tmp_path):
    with pytest.raises(KeyError), alone(Workspace(tmp_path, "s", 0), "random"):
        raise KeyError
    assert held_by_another("random").poll() is None
