import numpy as np
import pytest

from mgral.lookup.design import KINDS, design_batches
from mgral.lookup.representation import Representation
from mgral.pool.content import Calibration, Content
from mgral.pool.inspection import Inspection
from mgral.pool.statistics import class_mass, detection_entropy, image_entropy
from mgral.strategies.content import greedy
from tests.lookup.pools import inspection, sets

SEEN = inspection(size=220)
POOL, LABELLED = sets(SEEN.ids)


def batches(design="spread", records=16, seen=SEEN, pool=POOL, labelled=LABELLED, budget=12, seed=0, content=None):
    return design_batches(design, records, seen, pool, labelled, budget, seed, content)


def kind(name):
    return batches()[[known for known in KINDS if known != "content"].index(name)]


def test_where_it_is_known_what_is_in_the_images_the_batch_of_content_comes_first():
    objects = np.random.default_rng(1).exponential(size=(len(SEEN.ids), 4))
    nothing = np.zeros((0, 4))
    content = Content(SEEN.ids, objects, Calibration(tuple("abcd"), nothing, nothing, nothing))
    first, *others = batches(content=content, records=17)
    rows, _ = greedy(content.of(POOL), content.of(LABELLED).sum(axis=0), 12)
    assert first == tuple(sorted(POOL[row] for row in rows))
    assert len({first, *others}) == 17
    assert first not in batches(records=17)


@pytest.mark.parametrize("design", ["random", "spread"])
def test_batches_are_distinct_sorted_pool_images_and_follow_the_seed(design):
    designed = batches(design, records=19)
    assert len(designed) == len(set(designed)) == 19
    assert all(len(set(batch)) == 12 and set(batch) <= set(POOL) and list(batch) == sorted(batch) for batch in designed)
    assert designed == batches(design, records=19) != batches(design, records=19, seed=1)


@pytest.mark.parametrize("design", ["random", "spread"])
def test_the_order_of_ids_does_not_matter(design):
    assert batches(design) == batches(design, seen=SEEN.of(SEEN.ids[::-1]), pool=POOL[::-1], labelled=LABELLED[::-1])


def test_uncertain_and_certain_batches_lie_on_either_side_of_the_pool():
    middle = image_entropy(SEEN.of(POOL)).mean()
    assert image_entropy(SEEN.of(kind("certain"))).mean() < middle < image_entropy(SEEN.of(kind("uncertain"))).mean()


def test_a_cluster_is_closer_together_than_a_coreset():
    def width(batch):
        return SEEN.of(batch).embedding.std(axis=0).mean()

    assert width(kind("cluster")) < width(kind("random")) < width(kind("coreset"))


def test_a_skewed_batch_has_a_class_more_than_the_others():
    share = class_mass(SEEN.of(kind("class_skewed"))).sum(axis=0)
    usual = class_mass(SEEN.of(POOL)).sum(axis=0)
    assert (share / share.sum() / (usual / usual.sum())).max() > 1.5


def test_the_coreset_is_the_farthest_first_walk():
    from mgral.pool.statistics import principal

    points = dict(zip(POOL + LABELLED, principal(SEEN.of(POOL + LABELLED).embedding, 8), strict=True))
    chosen = list(LABELLED)
    for _ in range(12):
        chosen.append(max(POOL, key=lambda image_id: min(np.linalg.norm(points[image_id] - points[covered])
                                                         for covered in chosen)))
    assert kind("coreset") == tuple(sorted(chosen[len(LABELLED):]))


def test_balanced_entropy_looks_after_the_rare_class():
    batch = set(batches(budget=40)[0])
    assert detection_entropy(SEEN.of(sorted(batch))).sum() / 40 > detection_entropy(SEEN.of(POOL)).sum() / len(POOL)
    few = tuple(image_id for image_id in LABELLED if SEEN.class_scores[SEEN.row[image_id], 0].argmax() != 3)
    chosen = [SEEN.of(batches(labelled=labelled)[0]) for labelled in (few, LABELLED)]
    with_few, with_all = (class_mass(seen)[:, 3].sum() for seen in chosen)
    assert with_few > with_all


def test_a_spread_design_reaches_farther_than_a_random_one():
    represent = Representation(("mean",), SEEN, POOL, LABELLED, 12, 0)
    spread, random = (represent(batches(design, records=40)).rows.var(axis=0).sum()
                      for design in ("spread", "random"))
    assert spread > 2 * random


@pytest.mark.parametrize("design", ["random", "spread"])
def test_a_pool_of_just_the_budget_gives_itself(design):
    assert set(batches(design, pool=POOL[:12], records=9)) == {POOL[:12]}


def test_a_detector_that_finds_nothing_and_sees_no_difference():
    blank = Inspection(SEEN.ids, np.ones_like(SEEN.embedding), np.zeros_like(SEEN.class_scores),
                       tuple(detections.above(2.0) for detections in SEEN.detections))
    assert all(len(set(batch)) == 12 for batch in batches(seen=blank))


@pytest.mark.parametrize(("change", "words"), [
    ({"budget": 0}, "expected a budget of 1 to 200 images, got 0"),
    ({"budget": 201}, "expected a budget of 1 to 200 images, got 201"),
    ({"labelled": ()}, "expected labelled images for the design spread, got none")])
def test_what_does_not_fit_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        batches(**change)
