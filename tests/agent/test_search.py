import io
from dataclasses import astuple

import numpy as np
import pytest
import torch

from mgral.agent.policy import Policy
from mgral.agent.search import Choice, Search
from mgral.config import SearchConfig
from mgral.errors import StateError

IDS = [f"{row:03d}" for row in range(40)]
EMBEDDING = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
WORTH = dict(zip(IDS, (EMBEDDING @ [1, -2, 0.5, 0, 0, 1]).tolist(), strict=True))


def worth(batches):
    return np.array([np.mean([WORTH[one] for one in batch]) for batch in batches])


def search(ids=IDS, embedding=EMBEDDING, reward=worth, budget=5, seed=0, state=None, **settings):
    config = SearchConfig(**{"iterations": 6, "batches_per_iteration": 4, "lr": 3e-3} | settings)
    return Search(ids, embedding, budget, reward, config, seed, state)


def figures(facts):
    """Everything but the clock."""
    return [astuple(one)[:-1] for one in facts]


def test_facts_are_those_of_the_batches_judged():
    seen = []

    def reward(batches):
        assert all(len(set(batch)) == 5 and list(batch) == sorted(batch) for batch in batches)
        seen.append(worth(batches))
        return seen[-1]

    facts = list(search(reward=reward))
    assert [one.iteration for one in facts] == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose([one.mean for one in facts], [values.mean() for values in seen])
    assert [one.best for one in facts] == [values.max() for values in seen]
    assert [one.best_so_far for one in facts] == np.maximum.accumulate([values.max() for values in seen]).tolist()
    assert all(one.gradient_norm > 0 and one.seconds > 0 and 0 < one.entropy < np.log(40.001) for one in facts)


@pytest.mark.parametrize("settings", [{}, {"baseline": "ema", "entropy_weight": 0.1}, {"baseline": "paper"},
                                      {"pool_order": "similarity"}, {"pool_order": "id"}, {"segments": 3},
                                      {"decoder": "per_image"}, {"bidirectional": True},
                                      {"decoder": "per_image", "segments": 3, "bidirectional": True},
                                      {"polish": 40}, {"patience": 2, "iterations": 30}])
def test_saved_loaded_and_continued_it_equals_the_uninterrupted_one(settings):
    whole = search(**settings)
    expected, choice = figures(whole), whole.choose()
    first, file = search(**settings), io.BytesIO()
    steps = iter(first)
    begun = [next(steps) for _ in range(3)]
    torch.save(first.state(), file)
    file.seek(0)
    later = search(state=torch.load(file, weights_only=True), **settings)
    assert figures(begun) + figures(later) == expected
    assert later.choose() == choice
    assert later.queries == whole.queries
    assert all(torch.equal(a, b) for a, b in zip(whole.policy.parameters(), later.policy.parameters(), strict=True))


def test_a_state_is_a_copy():
    one = search()
    steps = iter(one)
    next(steps)
    state = one.state()
    expected = figures(steps)
    assert figures(search(state=state)) == expected
    assert figures(search(state=state)) == expected


def test_a_finished_search_may_go_on_for_more_iterations():
    one = search()
    list(one)
    assert figures(search(iterations=8, state=one.state())) == figures(search(iterations=8))[6:]


@pytest.mark.parametrize("other", [{"seed": 1}, {"budget": 4}, {"lr": 1e-3}, {"embedding": EMBEDDING + 1}])
def test_the_state_of_another_search_is_refused(other):
    with pytest.raises(StateError, match="search state: expected one of the same pool, embedding, budget, seed and"):
        search(state=search().state(), **other)


@pytest.mark.parametrize("order", ["id", "shuffled", "similarity"])
def test_the_order_in_which_ids_come_does_not_matter(order):
    mixed = np.random.default_rng(1).permutation(40)
    one, two = search(pool_order=order), search([IDS[row] for row in mixed], EMBEDDING[mixed], pool_order=order)
    assert figures(one) == figures(two)
    assert one.choose() == two.choose()


def test_inputs_stay_as_they_are_and_seeds_differ():
    before, state = EMBEDDING.copy(), torch.random.get_rng_state()
    assert figures(search(seed=1)) != figures(search(seed=2))
    assert np.array_equal(before, EMBEDDING)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_constant_column_and_a_constant_reward_do_no_harm():
    flat = np.column_stack([EMBEDDING, np.full(40, 3.0)])
    facts = list(search(embedding=flat, reward=lambda batches: np.full(len(batches), 0.5)))
    assert facts[-1].gradient_norm == 0


@pytest.mark.parametrize("patience", [1, 4])
def test_a_search_without_progress_stops(patience):
    one = search(iterations=50, patience=patience, reward=lambda batches: np.full(len(batches), 0.5))
    assert len(list(one)) == 1 + patience
    assert list(one) == []
    assert one.queries == (1 + patience) * 4


def test_patience_counts_from_the_last_rise_of_the_mean():
    """Steps at the iterations 1, 4 and 6, of more than a tenth of the first batches' deviation; then one of less."""
    levels = iter([0.0, 0, 0, 0.2, 0, 0.5, 0.5, 0.549, 0.549, 1, 1])
    one = search(iterations=50, patience=3, reward=lambda batches: next(levels) + np.array([-0.5, -0.5, 0.5, 0.5]))
    assert [fact.iteration for fact in one][-1] == 9


def test_a_search_that_stopped_goes_on_with_more_patience():
    flat = {"reward": lambda batches: np.full(len(batches), 0.5), "iterations": 20}
    stopped = search(patience=2, **flat)
    assert len(list(stopped)) == 3
    assert len(list(search(patience=9, state=stopped.state(), **flat))) == 7


def test_the_best_batch_seen_wins_over_a_worse_greedy_one():
    one = search(iterations=1)
    [facts] = list(one)
    assert one.choose() == Choice(one.memory[0][1], facts.best_so_far, "sampled")


def test_the_final_choice_is_judged_anew():
    """A reward that learns may take back what it said: then the highest scores win."""
    one = search(iterations=2)
    list(one)
    praised = {batch for _, batch in one.memory}
    one.reward = lambda batches: np.array([-1.0 if batch in praised else 0.0 for batch in batches])
    choice = one.choose()
    assert (choice.value, choice.origin) == (0.0, "greedy")


def test_a_judge_has_the_last_word_and_the_origin_says_so():
    one = search()
    list(one)
    drawn = [batch for _, batch in one.memory]
    chosen = [one.choose(lambda batches, liked=liked: np.array([float(batch == liked) for batch in batches]))
              for liked in (drawn[0], drawn[7])]
    assert [(choice.ids, choice.value) for choice in chosen] == [(drawn[0], 1.0), (drawn[7], 1.0)]
    assert [choice.origin for choice in chosen] == ["sampled", "bound"]
    assert one.choose(worth) == one.choose()


def test_exchanges_polish_the_best_batch():
    plain, polished = search(iterations=1), search(iterations=1, polish=300)
    assert figures(plain) == figures(polished)
    rough, choice = plain.choose(), polished.choose()
    assert choice.origin == "polished"
    assert choice.value == worth([choice.ids])[0] > rough.value
    assert choice.value == pytest.approx(np.mean(sorted(WORTH.values())[-5:]))
    assert polished.queries == plain.queries + 300


def test_where_exchanges_gain_nothing_the_choice_stays():
    one = search(iterations=1, polish=50, reward=lambda batches: np.full(len(batches), 0.5))
    list(one)
    assert one.choose().origin == "greedy"


@pytest.mark.parametrize("seed", range(3))
def test_a_known_optimum_is_found_by_the_default_settings(seed):
    """Images worth what 16 hidden factors say, pool of 200, budget 20: within 2 % of the optimum (of its lead over
    random) in 60 iterations."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(200, 16))
    embedding = factors @ rng.normal(size=(16, 64)) + 0.3 * rng.normal(size=(200, 64))
    value = dict(zip((f"{row:03d}" for row in range(200)), (factors @ rng.normal(size=16)).tolist(), strict=True))
    one = Search(list(value), embedding, 20, lambda batches: np.array([np.mean([value[i] for i in batch])
                                                                       for batch in batches]), SearchConfig(), seed)
    facts = list(one)
    chance, optimum = np.mean(list(value.values())), np.mean(sorted(value.values())[-20:])
    assert abs(facts[0].mean - chance) < 0.15 * (optimum - chance)
    assert len(facts) == 60
    assert (one.choose().value - chance) / (optimum - chance) > 0.98


@pytest.mark.parametrize(("segments", "threads"), [(1, 1), (7, 1), (8, 2)])
def test_few_sequences_are_read_by_one_thread_and_a_reward_has_the_callers_number(segments, threads, monkeypatch):
    reading, judging, scores = [], [], Policy.scores

    def read(policy, embedding):
        reading.append(torch.get_num_threads())
        return scores(policy, embedding)

    def reward(batches):
        judging.append(torch.get_num_threads())
        return worth(batches)

    monkeypatch.setattr(Policy, "scores", read)
    torch.set_num_threads(2)
    list(search(reward=reward, segments=segments, iterations=2))
    assert reading == [threads, threads]
    assert judging == [2, 2]
    monkeypatch.setattr(Policy, "scores", lambda policy, embedding: embedding.missing)
    with pytest.raises(AttributeError):
        next(iter(search(segments=segments)))
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("change", "words"), [
    ({"ids": ["a"] * 40}, "expected distinct ids, one a row of the embedding, got 1 distinct of 40 ids and 40 rows"),
    ({"ids": IDS[:-1]}, "got 39 distinct of 39 ids and 40 rows"),
    ({"budget": 0}, "expected a budget of 1 to 40 images, got 0"),
    ({"budget": 41}, "expected a budget of 1 to 40 images, got 41")])
def test_what_does_not_fit_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        search(**change)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_reward_that_is_no_number_is_refused_before_the_policy_moves(value):
    one = search(reward=lambda batches: np.full(len(batches), value))
    before = one.state()
    with pytest.raises(ValueError, match="expected 4 finite rewards, got"):
        next(iter(one))
    assert all(torch.equal(value, one.state()["policy"][name]) for name, value in before["policy"].items())


def test_too_few_rewards_are_refused():
    with pytest.raises(ValueError, match="expected 4 finite rewards"):
        next(iter(search(reward=lambda batches: np.zeros(3))))
