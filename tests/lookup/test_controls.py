"""Controls on objectives whose best batch is known."""

import itertools

import numpy as np
import pytest

from mgral.agent.exchange import swap_search
from mgral.lookup.controls import RANDOM, compare, cross_entropy

POOL = tuple(f"{row:03d}" for row in range(80))
BUDGET, QUERIES = 10, 2000


class Additive:
    """A batch is worth what its images are worth together. Counts its queries and checks what it is asked for."""

    def __init__(self, seed=0, pool=POOL, budget=BUDGET):
        self.worth = dict(zip(pool, np.random.default_rng(seed).uniform(0, 1, len(pool)), strict=True))
        self.budget, self.queries = budget, 0
        self.most = sum(sorted(self.worth.values())[-budget:])

    def __call__(self, batches):
        assert all(len(set(one)) == self.budget and set(one) <= set(self.worth) and list(one) == sorted(one)
                   for one in batches)
        self.queries += len(batches)
        return np.array([sum(self.worth[one] for one in batch) for batch in batches])


def swap(objective, seed=0, queries=QUERIES, pool=POOL):
    return swap_search(objective, pool, pool[:objective.budget], queries, np.random.default_rng(seed))


def entropy(objective, seed=0, queries=QUERIES, pool=POOL):
    return cross_entropy(objective, pool, objective.budget, queries, np.random.default_rng(seed))


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
            rows = [[pool.index(one) for one in batch] for batch in batches]
            return np.array([pairs[np.ix_(one, one)].sum() for one in rows])

    objective = Paired(0, pool, 3)
    best = max(objective([batch])[0] for batch in itertools.combinations(pool, 3))
    assert max(search(objective, seed, 400, pool)[1] for seed in range(3)) == pytest.approx(best)


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
    rng = np.random.default_rng(0)
    assert cross_entropy(Additive(), POOL[::-1], BUDGET, 60, rng) == entropy(Additive(), 0, 60)


def test_swapping_never_ends_below_its_start():
    objective = Additive()
    best = tuple(sorted(sorted(POOL, key=objective.worth.get)[-BUDGET:]))
    assert swap_search(objective, POOL, best, 300, np.random.default_rng(0)) == (best, objective([best])[0])


def test_all_controls_side_by_side():
    objective = Additive()
    records = [POOL[10:20], POOL[20:30]]
    found = compare(objective, POOL, POOL[:10], records, 500, seed=0)
    assert objective.queries == 2 * 500 + 1 + len(records) + RANDOM
    value = {name: one.value for name, one in found.items()}
    assert found["balanced_entropy"].ids == POOL[:10]
    assert found["best_record"].ids == max(records, key=lambda batch: objective([batch])[0])
    assert all(value[name] == objective([one.ids])[0] for name, one in found.items() if name != "random")
    usual = BUDGET * np.mean(list(objective.worth.values()))
    assert value["random"] == pytest.approx(usual, abs=3 * 0.3 * (BUDGET / RANDOM) ** 0.5)
    assert objective([found["random"].ids])[0] == pytest.approx(usual, abs=4 * 0.3 * BUDGET ** 0.5)
    assert value["swap"] >= max(value["balanced_entropy"], value["best_record"])
    assert min(value["swap"], value["cross_entropy"]) > value["random"]
    assert found == compare(Additive(), POOL, POOL[:10], records, 500, seed=0)
    assert found != compare(Additive(), POOL, POOL[:10], records, 500, seed=1)


def test_without_records_there_is_no_best_one():
    assert {*compare(Additive(), POOL, POOL[:10], [], 50, 0)} == {"swap", "cross_entropy", "balanced_entropy", "random"}


def test_without_queries_there_is_nothing_to_compare():
    with pytest.raises(ValueError, match="expected queries, got 0"):
        compare(Additive(), POOL, POOL[:10], [POOL[:10]], 0, 0)
