"""What every query strategy must do."""

import copy
from dataclasses import replace

import numpy as np
import pytest

from mgral.errors import ConfigError
from mgral.pool.content import Calibration, Content
from mgral.pool.inspection import Detections, Inspection
from mgral.strategies import Need, PoolView, Selection, Strategy, check, choose, chosen, get, names
from tests.small_data import blank_dataset

POOL = tuple(f"p{row:02d}" for row in range(24))
LABELLED = ("a", "b", "c")


def pool_view(order=POOL):
    rng = np.random.default_rng(0)
    ids = (*POOL, *LABELLED)
    truth = blank_dataset({image_id: rng.integers(0, 4, rng.integers(0, 4)).tolist() for image_id in ids}).boxes
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    inspection = Inspection(ids, rng.normal(size=(27, 256)).astype(np.float32),
                            rng.random((27, 5, 4)).astype(np.float32), (nothing,) * 27)
    return PoolView(tuple(order), LABELLED, inspection, ("a", "b", "c", "d"), truth,
                    content=content_of(ids, rng.exponential(size=(27, 4))))


def content_of(ids, objects):
    nothing = np.zeros((0, objects.shape[1]))
    return Content(tuple(ids), objects, Calibration(("a", "b", "c", "d")[:objects.shape[1]], nothing, nothing, nothing))


@pytest.fixture(params=[name for name in names() if Need.EXPERIMENTS not in get(name).needs])
def strategy(request):
    return get(request.param)


def ids(strategy, view, budget, seed=1):
    return chosen(strategy, view, budget, np.random.default_rng(seed)).ids


@pytest.mark.parametrize("budget", [1, 7, 24])
def test_gives_the_budget_in_distinct_unlabelled_ids_with_a_score_and_a_reason_each(strategy, budget):
    selection = chosen(strategy, pool_view(), budget, np.random.default_rng(1))
    assert len(selection.ids) == len(set(selection.ids)) == len(selection.scores) == len(selection.reasons) == budget
    assert set(selection.ids) <= set(POOL)
    assert np.isfinite(selection.scores).all()
    assert all(selection.reasons)
    assert selection.origin == strategy.name


def test_the_first_batch_of_all_is_chosen_where_nothing_is_labelled(strategy):
    selection = chosen(strategy, replace(pool_view(), labelled=()), 7, np.random.default_rng(1))
    assert len(set(selection.ids)) == 7
    assert np.isfinite(selection.scores).all()
    assert not any("inf" in reason for reason in selection.reasons)


def test_scores_every_image_of_the_pool(strategy):
    scores = strategy.score(pool_view())
    assert scores.shape == (24,)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(strategy.score(pool_view(POOL[::-1])), scores[::-1], atol=1e-5)


def test_same_seed_same_ids_and_other_seed_others(strategy):
    assert ids(strategy, pool_view(), 7) == ids(strategy, pool_view(), 7)
    given = pool_view()
    same = np.zeros_like(given.inspection.embedding), np.full_like(given.inspection.class_scores, 0.5)
    alike = Inspection(given.inspection.ids, *same, given.inspection.detections)
    flat = PoolView(POOL, LABELLED, alike, given.classes, dict.fromkeys((*POOL, *LABELLED), given.truth["a"]),
                    content=content_of(given.content.ids, np.ones_like(given.content.objects)))
    assert len({ids(strategy, flat, 7, seed) for seed in range(5)}) > 1


def test_order_of_the_pool_does_not_matter(strategy):
    expected = ids(strategy, pool_view(), 7)
    for order in (POOL[::-1], POOL[9:] + POOL[:9]):
        assert ids(strategy, pool_view(order), 7) == expected


def test_inputs_stay_as_they_are(strategy):
    given = pool_view()
    before = copy.deepcopy(given)
    ids(strategy, given, 7)
    assert (given.pool, given.labelled) == (before.pool, before.labelled)
    np.testing.assert_array_equal(given.inspection.embedding, before.inspection.embedding)
    assert given.truth.keys() == before.truth.keys()
    for image_id, boxes in given.truth.items():
        np.testing.assert_array_equal(boxes.labels, before.truth[image_id].labels)


@pytest.mark.parametrize("budget", [0, 25])
def test_too_small_a_pool_is_refused(strategy, budget):
    with pytest.raises(ValueError, match=f"expected a budget from 1 to the 24 images of the pool, got {budget}"):
        ids(strategy, pool_view(), budget)


@pytest.mark.parametrize("pool", [("p00", "p01", "p01"), ("p00", "a")])
def test_pool_with_labelled_or_repeated_images_is_refused(strategy, pool):
    with pytest.raises(ValueError, match="expected a pool of distinct images that are not labelled"):
        ids(strategy, pool_view(pool), 1)


def six_images(order):
    """Images 0 to 5, of which 0 and 3 are labelled; their rows lie in this order in the inspection."""
    rng = np.random.default_rng(3)
    embedding, scores = rng.normal(size=(6, 8)).astype(np.float32), rng.random((6, 5, 3)).astype(np.float32)
    found = [Detections(np.tile(np.float32([1, 1, 9, 9]), (row + 1, 1)), np.full(row + 1, 0.9 - row / 12, np.float32),
                        np.arange(row + 1) % 3) for row in range(6)]
    inspection = Inspection(tuple(str(row) for row in order), embedding[order], scores[order],
                            tuple(found[row] for row in order))
    truth = blank_dataset({str(row): [row % 3] * (row + 1) for row in range(6)}).boxes
    return PoolView(("1", "2", "4", "5"), ("0", "3"), inspection, ("a", "b", "c"), truth,
                    content=content_of(inspection.ids, rng.exponential(size=(6, 3))[order]))


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [1, 2, 4, 5, 0, 3], [5, 4, 3, 2, 1, 0], [3, 0, 5, 2, 4, 1]])
def test_a_choice_names_images_and_no_places_in_some_list(strategy, order):
    """Cycle by cycle the same image of the rest, wherever labelled ones lie between them, until none is left."""
    view, reference, seen = six_images(order), six_images([0, 1, 2, 3, 4, 5]), []
    while view.pool:
        if strategy.score(reference).any():
            by_id = dict(zip(view.pool, strategy.score(view), strict=True))
            assert by_id == pytest.approx(dict(zip(reference.pool, strategy.score(reference), strict=True)), rel=1e-4)
        (taken,) = ids(strategy, view, 1)
        assert (taken,) == ids(strategy, reference, 1)
        if strategy.name == "coreset":
            assert taken == max(by_id, key=by_id.get)
        seen.append(taken)
        rest = tuple(image_id for image_id in view.pool if image_id != taken)
        view, reference = (replace(one, pool=rest, labelled=(*one.labelled, taken)) for one in (view, reference))
    assert sorted(seen) == ["1", "2", "4", "5"]


def test_what_a_strategy_needs_must_be_there(strategy):
    bare = PoolView(POOL, LABELLED)
    if not strategy.needs:
        assert sorted(ids(strategy, bare, 24)) == sorted(POOL)
        return
    with pytest.raises(ValueError, match=f"strategy {strategy.name}: expected .*{min(strategy.needs)}.*, got a pool "
                                         "without"):
        ids(strategy, bare, 1)


def test_experiments_are_a_need_like_others():
    with pytest.raises(ValueError, match="strategy mgral: expected experiments, got a pool without"):
        ids(get("mgral"), pool_view(), 1)


def test_unknown_strategy():
    with pytest.raises(ConfigError, match="expected a strategy of random, balanced_entropy, content, coreset, "
                                          "rare_first, mgral, or a file FILE.py with a function `select`, got 'best'"):
        get("best")


@pytest.mark.parametrize(("body", "expected"), [
    ("from mgral.strategies import Strategy\n\ndef select(view, budget, rng):\n    return view.pool[:budget]\n\n"
     "STRATEGY = Strategy('first', 'the first ones', select)\n", ("first", "the first ones")),
    ("def select(view, budget, rng):\n    \"\"\"Takes the first.\"\"\"\n    return view.pool[:budget]\n",
     ("mine", "Takes the first."))])
def test_a_strategy_of_ones_own_is_a_file(tmp_path, body, expected):
    (tmp_path / "mine.py").write_text(body)
    own = get(str(tmp_path / "mine.py"))
    assert (own.name, own.summary) == expected
    assert chosen(own, pool_view(), 3, np.random.default_rng(0)).ids == POOL[:3]


def test_a_strategy_of_an_installed_package_is_an_entry_point(monkeypatch):
    from mgral.strategies import registry

    class Found:
        name, value = "theirs", "package:select"

        @staticmethod
        def load():
            return lambda view, budget, rng: view.pool[-budget:]

    monkeypatch.setattr(registry, "entry_points", lambda group: [Found] if group == "mgral.strategies" else [])
    assert "theirs" in names()
    assert chosen(get("theirs"), pool_view(), 2, np.random.default_rng(0)).ids == POOL[-2:]


@pytest.mark.parametrize(("body", "match"), [
    ("x = 1\n", r"mine\.py: expected a `STRATEGY` or a function `select\(view, budget, rng\)`, got None"),
    ("import nowhere\n", r"mine\.py: expected a Python file with a strategy, got ModuleNotFoundError"),
    (None, r"mine\.py: expected a Python file with a strategy, got no file")])
def test_a_file_without_a_strategy_is_one_clear_line(tmp_path, body, match):
    if body is not None:
        (tmp_path / "mine.py").write_text(body)
    with pytest.raises(ConfigError, match=match):
        get(str(tmp_path / "mine.py"))


def test_all_unknown_names_are_told_before_anything_runs(tmp_path):
    own = tmp_path / "own.py"
    own.write_text("raise SystemExit")
    check(["random", str(own)])
    with pytest.raises(ConfigError) as caught:
        check(["entropi", "mgral", "gone.py"])
    assert [problem.split(", got ")[1] for problem in caught.value.problems] == ["'entropi'", "'gone.py'"]


@pytest.mark.parametrize("selected", [POOL[:2], POOL[:2] + POOL[:1], (*POOL[:2], "a")])
def test_a_strategy_that_breaks_the_contract_is_refused(selected):
    broken = Strategy("broken", "gives what it likes", lambda view, budget, rng: selected)
    with pytest.raises(ValueError, match="strategy broken: expected 3 distinct images of the pool, got"):
        ids(broken, pool_view(), 3)


def test_what_is_measured_on_the_way_is_yielded_and_what_is_learned_reaches_select():
    def fit(view):
        yield "a record"
        return len(view.pool)

    def select(view, budget, rng):
        return Selection(view.pool[:budget], (float(view.fitted),) * budget, ("learned",) * budget)

    running = choose(Strategy("fitting", "learns", select, fit=fit), pool_view(), 2, np.random.default_rng(0))
    assert next(running) == "a record"
    with pytest.raises(StopIteration) as end:
        next(running)
    assert end.value.value.scores == (24.0, 24.0)


def copies(size=30, bursts=10, known=4):
    """A pool of bursts that look alike, and labelled images, the last of which shows the first burst."""
    rng, seen = np.random.default_rng(4), {}
    scenes = rng.normal(size=(bursts, 16))
    for row in range(size):
        seen[f"p{row:02d}"] = scenes[row % bursts] + rng.normal(size=16) / 100
    for row in range(known):
        seen[f"known {row}"] = scenes[0] + 0.001 if row == known - 1 else rng.normal(size=16)
    ids, rng = tuple(seen), np.random.default_rng(5)
    found = [Detections(np.tile(np.float32([1, 1, 9, 9]), (2, 1)), np.sort(rng.random(2).astype(np.float32))[::-1],
                        rng.integers(0, 3, 2)) for _ in ids]
    inspection = Inspection(ids, np.array(list(seen.values()), np.float32), rng.random((len(ids), 5, 3)).astype("f4"),
                            tuple(found))
    truth = blank_dataset({image_id: rng.integers(0, 3, 2).tolist() for image_id in ids}).boxes
    return PoolView(ids[:size], ids[size:], inspection, ("a", "b", "c"), truth, near_duplicates="skip",
                    content=content_of(ids, rng.exponential(size=(len(ids), 3))))


def test_near_duplicates_are_passed_over_for_all_alike(strategy):
    batch = ids(strategy, copies(), 9)
    assert {int(image_id[1:]) % 10 for image_id in batch} == set(range(1, 10))  # one a burst, none of the labelled one
    longer = ids(strategy, copies(), 12)
    assert len(set(longer)) == 12  # a budget beyond what is distinct is met nevertheless


def test_near_duplicates_may_be_allowed(strategy):
    assert len(ids(strategy, replace(copies(), near_duplicates="allow"), 30)) == 30
    alike = [len({int(image_id[1:]) % 10 for image_id in ids(strategy, replace(copies(), near_duplicates="allow"), 9,
                                                             seed)}) for seed in range(5)]
    assert strategy.name == "coreset" or min(alike) < 9
