import contextlib
import io
import json

import numpy as np
import pytest

from mgral.data.dataset import Boxes
from mgral.detection.evaluation import evaluate
from mgral.errors import DataError
from mgral.inspection import Detections


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


def by_files(folder, predictions, truth, classes):
    """COCOeval on JSON files, written and read as anyone else would."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    numbers = {image_id: row + 7 for row, image_id in enumerate(truth)}
    annotations, results = [], []
    for image_id, boxes in truth.items():
        for xyxy, label, ignore in zip(boxes.xyxy.tolist(), boxes.labels.tolist(), boxes.ignore.tolist(), strict=True):
            x, y, right, bottom = xyxy
            annotations.append({"id": len(annotations) + 1, "image_id": numbers[image_id], "category_id": label + 1,
                                "bbox": [x, y, right - x, bottom - y], "area": (right - x) * (bottom - y),
                                "iscrowd": int(ignore)})
        one = predictions[image_id]
        for (x, y, right, bottom), score, label in zip(one.xyxy.tolist(), one.scores.tolist(), one.labels.tolist(),
                                                       strict=True):
            results.append({"image_id": numbers[image_id], "category_id": label + 1, "score": score,
                            "bbox": [x, y, right - x, bottom - y]})
    (folder / "truth.json").write_text(json.dumps({
        "images": [{"id": one} for one in numbers.values()], "annotations": annotations,
        "categories": [{"id": row + 1, "name": name} for row, name in enumerate(classes)]}))
    (folder / "results.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(folder / "truth.json"))
        run = COCOeval(coco, coco.loadRes(str(folder / "results.json")), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    table = run.eval["precision"][:, :, :, 0, 2]
    return run.stats[0], run.stats[1], [table[:, :, row].mean() for row in range(len(classes))]


@pytest.mark.parametrize("seed", range(4))
def test_equals_cocoeval_on_files(tmp_path, seed):
    predictions, truth, classes = random_case(seed)
    result = evaluate(predictions, truth, classes)
    mean, at_50, per_class = by_files(tmp_path, predictions, truth, classes)
    assert result.map == pytest.approx(mean, abs=1e-9)
    assert result.ap50 == pytest.approx(at_50, abs=1e-9)
    assert result.per_class[:-1] == pytest.approx(per_class[:-1], abs=1e-9)
    assert result.per_class[-1] is None
    assert per_class[-1] == -1


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
    found = detections([(5, 5, 15, 15), (60, 60, 70, 70)], [0.9, 0.8], [0, 0])
    assert evaluate({"one": found}, truth, ("a",)).map == pytest.approx(1)


def test_predictions_must_cover_the_images():
    with pytest.raises(ValueError, match="expected predictions for every image, got none for two"):
        evaluate({"one": detections()}, {"one": Boxes.of([(0, 0, 1, 1)], [0]), "two": Boxes.of()}, ("a",))


@pytest.mark.parametrize("boxes", [Boxes.of(), Boxes.of([(0, 0, 5, 5)], [0], [True])])
def test_images_without_any_object_have_no_precision(boxes):
    with pytest.raises(DataError, match="expected at least one annotated box, got none in 1 images"):
        evaluate({"one": detections()}, {"one": boxes}, ("a",))
