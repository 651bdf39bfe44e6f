from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from mgral.lookup.images import class_mass, location_entropy
from mgral.lookup.representation import AXES, FLOOR, PROBES, Representation
from tests.lookup.pools import inspection, sets

SEEN = inspection()
POOL, LABELLED = sets(SEEN.ids)
BLOCKS = ("mean", "spread", "histogram", "uncertainty", "diversity")


def representation(blocks=BLOCKS, seen=SEEN, pool=POOL, labelled=LABELLED, budget=10, seed=0, whitening="columns"):
    return Representation(blocks, seen, pool, labelled, budget, seed, whitening)


def batches(count=5, budget=10, seed=1):
    rng = np.random.default_rng(seed)
    return [tuple(rng.choice(POOL, budget, replace=False).tolist()) for _ in range(count)]


def column(name, made, drawn):
    """A column as it was before it was standardised."""
    row = made.names.index(name)
    return made(drawn).rows[:, row] * made._scale[row] + made._centre[row]


def test_the_mean_alone_is_the_papers_mean_embedding():
    made = representation(("mean",))
    slow = [SEEN.of(batch).embedding.astype(float).mean(axis=0) for batch in batches()]
    np.testing.assert_allclose(made(batches()).rows, slow, rtol=1e-12, atol=1e-12)
    assert made.names == tuple(f"mean/{axis}" for axis in range(16))


def test_columns_come_block_by_block():
    made = representation()
    assert made(batches()).rows.shape == (5, len(made.names))
    assert made(batches()).rows.dtype == np.float64
    blocks = [name.split("/")[0] for name in made.names]
    assert blocks == ["mean"] * AXES + ["spread"] * AXES + ["histogram"] * 4 + ["uncertainty"] * 6 + ["diversity"] * 3


def test_every_block_weighs_the_same_over_random_batches():
    made = representation()
    seen = made(batches(400, seed=7)).rows
    for block in BLOCKS:
        columns = [row for row, name in enumerate(made.names) if name.startswith(block)]
        assert (seen[:, columns] ** 2).sum(axis=1).mean() == pytest.approx(1, abs=0.25)


def test_the_histogram_is_the_growth_of_each_class():
    made, drawn = representation(("histogram",)), batches()
    there = 1 + class_mass(SEEN.of(LABELLED))[:, 2].sum()
    slow = [np.log1p(class_mass(SEEN.of(batch))[:, 2].sum() / there) for batch in drawn]
    np.testing.assert_allclose(column("histogram/2", made, drawn), slow)


def test_uncertainty_statistics_by_definition():
    made, drawn = representation(("uncertainty",)), batches()
    entropy = [location_entropy(SEEN.of(batch)) for batch in drawn]
    np.testing.assert_allclose(column("uncertainty/mean", made, drawn), [e.sum(2).mean() for e in entropy])
    np.testing.assert_allclose(column("uncertainty/max", made, drawn), [e.sum(2).max(1).mean() for e in entropy])
    np.testing.assert_allclose(column("uncertainty/3", made, drawn), [e[:, :, 3].mean() for e in entropy])


def test_mean_spread_and_diversity_by_definition():
    made, drawn = representation(), batches()
    parts = [made._components[made._inspection.rows(batch)] for batch in drawn]
    np.testing.assert_allclose(column("mean/1", made, drawn), [part[:, 1].mean() for part in parts])
    np.testing.assert_allclose(column("spread/1", made, drawn), [part[:, 1].std() for part in parts])
    squares = [((part[:, None] - part[None]) ** 2).sum(2).mean() ** 0.5 for part in parts]
    np.testing.assert_allclose(column("diversity/distance", made, drawn), squares)
    known = made._components[made._labelled]
    novelty = [np.sqrt(((part[:, None] - known[None]) ** 2).sum(2)).min(1).mean() for part in parts]
    np.testing.assert_allclose(column("diversity/novelty", made, drawn), novelty, rtol=1e-4)


def test_near_duplicates_are_less_diverse():
    near, far = (best(combinations(POOL, 2), key=lambda pair: np.linalg.norm(np.subtract(*SEEN.of(pair).embedding)))
                 for best in (min, max))
    made = representation(("diversity",), budget=20)
    for name in ("diversity/distance", "diversity/distinct"):
        values = column(name, made, [near, far])
        assert values[0] <= values[1]
    assert column("diversity/distinct", made, [far])[0] == 1


def test_neither_the_order_of_ids_nor_that_of_batches_matters():
    seen = SEEN.of(SEEN.ids[::-1])
    made, mixed = representation(), representation(seen=seen, pool=POOL[::-1], labelled=LABELLED[::-1])
    drawn = batches()
    np.testing.assert_array_equal(made(drawn).rows, mixed([batch[::-1] for batch in drawn]).rows)
    np.testing.assert_allclose(made(drawn).rows[3], made(drawn[3:4]).rows[0], rtol=1e-12)


def test_batches_of_several_sizes_and_a_constant_column():
    scores = SEEN.class_scores.copy()
    scores[:, :, 1] = 0.5
    seen = type(SEEN)(SEEN.ids, SEEN.embedding, scores, SEEN.detections)
    made = representation(seen=seen)
    described = made([POOL[:10], POOL[:3], POOL[5:6]]).rows
    assert np.isfinite(described).all()
    assert np.abs(described[:, made.names.index("uncertainty/1")]).max() < 1e-9


@pytest.mark.parametrize(("change", "words"), [
    ({"blocks": ()}, "expected some of mean, spread, histogram, uncertainty, diversity, each once, got none"),
    ({"blocks": ("mean", "mean")}, "each once, got mean, mean"),
    ({"blocks": ("colour",)}, "each once, got colour"),
    ({"budget": 0}, "expected a budget of 1 to 100 images, got 0"),
    ({"budget": 101}, "expected a budget of 1 to 100 images, got 101"),
    ({"labelled": ()}, "expected labelled images, got none")])
def test_what_does_not_fit_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        representation(**change)


def test_shares_and_images_describe_a_batch_by_its_images():
    made, drawn = representation(), batches()
    described, ids = made(drawn), sorted(SEEN.ids)
    members = [[ids[row] for row in np.flatnonzero(one)] for one in described.shares.toarray()]
    assert members == [sorted(one) for one in drawn]
    np.testing.assert_allclose(described.shares.sum(axis=1), 1)
    assert made.images.shape == (120, AXES + 4 + 6)
    np.testing.assert_allclose(made.images.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(made.images.std(axis=0), 1)


def test_images_are_the_same_whichever_are_labelled():
    later = representation(pool=POOL[30:], labelled=(*LABELLED, *POOL[:30]))
    np.testing.assert_array_equal(later.images, representation().images)
    np.testing.assert_array_equal(later(batches()).shares.toarray(), representation()(batches()).shares.toarray())


def test_whitened_blocks_weigh_the_same_and_their_columns_do_not_say_things_twice():
    plain, made = representation(), representation(whitening="blocks")
    seen, before = (one(batches(2000, seed=7)).rows for one in (made, plain))
    assert made.names == plain.names
    for block in BLOCKS:
        columns = [row for row, name in enumerate(made.names) if name.startswith(block)]
        assert (seen[:, columns] ** 2).sum(axis=1).mean() == pytest.approx(1, abs=0.25)
        # axis by axis, none says more than the others; those that said next to nothing may say less
        variances = np.linalg.eigvalsh(np.cov(seen[:, columns].T)) * len(columns)
        assert variances.max() < 2
        assert variances.max() < np.linalg.eigvalsh(np.cov(before[:, columns].T)).max() * len(columns) + 0.5
        for column in columns:  # each is still what its name says
            alike = [abs(np.corrcoef(seen[:, column], before[:, other])[0, 1]) for other in columns]
            assert columns[int(np.argmax(alike))] == column


def test_whitening_is_that_of_principal_components_with_a_floor():
    scores, rng = SEEN.class_scores.copy(), np.random.default_rng(0)
    scores[:, :, 1] = scores[:, :, 2] * rng.uniform(0.8, 1.0, scores.shape[:2])  # two columns that say nearly the same
    seen = type(SEEN)(SEEN.ids, SEEN.embedding, scores, SEEN.detections)
    made, plain = (representation(("uncertainty",), seen=seen, whitening=one) for one in ("blocks", "columns"))
    rng, drawn = np.random.default_rng(0), batches(6)
    probes = plain([[SEEN.ids[row] for row in rng.choice(np.arange(20, 120), 10, replace=False)]
                    for _ in range(PROBES)]).rows * 6**0.5
    _, singular, axes = np.linalg.svd(probes, full_matrices=False)
    variances = singular**2 / PROBES
    assert variances[5] < 1e-9  # the mean is that of the classes
    assert 1e-4 < variances[4] < FLOOR < variances[3]
    whole = np.minimum(variances / FLOOR, 1).sum()
    components = plain(drawn).rows * 6**0.5 @ axes.T / np.sqrt(np.maximum(variances, FLOOR) * whole)
    np.testing.assert_allclose(pdist(made(drawn).rows), pdist(components), rtol=1e-6)
