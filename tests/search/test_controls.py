"""Optimisers other than the agent, and the controls made of them, on objectives whose best batch is known."""

import itertools

import numpy as np
import pytest

from mgral.search.controls import RANDOM, compare
from mgral.search.cross_entropy import CrossEntropy
from mgral.search.optimiser import Candidate
from mgral.search.swap import Swap

POOL = tuple(f"{row:03d}" for row in range(80))
BUDGET, QUERIES = 10, 2000


class Additive:
    """A batch is worth what its images are worth together. Counts its queries and checks what it is asked for."""

    def __init__(self, seed=0, pool=POOL, budget=BUDGET):
        self.worth = dict(zip(pool, np.random.default_rng(seed).uniform(0, 1, len(pool)), strict=True))
        self.budget, self.queries = budget, 0
        self.most = sum(sorted(self.worth.values())[-budget:])

    def __call__(self, batches):
        assert all(len(set(batch)) == self.budget and set(batch) <= set(self.worth) and list(batch) == sorted(batch)
                   for batch in batches)
        self.queries += len(batches)
        return np.array([sum(self.worth[image_id] for image_id in batch) for batch in batches])


def swap(objective, seed=0, queries=QUERIES, pool=POOL):
    return best(Swap(pool[:objective.budget]), objective, seed, queries, pool)


def entropy(objective, seed=0, queries=QUERIES, pool=POOL):
    return best(CrossEntropy(), objective, seed, queries, pool)


def best(optimiser, objective, seed, queries, pool):
    first, *_ = optimiser.candidates(objective, pool, objective.budget, queries, seed)
    return first.ids, first.value


SEARCHES = pytest.mark.parametrize("search", [swap, entropy])


@SEARCHES
@pytest.mark.parametrize("seed", range(4))
def test_the_best_batch_of_additive_values_is_found(search, seed):
    objective = Additive(seed)
    batch, value = search(objective, seed)
    assert value >= 0.98 * objective.most
    assert value == objective([batch])[0]


@pytest.mark.parametrize("seed", range(3))
def test_swapping_finds_it_at_the_size_of_the_demo_with_the_queries_of_the_agent(seed):
    pool = tuple(f"{row:03d}" for row in range(600))
    objective = Additive(seed, pool, 40)
    assert swap(objective, seed, 1920, pool)[1] >= 0.98 * objective.most


@SEARCHES
def test_the_best_of_all_batches_where_images_are_worth_more_in_pairs(search):
    pool = POOL[:12]
    pairs = np.random.default_rng(5).normal(size=(12, 12))

    class Paired(Additive):
        def __call__(self, batches):
            super().__call__(batches)
            members = [[pool.index(image_id) for image_id in batch] for batch in batches]
            return np.array([pairs[np.ix_(rows, rows)].sum() for rows in members])

    objective = Paired(0, pool, 3)
    most = max(objective([batch])[0] for batch in itertools.combinations(pool, 3))
    assert max(search(objective, seed, 400, pool)[1] for seed in range(3)) == pytest.approx(most)


@SEARCHES
@pytest.mark.parametrize("queries", [1, 2, 7, 63, 500, 1999])
def test_the_queries_are_spent_to_the_last_and_not_exceeded(search, queries):
    objective = Additive()
    search(objective, queries=queries)
    assert objective.queries == queries


@SEARCHES
def test_a_pool_of_just_the_budget_gives_itself(search):
    objective = Additive(pool=POOL[:10])
    assert search(objective, queries=50, pool=POOL[:10])[0] == POOL[:10]


@SEARCHES
def test_the_same_seed_gives_the_same_batch_in_whatever_order_the_pool_comes(search):
    few = [search(Additive(), seed, 60)[0] for seed in (0, 0, 1)]
    assert few[0] == few[1] != few[2]
    assert best(CrossEntropy(), Additive(), 0, 60, POOL[::-1]) == entropy(Additive(), 0, 60)


def test_swapping_never_ends_below_its_start():
    objective = Additive()
    start = tuple(sorted(sorted(POOL, key=objective.worth.get)[-BUDGET:]))
    assert best(Swap(start), objective, 0, 300, POOL) == (start, objective([start])[0])


def test_a_start_of_another_size_is_refused():
    with pytest.raises(ValueError, match="expected a start of 10 images, got 2"):
        Swap(POOL[:2]).candidates(Additive(), POOL, BUDGET, 9, 0)


HEURISTIC = Candidate(POOL[:10], 0.0, "a heuristic")


def test_all_controls_side_by_side():
    objective = Additive()
    records = [POOL[10:20], POOL[20:30]]
    controls = compare(objective, POOL, HEURISTIC, records, 500, seed=0)
    assert objective.queries == 2 * 500 + 1 + len(records) + RANDOM
    value = {name: control.value for name, control in controls.items()}
    assert controls["a heuristic"].ids == POOL[:10]
    assert controls["best_record"].ids == max(records, key=lambda batch: objective([batch])[0])
    assert all(value[name] == objective([control.ids])[0] for name, control in controls.items() if name != "random")
    usual = BUDGET * np.mean(list(objective.worth.values()))
    assert value["random"] == pytest.approx(usual, abs=3 * 0.3 * (BUDGET / RANDOM) ** 0.5)
    assert objective([controls["random"].ids])[0] == pytest.approx(usual, abs=4 * 0.3 * BUDGET ** 0.5)
    assert value["swap"] >= max(value["a heuristic"], value["best_record"])
    assert min(value["swap"], value["cross_entropy"]) > value["random"]
    assert controls == compare(Additive(), POOL, HEURISTIC, records, 500, seed=0)
    assert controls != compare(Additive(), POOL, HEURISTIC, records, 500, seed=1)


def test_without_records_there_is_no_best_one():
    assert {*compare(Additive(), POOL, HEURISTIC, [], 50, 0)} == {"swap", "cross_entropy", "a heuristic", "random"}


def test_without_queries_there_is_nothing_to_compare():
    with pytest.raises(ValueError, match="expected queries, got 0"):
        compare(Additive(), POOL, HEURISTIC, [POOL[:10]], 0, 0)
