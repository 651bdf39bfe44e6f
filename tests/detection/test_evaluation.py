import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mgral.data.dataset import Boxes
from mgral.detection.evaluation import SCORES, TEMPERATURE, evaluate, soft_ap
from mgral.errors import DataError
from mgral.pool.inspection import Detections


def detections(xyxy=(), scores=(), labels=()):
    return Detections(np.asarray(xyxy, np.float32).reshape(-1, 4), np.asarray(scores, np.float32),
                      np.asarray(labels, np.int64))


def random_case(seed, images=12, classes=4):
    rng = np.random.default_rng(seed)
    truth, predictions = {}, {}
    for row in range(images):
        count = int(rng.integers(0, 5)) if row % 4 else 0
        corner = rng.uniform(0, 60, (count, 2))
        xyxy = np.concatenate([corner, corner + rng.uniform(4, 30, (count, 2))], axis=1)
        labels = rng.integers(0, classes - 1, count)  # no truth of the last class
        name = f"image {row}"
        truth[name] = Boxes.of(xyxy, labels, rng.random(count) < 0.2)
        near = np.repeat(xyxy, 2, axis=0) + rng.normal(0, 2, (2 * count, 4))
        stray = np.concatenate([corner, corner + 9], axis=1)
        boxes = np.concatenate([near, stray])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        order = np.argsort(-rng.random(len(boxes)))
        predictions[name] = detections(boxes[order], np.sort(rng.random(len(boxes)))[::-1],
                                       np.concatenate([np.repeat(labels, 2), rng.integers(0, classes, count)])[order])
    return predictions, truth, tuple("abcdefgh"[:classes])


def tricky_case(seed):
    """Few images, and in them what a matching can get wrong."""
    rng = np.random.default_rng(seed)
    images, classes = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    whole, levels = rng.random() < 0.5, int(rng.integers(1, 30))  # whole pixels and few levels make ties
    side = 10.0 ** rng.uniform(-2, 2)
    truth, predictions = {}, {}
    for row in range(images):
        objects, candidates = int(rng.integers(0, 7)), int(rng.choice([0, 0, 3, 9, 30]))
        if rng.random() < 0.02:
            candidates = 250
        xyxy = boxes(rng, objects, side, whole)
        near = xyxy[rng.integers(0, objects, candidates)] if objects else np.zeros((candidates, 4))
        near = near + (rng.integers(-1, 2, near.shape) if whole else rng.normal(0, 0.1 * side, near.shape))
        near = np.where(rng.random((candidates, 1)) < 0.7, near, boxes(rng, candidates, side, whole))
        near = np.concatenate([near[:, :2], np.maximum(near[:, :2], near[:, 2:])], axis=1)  # some have no area
        truth[str(row)] = Boxes.of(xyxy, rng.integers(0, classes, objects), rng.random(objects) < rng.choice([0, 0.4]))
        scores = np.sort(rng.integers(0, levels, candidates) / levels)[::-1]
        predictions[str(row)] = detections(near, scores, rng.integers(0, classes, candidates))
    return predictions, truth, tuple("abc"[:classes])


def boxes(rng, count, side, whole):
    corner = rng.uniform(0, 1.5 * side, (count, 2))
    xyxy = np.concatenate([corner, corner + side * rng.uniform(0.3, 1.5, (count, 2))], axis=1)
    return np.concatenate([corner // 1, corner // 1 + rng.integers(1, 8, (count, 2))], axis=1) if whole else xyxy


def by_cocoeval(predictions, truth, classes):
    """The precision table of pycocotools, set up as anyone else would."""
    numbers = {image_id: row + 7 for row, image_id in enumerate(truth)}
    annotations = [entry | {"iscrowd": int(ignore)} for image_id, image in truth.items()
                   for entry, ignore in zip(entries(numbers[image_id], image), image.ignore, strict=True)]
    results = [entry | {"score": score, "iscrowd": 0} for image_id in truth
               for entry, score in zip(entries(numbers[image_id], predictions[image_id]),
                                       predictions[image_id].scores.tolist(), strict=True)]
    with contextlib.redirect_stdout(io.StringIO()):
        run = COCOeval(coco(numbers, annotations, classes), coco(numbers, results, classes), "bbox")
        run.evaluate()
        run.accumulate()
    return run.eval["precision"][:, :, :, 0, 2]


def entries(number, image):
    return [{"image_id": number, "category_id": label + 1, "bbox": [x, y, right - x, bottom - y],
             "area": (right - x) * (bottom - y)}
            for (x, y, right, bottom), label in zip(image.xyxy.tolist(), image.labels.tolist(), strict=True)]


def coco(numbers, annotations, classes):
    index = COCO()
    index.dataset = {"images": [{"id": number} for number in numbers.values()],
                     "annotations": [entry | {"id": number} for number, entry in enumerate(annotations, start=1)],
                     "categories": [{"id": row + 1, "name": name} for row, name in enumerate(classes)]}
    index.createIndex()
    return index


def check(predictions, truth, classes):
    table = by_cocoeval(predictions, truth, classes)
    result = evaluate(predictions, truth, classes)
    known = table[table > -1].reshape(10, -1)
    assert result.map == pytest.approx(known.mean(), abs=1e-9)
    assert result.ap50 == pytest.approx(known[0].mean(), abs=1e-9)
    for row, value in enumerate(result.per_class):
        precision = table[:, :, row]
        assert value == (None if (precision == -1).all() else pytest.approx(precision.mean(), abs=1e-9))
    return result


@pytest.mark.parametrize("seed", range(4))
def test_equals_cocoeval(seed):
    result = check(*random_case(seed))
    assert 0 < result.map < result.ap50 < 1
    assert result.per_class[-1] is None


def test_equals_cocoeval_in_thousands_of_tricky_cases():
    measured = 0
    for seed in range(3000):
        predictions, truth, classes = tricky_case(seed)
        if any((~image.ignore).any() for image in truth.values()):
            measured += check(predictions, truth, classes).map > 0
    assert measured > 1500


def test_by_hand():
    """Two objects; the surest detection is wrong, the next finds one of them exactly: precision 1/2 up to recall 1/2.

    COCO reads the precision at 101 recalls, of which 51 are at most 1/2.
    """
    truth = {"one": Boxes.of([(0, 0, 10, 10)], [0]), "two": Boxes.of([(0, 0, 10, 10)], [0])}
    predictions = {"one": detections([(50, 50, 60, 60), (0, 0, 10, 10)], [0.9, 0.8], [0, 0]), "two": detections()}
    result = evaluate(predictions, truth, ("a", "b"))
    assert result.ap50 == pytest.approx(0.5 * 51 / 101)
    assert result.map == pytest.approx(0.5 * 51 / 101)
    assert result.per_class == (pytest.approx(0.5 * 51 / 101), None)


def test_localisation_counts_from_half_an_overlap():
    truth = {"one": Boxes.of([(0, 0, 10, 10)], [0])}
    result = evaluate({"one": detections([(0, 0, 10, 7.2)], [0.9], [0])}, truth, ("a",))  # IoU .72: 5 of 10 thresholds
    assert result.ap50 == pytest.approx(1)
    assert result.map == pytest.approx(0.5)


def test_nothing_found_is_zero(capsys):
    result = evaluate({"one": detections()}, {"one": Boxes.of([(0, 0, 10, 10)], [0])}, ("a",))
    assert (result.map, result.ap50, result.per_class) == (0, 0, (0,))
    assert capsys.readouterr().out == ""


def test_a_detection_inside_an_ignored_region_is_neither_right_nor_wrong():
    truth = {"one": Boxes.of([(0, 0, 50, 50), (60, 60, 70, 70)], [0, 0], [True, False])}
    image = detections([(5, 5, 15, 15), (60, 60, 70, 70)], [0.9, 0.8], [0, 0])
    assert evaluate({"one": image}, truth, ("a",)).map == pytest.approx(1)


def test_predictions_must_cover_the_images():
    with pytest.raises(ValueError, match="expected predictions for every image, got none for two"):
        evaluate({"one": detections()}, {"one": Boxes.of([(0, 0, 1, 1)], [0]), "two": Boxes.of()}, ("a",))


@pytest.mark.parametrize("boxes", [Boxes.of(), Boxes.of([(0, 0, 5, 5)], [0], [True])])
def test_images_without_any_object_have_no_precision(boxes):
    with pytest.raises(DataError, match="expected at least one annotated box, got none in 1 images"):
        evaluate({"one": detections()}, {"one": boxes}, ("a",))


def soft_ap_by_loops(predictions, truth, classes):
    """The formula of the docstring, detection by detection."""
    values = []
    for label in range(classes):
        ranked, count = [], 0
        for name, image in truth.items():
            objects = [xyxy for xyxy, kind in zip(image.xyxy, image.labels, strict=True) if kind == label]
            count += len(objects)
            left = list(range(len(objects)))
            predicted = predictions[name]
            for xyxy, score, kind in zip(predicted.xyxy, predicted.scores, predicted.labels, strict=True):
                if kind == label:
                    overlaps = {row: iou(xyxy, objects[row]) for row in left}
                    best = max(overlaps, key=overlaps.get, default=None)
                    right = best is not None and overlaps[best] >= 0.1
                    if right:
                        left.remove(best)
                    ranked.append((int(score * SCORES) / SCORES, overlaps[best] if right else 0.0))
        if count:
            total = 0.0
            for i, (score, quality) in enumerate(ranked):
                above = [1.0 if j == i else 1 / (1 + np.exp(-(their - score) / TEMPERATURE))
                         for j, (their, _) in enumerate(ranked)]
                total += quality * sum(share * q for share, (_, q) in zip(above, ranked, strict=True)) / sum(above)
            values.append(total / count)
    return np.mean(values)


def iou(box, truth):
    width, height = np.minimum(box[2:], truth[2:]) - np.maximum(box[:2], truth[:2])
    shared = max(width, 0) * max(height, 0)
    return shared / (np.prod(box[2:] - box[:2]) + np.prod(truth[2:] - truth[:2]) - shared)


@pytest.mark.parametrize("seed", range(5))
def test_soft_precision_is_its_formula(seed):
    predictions, truth, classes = random_case(seed)
    truth = {name: Boxes.of(image.xyxy, image.labels) for name, image in truth.items()}
    predictions = {name: detections(image.xyxy[::-1], image.scores[::-1], image.labels[::-1])
                   if image.scores.size and image.scores[0] < image.scores[-1] else image
                   for name, image in predictions.items()}
    expected = soft_ap_by_loops(predictions, truth, len(classes))
    assert 0 < expected < 1
    assert soft_ap(predictions, truth) == pytest.approx(expected, rel=1e-6)


def test_soft_precision_of_perfect_and_of_no_detections():
    _, truth, _ = random_case(0)
    perfect = {name: detections(image.xyxy[~image.ignore], np.full((~image.ignore).sum(), 0.9),
                                image.labels[~image.ignore]) for name, image in truth.items()}
    assert soft_ap(perfect, truth) == pytest.approx(1.0)
    assert soft_ap({name: detections() for name in truth}, truth) == 0.0
    inside = {name: detections(image.xyxy[image.ignore], np.full(image.ignore.sum(), 0.99),
                               image.labels[image.ignore]) for name, image in truth.items()}
    both = {name: detections(np.concatenate([inside[name].xyxy, perfect[name].xyxy]),
                             np.concatenate([inside[name].scores, perfect[name].scores]),
                             np.concatenate([inside[name].labels, perfect[name].labels])) for name in truth}
    assert soft_ap(both, truth) == pytest.approx(1.0)


def test_soft_precision_moves_where_precision_stands_still():
    truth = {"image": Boxes.of([[0, 0, 10, 10], [20, 20, 30, 30]], [0, 0])}

    def predictions(side, score):
        return {"image": detections([[0, 0, 10, side], [40, 40, 50, 50]], [0.8, score], [0, 0])}

    assert evaluate(predictions(10, 0.3), truth, "a").map == evaluate(predictions(10, 0.7), truth, "a").map
    assert soft_ap(predictions(10, 0.3), truth) > soft_ap(predictions(10, 0.7), truth)
    assert soft_ap(predictions(10, 0.3), truth) > soft_ap(predictions(9.9, 0.3), truth)
