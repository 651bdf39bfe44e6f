import threading

import torch

from mgral.detection.threads import side_by_side

CPU = torch.device("cpu")


def test_results_keep_their_order_and_threads_share_the_work(monkeypatch):
    monkeypatch.setattr("mgral.detection.threads.os.sched_getaffinity", lambda pid: {0, 1}, raising=False)
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
