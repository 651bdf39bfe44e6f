from mgral import progress as module
from mgral.progress import Lines, Progress


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_remaining_time_is_a_bound_until_every_kind_was_measured(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    progress = Progress()
    progress.expect({"train": 10, "experiment": 4})
    with progress.phase("training", "train", 5) as advance:
        for _ in range(5):
            clock.now += 2
            advance(1)
    assert progress.remaining() == (10.0, False)
    with progress.phase("experiments", "experiment", 4) as advance:
        clock.now += 3
        advance(1)
    assert progress.remaining() == (10.0 + 9.0, True)
    progress.skip("train", 5)
    assert progress.remaining() == (9.0, True)


def test_a_phase_says_where_it_is_and_ends_with_a_line(monkeypatch):
    clock, lines = Clock(), []
    monkeypatch.setattr(module, "time", clock)
    progress = Progress(Lines(lines.append, every=10))
    progress.expect({"train": 4})
    with progress.phase("[mgral 1/3] training", "train", 4) as advance:
        for _ in range(4):
            clock.now += 40
            advance(1)
    assert lines[0] == "[mgral 1/3] training 1/4 · about 2:00 left"
    assert lines[-1] == "[mgral 1/3] training 4/4 · about 0:00 left"


def test_a_phase_in_which_nothing_was_done_says_nothing():
    lines = []
    with Progress(Lines(lines.append)).phase("experiments", "experiment", 4):
        pass
    assert lines == []


def test_nothing_is_said_of_remaining_time_where_nothing_was_planned():
    lines = []
    progress = Progress(Lines(lines.append, every=0))
    progress.skip("train", 2)
    with progress.phase("training", "train", 4) as advance:
        advance(4)
    progress.note("done")
    assert lines == ["training 4/4", "training 4/4", "done"]
