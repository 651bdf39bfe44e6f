"""A design being filled: every experiment once, in the order of the design, whatever fails or is there already."""

from dataclasses import dataclass, field

import pytest

from mgral.data.dataset import Boxes
from mgral.errors import MemoryFault
from mgral.experiments.experiment import Measured, Outcome
from mgral.experiments.record import Failure, Record, signed
from mgral.experiments.runner import ExperimentRunner, Provenance, better_half, fill
from mgral.experiments.store import open_table
from mgral.progress import Progress, current

BATCHES = [("a", "b"), ("c", "d"), ("e", "f"), ("g", "h")]
WORTH = dict(zip(BATCHES, (3.0, 1.0, 4.0, 2.0), strict=True))


@dataclass
class Fake:
    """Measures a batch's worth, and writes down what it was asked."""

    labelled: dict = field(default_factory=lambda: {"x": Boxes.of()})
    device: str = "cpu"
    asked: list = field(default_factory=list)
    too_large: tuple = ()

    def seed(self, study, batch, repeat):
        return 10 * study + repeat

    def run(self, planned):
        self.asked.append(planned)
        if planned.ids in self.too_large:
            raise MemoryFault("does not fit")
        steps = planned.until or 4
        figures = {"map": 0.1, "loss": WORTH[planned.ids] + planned.seed % 7 / 100}
        curve = tuple(Measured(step, figures, (0.5, None)) for step in (2, 4) if step <= steps)
        return Outcome(curve, 1.0)


@pytest.fixture
def progress():
    progress = Progress()
    token = current.set(progress)
    yield progress
    current.reset(token)


@pytest.fixture
def runner(tmp_path, progress):
    with open_table(f"sqlite:///{tmp_path}/table.db") as table:
        yield ExperimentRunner(table, Fake(), "scope", Provenance("demo", "mgral", 1, "snapshot", 0), ("cat", "dog"),
                               tmp_path / "experiments")


def drained(running):
    """All that a generator yields, and what it returns."""
    yielded = []
    while True:
        try:
            yielded.append(next(running))
        except StopIteration as end:
            return yielded, end.value


def test_repeats_are_the_first_batches_with_another_seed(runner, progress):
    progress.expect({"experiment": 6})
    yielded, records = drained(fill(runner, BATCHES, "loss", repeats=2))
    assert yielded == records
    assert [record.image_ids for record in records] == [*BATCHES, *BATCHES[:2]]
    assert [record.repeat for record in records] == [0] * 4 + [1] * 2
    assert len({record.seed for record in records[:4]}) == 1, "chance must not tell the batches of a table apart"
    assert {record.seed for record in records[4:]} != {records[0].seed}
    assert (runner.new, runner.reused, progress.remaining()) == (6, 0, (0, True))
    first = records[0]
    assert (first.labelled, first.steps, first.study, first.per_class) == (1, 4, "demo", {"cat": 0.5, "dog": None})
    assert [point["step"] for point in first.curve] == [2, 4]
    assert first.figures == {name: value for name, value in first.curve[-1].items() if name != "step"}


def test_what_is_in_the_table_is_not_run_again(runner, progress):
    _, before = drained(fill(runner, BATCHES[:2], "loss"))
    runner.setup.asked.clear()
    progress.expect({"experiment": 4})
    _, records = drained(fill(runner, BATCHES, "loss"))
    assert records[:2] == before
    assert [planned.ids for planned in runner.setup.asked] == BATCHES[2:]
    assert (runner.new, runner.reused) == (4, 2)
    assert progress.remaining()[0] == 0


def test_the_less_promising_half_stops_at_a_rung(runner, progress):
    progress.expect({"experiment": 5})
    for batch in BATCHES:
        runner.interim(batch).parent.mkdir(exist_ok=True)
        runner.interim(batch).touch()
    _, records = drained(fill(runner, BATCHES, "loss", repeats=1, stops=[2]))
    assert [(record.image_ids[0], record.steps, record.repeat) for record in records] == [
        ("a", 2, 0), ("e", 2, 0), ("c", 4, 0), ("g", 4, 0), ("a", 4, 1)]
    assert [runner.interim(batch).exists() for batch in BATCHES] == [False, True, False, True]
    assert progress.remaining()[0] == 0


def test_an_experiment_that_does_not_fit_is_told_and_left_out(runner):
    runner.setup.too_large = (BATCHES[1],)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mgral.experiments.processes._attempt", attempted)
        yielded, records = drained(fill(runner, BATCHES, "loss"))
        assert [record.image_ids for record in records] == [BATCHES[0], *BATCHES[2:]]
        (failure,) = [result for result in yielded if isinstance(result, Failure)]
        assert (failure.fingerprint, str(failure.reason)) == (runner.name(BATCHES[1]), "does not fit")
        with pytest.raises(MemoryFault, match="does not fit"):
            runner.measure(BATCHES[1], "check")


def attempted(setup, item):
    """As `processes._attempt` answers a device without memory."""
    try:
        return setup.run(item)
    except MemoryFault as fault:
        return fault


def test_a_fingerprint_follows_batch_repeat_and_pause(runner):
    names = {runner.name(BATCHES[0]), runner.name(BATCHES[1]), runner.name(BATCHES[0], 1),
             runner.name(BATCHES[0], 0, 2)}
    assert len(names) == 4
    assert runner.name(BATCHES[0][::-1]) == runner.name(BATCHES[0])


def record(name, loss):
    return Record(fingerprint=name, scope="s", study="demo", strategy="mgral", cycle=1, snapshot="x", origin="design",
                  image_ids=(name,), seed=0, labelled=9, figures={"loss": loss, "map": 0.5}, per_class={}, seconds=1.0,
                  steps=10, code="c")


def test_the_better_half_goes_on_in_its_order():
    paused = [record(name, loss) for name, loss in zip("abcde", [5.0, 1.0, 4.0, 2.0, 3.0], strict=True)]
    assert [record.image_ids for record in better_half(paused, "loss")] == [("b",), ("d",), ("e",)]


def test_a_reward_grows_as_losses_fall():
    assert record("a", 2.0).reward("loss") == -2.0
    assert record("a", 2.0).reward("map") == 0.5
    assert signed({"balanced_loss": 1.5}, "balanced_loss") == -1.5
