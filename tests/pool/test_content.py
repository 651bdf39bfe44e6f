"""What is expected to be in images, and how far to believe it."""

import numpy as np
import pytest

from mgral.data.dataset import Boxes
from mgral.pool.content import FEWEST, Calibration, fit_content, growth, objects_in
from mgral.pool.inspection import Detections, Inspection

CLASSES = ("cat", "dog", "owl")
SIZE = 300


def world(seed=0, seen=(1.0, 0.8, 0.0), noise=0.5):
    """Images whose embedding tells of all classes, while the detector sees of each class only so large a share."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson([1.0, 0.5, 0.3], size=(SIZE, 3))
    embedding = counts @ rng.normal(size=(3, 40)) * 3 + rng.normal(size=(SIZE, 40)) * noise
    found = []
    for image in counts:
        labels = np.repeat(np.arange(3), rng.binomial(image, seen))
        found.append(Detections(np.tile(np.float32([1, 1, 9, 9]), (len(labels), 1)),
                                np.full(len(labels), 0.9, np.float32), labels))
    ids = tuple(f"i{row:03d}" for row in range(SIZE))
    inspection = Inspection(ids, embedding.astype(np.float32), rng.random((SIZE, 4, 3)).astype(np.float32), found)
    boxes = {image_id: Boxes.of(np.tile([1, 1, 9, 9], (image.sum(), 1)), np.repeat(np.arange(3), image))
             for image_id, image in zip(ids, counts, strict=True)}
    return inspection, boxes, counts


def test_a_class_that_the_detector_never_sees_is_known_from_the_embedding():
    inspection, boxes, counts = world()
    content = fit_content(inspection, {image_id: boxes[image_id] for image_id in inspection.ids[:100]}, CLASSES)
    rest = content.objects[100:]
    for label in range(3):
        assert np.corrcoef(rest[:, label], counts[100:, label])[0, 1] > 0.8
    assert rest.min() >= 0
    calibration = content.calibration
    assert calibration.explained(calibration.expected) > 0.7 > calibration.explained(calibration.seen) + 0.2
    assert "the detector's own, " in calibration.verdict
    assert 0 < content.calibration.dispersion.max() < 1.5


def test_annotated_images_hold_what_is_annotated():
    inspection, boxes, counts = world()
    known = inspection.ids[5:50]
    content = fit_content(inspection, {image_id: boxes[image_id] for image_id in known}, CLASSES)
    np.testing.assert_array_equal(content.of(known), counts[5:50])
    np.testing.assert_array_equal(content.of(known[::-1]), counts[5:50][::-1])


def test_it_is_judged_on_images_that_were_left_out():
    """Pure noise: a model that was judged on what it was shown would look well informed."""
    inspection, boxes, _ = world()
    rng = np.random.default_rng(3)
    noise = Inspection(inspection.ids, rng.normal(size=(SIZE, 40)).astype(np.float32),
                       np.zeros((SIZE, 0, 0), np.float32), [])
    content = fit_content(noise, {image_id: boxes[image_id] for image_id in inspection.ids[:60]}, CLASSES)
    assert content.calibration.explained(content.calibration.expected) < 0.1


def test_it_is_judged_where_the_detector_saw_no_truth():
    inspection, boxes, _ = world()
    annotated = {image_id: boxes[image_id] for image_id in inspection.ids[:60]}
    trained = set(inspection.ids[:40])
    assert len(fit_content(inspection, annotated, CLASSES, trained).calibration.counted) == 20
    assert len(fit_content(inspection, annotated, CLASSES, set(inspection.ids[:55])).calibration.counted) == 60


def test_it_says_so_where_it_is_no_better_than_the_detector():
    counted = np.array([[1.0, 0], [0, 1], [2, 0], [0, 0]])
    calibration = Calibration(("cat", "dog"), counted, np.zeros_like(counted), counted)
    assert calibration.explained(calibration.seen) == 1.0
    assert "no more than the detector's own counts (100 %)" in calibration.verdict


def test_classes_that_no_annotated_image_holds_are_expected_nowhere():
    inspection, boxes, _ = world()
    content = fit_content(inspection, {image_id: boxes[image_id] for image_id in inspection.ids[:60]},
                          (*CLASSES, "unicorn"))
    assert content.objects.shape == (SIZE, 4)
    np.testing.assert_allclose(content.objects[:, 3], 0, atol=1e-9)
    assert np.isfinite(content.calibration.explained(content.calibration.expected))


@pytest.mark.parametrize("classes", [1, 3])
def test_what_is_known_may_be_an_embedding_alone(classes):
    inspection, boxes, _ = world()
    alone = Inspection(inspection.ids, inspection.embedding, np.zeros((SIZE, 0, 0), np.float32), [])
    annotated = {image_id: Boxes.of(boxes[image_id].xyxy, boxes[image_id].labels % classes)
                 for image_id in inspection.ids[:60]}
    content = fit_content(alone, annotated, CLASSES[:classes])
    assert content.objects.shape == (SIZE, classes)
    assert content.calibration.explained(content.calibration.expected) > 0.5


def test_too_few_annotated_images_teach_nothing():
    inspection, boxes, _ = world()
    few = {image_id: boxes[image_id] for image_id in inspection.ids[:FEWEST - 1]}
    assert fit_content(inspection, few, CLASSES) is None
    assert fit_content(inspection, {**few, "elsewhere": Boxes.of()}, CLASSES) is None
    assert fit_content(inspection, {**few, inspection.ids[50]: Boxes.of()}, CLASSES) is not None


def test_objects_to_ignore_do_not_count():
    assert objects_in([Boxes.of([(1, 1, 9, 9)] * 3, [0, 0, 1], [False, True, False])], 3).tolist() == [[1, 1, 0]]
    assert objects_in([], 3).shape == (0, 3)


def test_growth_is_worth_most_for_the_first_object_of_a_class():
    known = np.array([0.0, 9.0])
    assert growth(np.array([1.0, 0]), known) == pytest.approx(np.log(2))
    assert growth(np.array([0, 1.0]), known) == pytest.approx(np.log(1.1))
    rng = np.random.default_rng(0)
    for _ in range(20):  # submodular: what is added to more is worth less
        a, b, c = rng.exponential(size=(3, 2))
        assert growth(a + b + c, known) - growth(a + b, known) <= growth(a + c, known) - growth(a, known) + 1e-12
