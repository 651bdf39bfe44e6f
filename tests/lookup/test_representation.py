from itertools import combinations

import numpy as np
import pytest

from mgral.lookup.representation import AXES, Representation
from mgral.pool.statistics import class_mass, location_entropy
from tests.lookup.pools import inspection, sets

SEEN = inspection()
POOL, LABELLED = sets(SEEN.ids)
BLOCKS = ("mean", "histogram", "uncertainty", "diversity")


def representation(blocks=BLOCKS, seen=SEEN, pool=POOL, labelled=LABELLED, budget=10, seed=0):
    return Representation(blocks, seen, pool, labelled, budget, seed)


def batches(count=5, budget=10, seed=1):
    rng = np.random.default_rng(seed)
    return [tuple(rng.choice(POOL, budget, replace=False).tolist()) for _ in range(count)]


def column(name, represent, drawn):
    """A column as it was before it was standardised."""
    place = represent.names.index(name)
    return represent(drawn).rows[:, place] * represent._scale[place] + represent._centre[place]


def test_the_mean_alone_is_the_papers_mean_embedding():
    represent = representation(("mean",))
    slow = [SEEN.of(batch).embedding.astype(float).mean(axis=0) for batch in batches()]
    np.testing.assert_allclose(represent(batches()).rows, slow, rtol=1e-12, atol=1e-12)
    assert represent.names == tuple(f"mean/{axis}" for axis in range(16))


def test_columns_come_block_by_block():
    represent = representation()
    assert represent(batches()).rows.shape == (5, len(represent.names))
    assert represent(batches()).rows.dtype == np.float64
    blocks = [name.split("/")[0] for name in represent.names]
    assert blocks == ["mean"] * AXES + ["histogram"] * 4 + ["uncertainty"] * 6 + ["diversity"] * 3


def test_every_block_weighs_the_same_over_random_batches():
    represent = representation()
    rows = represent(batches(400, seed=7)).rows
    for block in BLOCKS:
        columns = [place for place, name in enumerate(represent.names) if name.startswith(block)]
        assert (rows[:, columns] ** 2).sum(axis=1).mean() == pytest.approx(1, abs=0.25)


def test_the_histogram_is_the_growth_of_each_class():
    represent, drawn = representation(("histogram",)), batches()
    known = 1 + class_mass(SEEN.of(LABELLED))[:, 2].sum()
    slow = [np.log1p(class_mass(SEEN.of(batch))[:, 2].sum() / known) for batch in drawn]
    np.testing.assert_allclose(column("histogram/2", represent, drawn), slow)


def test_uncertainty_statistics_by_definition():
    represent, drawn = representation(("uncertainty",)), batches()
    entropy = [location_entropy(SEEN.of(batch)) for batch in drawn]
    np.testing.assert_allclose(column("uncertainty/mean", represent, drawn), [e.sum(2).mean() for e in entropy])
    np.testing.assert_allclose(column("uncertainty/max", represent, drawn), [e.sum(2).max(1).mean() for e in entropy])
    np.testing.assert_allclose(column("uncertainty/3", represent, drawn), [e[:, :, 3].mean() for e in entropy])


def test_mean_and_diversity_by_definition():
    represent, drawn = representation(), batches()
    parts = [represent._components[represent._inspection.rows(batch)] for batch in drawn]
    np.testing.assert_allclose(column("mean/1", represent, drawn), [part[:, 1].mean() for part in parts])
    squares = [((part[:, None] - part[None]) ** 2).sum(2).mean() ** 0.5 for part in parts]
    np.testing.assert_allclose(column("diversity/distance", represent, drawn), squares)
    known = represent._components[represent._labelled]
    novelty = [np.sqrt(((part[:, None] - known[None]) ** 2).sum(2)).min(1).mean() for part in parts]
    np.testing.assert_allclose(column("diversity/novelty", represent, drawn), novelty, rtol=1e-4)


def test_near_duplicates_are_less_diverse():
    near, far = (extreme(combinations(POOL, 2), key=lambda pair: np.linalg.norm(np.subtract(*SEEN.of(pair).embedding)))
                 for extreme in (min, max))
    represent = representation(("diversity",), budget=20)
    for name in ("diversity/distance", "diversity/distinct"):
        values = column(name, represent, [near, far])
        assert values[0] <= values[1]
    assert column("diversity/distinct", represent, [far])[0] == 1


def test_neither_the_order_of_ids_nor_that_of_batches_matters():
    seen = SEEN.of(SEEN.ids[::-1])
    represent, mixed = representation(), representation(seen=seen, pool=POOL[::-1], labelled=LABELLED[::-1])
    drawn = batches()
    np.testing.assert_array_equal(represent(drawn).rows, mixed([batch[::-1] for batch in drawn]).rows)
    np.testing.assert_allclose(represent(drawn).rows[3], represent(drawn[3:4]).rows[0], rtol=1e-12)


def test_batches_of_several_sizes_and_a_constant_column():
    scores = SEEN.class_scores.copy()
    scores[:, :, 1] = 0.5
    seen = type(SEEN)(SEEN.ids, SEEN.embedding, scores, SEEN.detections)
    represent = representation(seen=seen)
    described = represent([POOL[:10], POOL[:3], POOL[5:6]]).rows
    assert np.isfinite(described).all()
    assert np.abs(described[:, represent.names.index("uncertainty/1")]).max() < 1e-9


@pytest.mark.parametrize(("change", "words"), [
    ({"blocks": ()}, "expected some of mean, histogram, uncertainty, diversity, each once, got none"),
    ({"blocks": ("mean", "mean")}, "each once, got mean, mean"),
    ({"blocks": ("colour",)}, "each once, got colour"),
    ({"budget": 0}, "expected a budget of 1 to 100 images, got 0"),
    ({"budget": 101}, "expected a budget of 1 to 100 images, got 101"),
    ({"labelled": ()}, "expected labelled images, got none")])
def test_what_does_not_fit_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        representation(**change)


def test_shares_and_images_describe_a_batch_by_its_images():
    represent, drawn = representation(), batches()
    described, ids = represent(drawn), sorted(SEEN.ids)
    members = [[ids[row] for row in np.flatnonzero(shares)] for shares in described.shares.toarray()]
    assert members == [sorted(batch) for batch in drawn]
    np.testing.assert_allclose(described.shares.sum(axis=1), 1)
    assert represent.images.shape == (120, AXES + 4 + 6)
    np.testing.assert_allclose(represent.images.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(represent.images.std(axis=0), 1)


def test_images_are_the_same_whichever_are_labelled():
    later = representation(pool=POOL[30:], labelled=(*LABELLED, *POOL[:30]))
    np.testing.assert_array_equal(later.images, representation().images)
    np.testing.assert_array_equal(later(batches()).shares.toarray(), representation()(batches()).shares.toarray())
