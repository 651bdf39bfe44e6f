import numpy as np
import pytest

from mgral.pool.inspection import Detections, Inspection
from mgral.pool.statistics import (
    LEAST_SCORE,
    class_mass,
    detection_entropy,
    image_entropy,
    location_entropy,
    location_summary,
    principal,
    uncertain_objects,
    uncertainty,
)
from tests.lookup.pools import inspection


def one_image(class_scores, scores=(), labels=()):
    detections = Detections(np.zeros((len(scores), 4), np.float32), np.array(scores, np.float32),
                            np.array(labels, np.int64))
    return Inspection(("a",), np.zeros((1, 2), np.float32), np.array([class_scores], np.float32), (detections,))


def test_class_mass_by_hand():
    image = one_image([[0.5, 0.5, 0.5]], scores=[0.9, 0.6, 0.3, 0.04], labels=[2, 0, 2, 1])
    np.testing.assert_allclose(class_mass(image), [[0.6, 0, 1.2]], rtol=1e-6)


def test_entropy_by_hand():
    image = one_image([[0.5, 1.0], [0.25, 0.0]])
    quarter = -0.25 * np.log(0.25) - 0.75 * np.log(0.75)
    np.testing.assert_allclose(location_entropy(image)[0], [[np.log(2), 0], [quarter, 0]], atol=1e-9)
    assert image_entropy(image)[0] == pytest.approx((np.log(2) + quarter) / 2)


def test_entropy_of_detections_by_hand():
    image = one_image([[0.5, 0.5, 0.5]], scores=[0.75, 0.5, 0.25, 0.04], labels=[2, 0, 2, 1])
    quarter = -0.25 * np.log(0.25) - 0.75 * np.log(0.75)
    np.testing.assert_allclose(detection_entropy(image), [[np.log(2), 0, 2 * quarter]], rtol=1e-6)


def test_uncertain_objects_by_hand():
    image = one_image([[0.5, 0.5, 0.5]], scores=[0.81, 0.75, 0.5, 0.21, 0.19], labels=[0, 2, 0, 2, 1])
    np.testing.assert_array_equal(uncertain_objects(image), [[1, 0, 2]])


def test_principal_components_are_uncorrelated_with_deviation_one_and_keep_the_larger_axes():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 3)) * [1, 5, 0.01] + 7
    components = principal(points, 2)
    np.testing.assert_allclose(np.cov(components.T, ddof=0), np.eye(2), atol=1e-9)
    assert abs(np.corrcoef(components[:, 0], points[:, 1])[0, 1]) > 0.99


def test_the_sign_of_a_component_does_not_depend_on_the_order_of_images():
    points = inspection().embedding
    np.testing.assert_allclose(principal(points, 3)[::-1], principal(points[::-1], 3), atol=1e-5)


def test_axes_along_which_nothing_varies_are_left_out():
    line = np.arange(5.0)[:, None] * [1, 2, 0]
    assert principal(line, 3).shape == (5, 1)
    assert principal(np.ones((4, 3)), 2).tolist() == [[0], [0], [0], [0]]


def by_hand(image):
    """Mass and entropy (C,) of an image, detection by detection."""
    mass, entropy = np.zeros(4), np.zeros(4)
    for score, label in zip(image.scores.astype(float), image.labels, strict=True):
        if score >= LEAST_SCORE:
            mass[label] += score
            entropy[label] -= score * np.log(score) + (1 - score) * np.log1p(-score)
    return mass, entropy


def test_flat_detections_give_what_a_loop_gives():
    seen = inspection(60)
    mass, entropy = zip(*(by_hand(detections) for detections in seen.detections), strict=True)
    np.testing.assert_allclose(class_mass(seen), mass, rtol=1e-12)
    np.testing.assert_allclose(detection_entropy(seen), entropy, rtol=1e-9)


def test_blocks_change_no_figure(monkeypatch):
    seen = inspection(60)
    whole = [principal(seen.embedding, 5), uncertainty(seen), location_summary(seen)]
    np.testing.assert_array_equal(whole[1], detection_entropy(seen).sum(axis=1))
    entropy = location_entropy(seen)
    np.testing.assert_array_equal(whole[2], np.column_stack([
        entropy.sum(axis=2).mean(axis=1), entropy.sum(axis=2).max(axis=1), entropy.mean(axis=1)]))
    monkeypatch.setattr("mgral.pool.statistics.BLOCK", 7)
    monkeypatch.setattr("mgral.pool.statistics.LOCATION_BLOCK", 7)
    np.testing.assert_allclose(principal(seen.embedding, 5), whole[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(location_summary(seen), whole[2])


def test_principal_components_are_those_of_the_whole_covariance():
    points = inspection(60).embedding
    centred = points.astype(float) - points.astype(float).mean(axis=0)
    left, _, _ = np.linalg.svd(centred, full_matrices=False)
    slow = left[:, :3] * 60**0.5
    components = principal(points, 3)
    np.testing.assert_allclose(components, slow * np.sign((components * slow).sum(axis=0)), atol=1e-9)
