"""How the task drives a search: progress, resumption, the last word, the check."""

from types import SimpleNamespace

import numpy as np
import pytest

from mgral.agent.search import Search
from mgral.config import Config, SearchConfig
from mgral.lookup.estimator import Estimate
from mgral.lookup.fidelity import Settled
from mgral.report.search import draw_search
from mgral.study.progress import Progress, current
from tasks.search import Chosen, _after_check, _bound, _checked, _iterated

IDS = [f"{row:02d}" for row in range(20)]


def job(**settings):
    search = SearchConfig(iterations=12, batches_per_iteration=4, checkpoint_every=5, **settings)
    return SimpleNamespace(config=Config(search=search), title="[mgral 1/1]")


@pytest.fixture
def progress():
    made = Progress()
    token = current.set(made)
    yield made
    current.reset(token)


def search(one, reward, state=None):
    embedding = np.random.default_rng(0).normal(size=(20, 4))
    return Search(IDS, embedding, 3, reward, one.config.search, 0, state)


def flat(batches):
    return np.full(len(batches), 0.5)


@pytest.mark.parametrize(("patience", "done"), [(None, 12), (3, 4)])
def test_no_work_is_left_to_be_done_after_a_search_that_ran_through_or_stopped(progress, patience, done):
    one, facts, saved = job(patience=patience), [], []
    progress.expect({"search": 12})
    _iterated(one, search(one, flat), facts, lambda: saved.append(len(facts)))
    assert len(facts) == done
    assert saved == [5, 10][:done // 5]
    assert progress.remaining() == (0, True)


def test_a_search_that_goes_on_counts_only_what_was_left(progress):
    one, facts = job(), []
    begun = search(one, flat)
    steps = iter(begun)
    for _ in range(7):
        next(steps)
    progress.expect({"search": 12})
    _iterated(one, search(one, flat, begun.state()), facts, lambda: None)
    assert [fact.iteration for fact in facts] == [8, 9, 10, 11, 12]
    assert progress.remaining() == (0, True)


def test_the_last_word_weighs_the_deviation_by_its_own_caution():
    reward = SimpleNamespace(predict=lambda batches: Estimate(np.array([1.0, 2.0]), np.array([0.1, 0.8]), np.zeros(2)))
    assert _bound(reward, None) is None
    assert _bound(reward, 2.0)([("a",), ("b",)]).tolist() == pytest.approx([0.8, 0.4])


def test_a_check_is_one_real_experiment_and_recorded_as_such(progress):
    asked = []

    def measure(batch, origin):
        asked.append((batch, origin))
        return SimpleNamespace(balanced_loss=0.7, map=0.2, curve=())

    laboratory = SimpleNamespace(measure=measure)
    assert _checked(job(), laboratory, ("a", "b")) is None
    progress.expect({"experiment": 1})
    assert _checked(job(check=True), laboratory, ("a", "b")) == -0.7
    assert asked == [(("a", "b"), "check")]
    assert progress.remaining() == (0, True)


def test_the_picture_shows_search_and_controls(tmp_path, progress):
    one, facts = job(), []
    _iterated(one, search(one, lambda batches: np.array([float(batch[0]) for batch in batches])), facts, lambda: None)
    for name, arguments in {"full": (facts, "map", 3.0, {"swap": 3.0, "cross_entropy": 3.0, "random": 1.0}),
                            "bare": (facts, "map"), "none": ([], "map")}.items():
        draw_search(tmp_path / f"{name}.png", *arguments)
    sizes = {path.stem: path.stat().st_size for path in tmp_path.glob("*.png")}
    assert sizes["full"] > sizes["bare"] > sizes["none"] > 0


@pytest.mark.parametrize(("checked", "fallbacks", "taken"), [
    (0.7, [], "far"), (0.5, [], "good"), (0.5, [(("asked",), 0.65)], "asked"), (0.7, [(("far",), 0.7)], "far")])
def test_a_record_is_taken_where_it_was_measured_to_be_worth_more_than_the_check(checked, fallbacks, taken):
    batches = (("bad",), ("good",), ("fair",), ("fair",))
    settled = Settled(batches, np.array([0.0, 0.6, 0.1, 0.9]), np.ones(4), np.array([0, 1, 2, 2]))
    chosen = _after_check(Chosen(("far",), "greedy", 1.0, 1.0, 0.1, checked), settled, fallbacks)
    assert chosen.ids == (taken,)
    assert chosen.origin == ("greedy" if taken == "far" else "record, after the check")
    assert (chosen.value, chosen.checked) == (1.0, checked)
