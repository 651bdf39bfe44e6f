"""Class-balanced entropy against a slow oracle that is written from its description."""

import math

import numpy as np
import pytest

from mgral.data.dataset import Boxes
from mgral.lookup.design import design_batches
from mgral.pool.inspection import Detections, Inspection
from mgral.strategies import INSPECTION, Need, PoolView, get
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

    mass = [1.0] * seen.class_scores.shape[2]
    for image_id in labelled:
        for label, score in detections(image_id):
            mass[label] += score
    picked = []
    for _ in range(budget):
        left = [image_id for image_id in pool if image_id not in picked]
        best = max(left, key=lambda image_id: sum(entropy(p) * sum(mass) / mass[label]
                                                  for label, p in detections(image_id)))
        picked.append(best)
        for label, score in detections(best):
            mass[label] += score
    return tuple(picked)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_greedy_choice_image_by_image(seed):
    seen = inspection(size=100, seed=seed)
    pool, labelled = sets(seen.ids, 12)
    assert chosen(seen, pool, labelled, 25) == oracle(seen, pool, labelled, 25)


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


def predictions_alone(*found, embedding=None):
    ids = tuple(f"i{row}" for row in range(len(found)))
    detections = tuple(Detections(np.zeros((len(pairs), 4), np.float32),
                                  np.array([score for _, score in pairs], np.float32),
                                  np.array([label for label, _ in pairs], dtype=np.int64)) for pairs in found)
    embedding = np.eye(len(found), dtype=np.float32) if embedding is None else embedding
    return Inspection(ids, embedding, np.zeros((len(found), 0, 2), np.float32), detections)


def test_predictions_are_enough():
    seen = predictions_alone([(0, 0.5)], [(1, 0.5), (1, 0.4)], [])
    view = PoolView(seen.ids, (), seen)
    assert view.offers == {Need.PREDICTIONS, Need.EMBEDDINGS}
    assert get("balanced_entropy").needs == {Need.PREDICTIONS}
    assert chosen(seen, seen.ids, (), 2) == ("i1", "i0")


def test_an_inspection_offers_what_it_holds():
    seen = predictions_alone([], [])
    bare = Inspection(seen.ids, seen.embedding, seen.class_scores[:, :, :0], seen.detections)
    assert PoolView(seen.ids, (), bare).offers == {Need.EMBEDDINGS}
    assert PoolView(seen.ids, (), Inspection(seen.ids, seen.embedding[:, :0], seen.class_scores,
                                             seen.detections)).offers == {Need.PREDICTIONS}
    assert PoolView(POOL, LABELLED, SEEN).offers == INSPECTION


def test_true_objects_of_labelled_images_count_in_place_of_those_expected():
    """The detector takes the labelled image's dogs (1) for cats (0)."""
    seen = predictions_alone([(0, 0.5)], [(1, 0.4)], [(0, 0.9)] * 5)
    pool, labelled = seen.ids[:2], seen.ids[2:]
    dogs = Boxes.of([(0, 0, 9, 9)] * 9, [1] * 5 + [0] * 4, [False] * 5 + [True] * 4)
    strategy, rng = get("balanced_entropy"), np.random.default_rng(0)
    assert selected(strategy, PoolView(pool, labelled, seen), 1, rng).ids == ("i1",)
    told = PoolView(pool, labelled, seen, annotated={"i2": dogs})
    assert selected(strategy, told, 1, rng).ids == ("i0",)
    np.testing.assert_allclose(strategy.score(told), [np.log(2) * 7, 0.673012 * 7 / 6], rtol=1e-5)


@pytest.mark.parametrize(("found", "labelled", "reason"), [
    ([(1, 0.5), (1, 0.7), (1, 0.9), (0, 0.3)], [(0, 0.9)] * 9, "uncertain: 2 beetle, 1 leaf; seldom labelled: beetle"),
    ([(0, 0.1)], [], "a little uncertain: leaf"), ([], [], "nothing is found in it")])
def test_reasons_are_words(found, labelled, reason):
    seen = predictions_alone(found, labelled)
    view = PoolView(("i0",), ("i1",), seen, ("leaf", "beetle"))
    assert selected(get("balanced_entropy"), view, 1, np.random.default_rng(0)).reasons == (reason,)
