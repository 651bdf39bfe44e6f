"""Class-balanced entropy without near-duplicates, against a slow oracle that is written from its description."""

import math

import numpy as np
import pytest

from mgral.lookup.design import design_batches
from mgral.pool.inspection import Detections, Inspection
from mgral.strategies import PoolView, get
from mgral.strategies import chosen as selected
from tests.lookup.pools import inspection, sets

SEEN = inspection(size=140, seed=3)
POOL, LABELLED = sets(SEEN.ids)


def chosen(seen, pool, labelled, budget, seed=0):
    return selected(get("balanced_entropy"), PoolView(tuple(pool), tuple(labelled), seen), budget,
                    np.random.default_rng(seed)).ids


def oracle(seen, pool, labelled, budget):
    """One image, one detection and one class at a time."""
    def detections(image_id):
        predicted = seen.detections[seen.row[image_id]]
        return [(int(label), float(score)) for label, score in zip(predicted.labels, predicted.scores, strict=True)
                if score >= 0.05]

    def entropy(p):
        p = min(max(p, 1e-12), 1 - 1e-12)
        return -p * math.log(p) - (1 - p) * math.log(1 - p)

    def apart(first, second):
        return math.dist(seen.embedding[seen.row[first]].tolist(), seen.embedding[seen.row[second]].tolist())

    usual = math.sqrt(np.mean([apart(first, second) ** 2 for first in pool for second in pool]))
    mass = [1.0] * seen.class_scores.shape[2]
    taken = list(labelled)
    for image_id in labelled:
        for label, score in detections(image_id):
            mass[label] += score
    picked = []
    for _ in range(budget):
        left = [image_id for image_id in pool if image_id not in picked]
        new = [image_id for image_id in left if all(apart(image_id, known) >= 0.25 * usual for known in taken)]
        best = max(new or left, key=lambda image_id: sum(entropy(p) * sum(mass) / mass[label]
                                                         for label, p in detections(image_id)))
        picked.append(best)
        taken.append(best)
        for label, score in detections(best):
            mass[label] += score
    return tuple(picked)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_greedy_choice_image_by_image(seed):
    seen = inspection(size=100, seed=seed)
    pool, labelled = sets(seen.ids, 12)
    assert chosen(seen, pool, labelled, 25) == oracle(seen, pool, labelled, 25)


def test_of_near_duplicates_one_is_chosen_and_the_others_only_when_nothing_else_is_left():
    embedding = SEEN.embedding.copy()
    embedding[:] = np.random.default_rng(0).normal(size=embedding.shape) * 9  # far apart, all of them
    twins, models = SEEN.rows(POOL[:80:2]), SEEN.rows(POOL[1:80:2])
    embedding[twins] = embedding[models] + 0.01
    seen = Inspection(SEEN.ids, embedding, SEEN.class_scores, SEEN.detections)
    pairs = [{twin, model} for twin, model in zip(POOL[:80:2], POOL[1:80:2], strict=True)]
    distinct = len(POOL) - len(pairs)
    batch = chosen(seen, POOL, LABELLED, distinct)
    assert not any(pair <= set(batch) for pair in pairs)
    longer = chosen(seen, POOL, LABELLED, distinct + 5)
    assert longer[:distinct] == batch
    assert sum(pair <= set(longer) for pair in pairs) == 5


def test_a_copy_of_a_labelled_image_is_left_out():
    embedding = np.random.default_rng(1).normal(size=SEEN.embedding.shape).astype(np.float32) * 9
    seen = Inspection(SEEN.ids, embedding, SEEN.class_scores, SEEN.detections)
    best = chosen(seen, POOL, LABELLED, 1)[0]
    embedding[seen.row[LABELLED[0]]] = embedding[seen.row[best]]
    assert best not in chosen(seen, POOL, LABELLED, len(POOL) - 1)


def test_a_class_that_is_rare_among_the_labelled_images_counts_more():
    def detections(*pairs):
        labels, scores = zip(*pairs, strict=True)
        return Detections(np.zeros((len(pairs), 4), np.float32), np.array(scores, np.float32), np.array(labels))

    ids = ("common", "rare", "known")
    seen = Inspection(ids, np.eye(3, dtype=np.float32), np.zeros((3, 1, 2), np.float32),
                      (detections((0, 0.5), (0, 0.5)), detections((1, 0.4)), detections((0, 0.9), (0, 0.9), (0, 0.9))))
    assert chosen(seen, ids[:2], ids[2:], 1) == ("rare",)
    assert chosen(seen, ids[:2], (), 1) == ("common",)


def test_where_nothing_is_found_chance_decides():
    empty = tuple(detections.above(2.0) for detections in SEEN.detections)
    spread = np.random.default_rng(2).normal(size=SEEN.embedding.shape).astype(np.float32)
    seen = Inspection(SEEN.ids, spread, SEEN.class_scores, empty)
    batches = {chosen(seen, POOL, LABELLED, 10, seed) for seed in range(5)}
    assert len(batches) == 5
    assert all(len(set(batch)) == 10 and set(batch) <= set(POOL) for batch in batches)


def test_images_all_alike_are_still_chosen():
    seen = Inspection(SEEN.ids, np.ones_like(SEEN.embedding), SEEN.class_scores, SEEN.detections)
    assert len(set(chosen(seen, POOL, LABELLED, 30))) == 30


def test_labelled_images_that_were_not_inspected_do_not_count():
    assert chosen(SEEN.of(POOL), POOL, LABELLED, 10) == chosen(SEEN, POOL, (), 10)


def test_the_table_holds_its_batch():
    """Where nothing is equal, chance has nothing to settle."""
    first = design_batches("spread", 12, SEEN, POOL, LABELLED, 12, 7)[0]
    assert first == tuple(sorted(chosen(SEEN, POOL, LABELLED, 12)))
