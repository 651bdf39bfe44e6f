import threading
import time

import pytest
import torch

from mgral.detection.pace import ahead, side_by_side

CPU = torch.device("cpu")


def test_the_next_item_is_made_while_the_last_is_worked_on():
    made = []

    def items():
        for number in range(4):
            made.append(number)
            yield number

    seen = []
    for item in ahead(items()):
        deadline = time.monotonic() + 5
        while len(made) < min(4, item + 2):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        seen.append(item)
    assert seen == [0, 1, 2, 3]


def test_a_fault_in_the_other_thread_is_raised_here():
    def items():
        yield 1
        raise ValueError("broken")

    found = ahead(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="broken"):
        next(found)


def test_results_keep_their_order_and_threads_share_the_work(monkeypatch):
    monkeypatch.setattr("mgral.detection.pace.os.sched_getaffinity", lambda pid: {0, 1}, raising=False)
    together = threading.Barrier(2, timeout=10)

    def work(number):
        together.wait()  # broken unless two are at it at once
        return number * number

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert list(side_by_side(work, range(6), CPU)) == [0, 1, 4, 9, 16, 25]
    finally:
        torch.set_num_threads(threads)


def test_one_thread_where_torch_has_several_or_a_gpu_does_the_work(monkeypatch):
    names = list(side_by_side(lambda _: threading.current_thread().name, range(3), torch.device("cuda")))
    assert names == ["MainThread"] * 3
