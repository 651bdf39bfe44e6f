"""Label Studio's JSON: a list of tasks, each with `predictions`; regions are rectangles in percent of the image.

A task's newest prediction counts. A rectangle turned about its upper left corner counts as the box around it. A region
without a score of its own has that of its prediction. Other regions than rectangles are passed over, and counted.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from mgral.pool.predictions.columns import Columns, Matched
from mgral.pool.predictions.content import shown

NUMBERS = (int, float)
REGIONS = 10**6
"""More than any task has regions: what a place counts in."""


def read(path: Path, content: object, classes: Mapping[str, int], matched: Matched,
         sizes: np.ndarray) -> tuple[str, Mapping[str, int], Columns]:
    """Reads the tasks; adds to the findings whatever is wrong with them."""
    findings, tasks = matched.findings, [content] if isinstance(content, dict) else content
    columns = Columns(lambda place: f"{path}: task {place // REGIONS}, region {place % REGIONS} (both from 0)")
    whole = isinstance(tasks, list) and tasks and all(isinstance(task, dict) and "data" in task for task in tasks)
    if not whole:
        findings.problem(f"{path}: expected COCO results (a list of image_id, category_id, bbox, score) or Label "
                         f"Studio's tasks with predictions, got {shown(content)}; write the detector's results again")
        return "", {}, columns
    if not any(task.get("predictions") for task in tasks):
        findings.problem(f"{path}: expected predictions in the tasks, got none; export JSON with predictions, or let "
                         "the model predict first")
        return "", {}, columns
    labels = {name: row for row, name in enumerate(classes)}
    for number, task in enumerate(tasks):
        where = f"{path}: task {number} (from 0)"
        row = _image(task, where, matched)
        prediction = _newest(task, where, matched)
        if row is None or prediction is None:
            continue
        for place, name, numbers in _regions(prediction, number, sizes[row], columns, matched):
            columns.add(row, labels.setdefault(name, len(labels)), numbers, place)
    # Known classes keep their order, others follow by name: that of the tasks says nothing.
    names = [*classes, *sorted(set(labels) - set(classes))]
    place = np.array([names.index(name) for name in labels], dtype=np.int64)
    columns.label = array("q", place[np.frombuffer(columns.label, dtype=np.int64)].tobytes())
    return "Label Studio predictions", {name: classes.get(name, 0) for name in names}, columns


def _image(task: dict, where: str, matched: Matched) -> int | None:
    """The image's row, by its address or path among the task's data; a `path`, as mgral writes it, comes first."""
    data = task["data"] if isinstance(task["data"], dict) else {}
    texts = [data[key] for key in ("path", "image", *data) if isinstance(data.get(key), str)]
    if not texts:
        matched.findings.problem(f"{where}: expected the image's address under data, got {shown(data)}; export the "
                                 "tasks again", "no image")
        return None
    name = next((text for text in texts if len(matched.names.find(text)) == 1), texts[0])
    return matched.find(name, where)


def _newest(task: dict, where: str, matched: Matched) -> dict | None:
    predictions = task.get("predictions")
    good = isinstance(predictions, list) and all(
        isinstance(prediction, dict) and isinstance(prediction.get("result"), list) for prediction in predictions)
    if predictions == []:
        matched.findings.note(f"{where}: no prediction, taken as nothing found", "no prediction")
        return None
    if not good:
        got = "none" if predictions is None else shown(predictions)
        matched.findings.problem(f"{where}: expected predictions with a list of regions under result, got {got}; "
                                 "export JSON with predictions, or take the task out", "no predictions")
        return None
    if len(predictions) > 1:
        matched.findings.note(f"{where}: {len(predictions)} predictions; the newest counts", "several predictions")
    return max(enumerate(predictions), key=lambda item: (str(item[1].get("created_at") or ""), item[0]))[1]


def _regions(prediction: dict, task: int, size: np.ndarray, columns: Columns,
             matched: Matched) -> Iterator[tuple[int, str, tuple[float, ...]]]:
    """Place, class name, and corners in pixels with the score, of each rectangle."""
    findings = matched.findings
    for number, region in enumerate(prediction["result"]):
        place = task * REGIONS + number
        where = columns.where(place)
        value = region.get("value") if isinstance(region, dict) else None
        names = value.get("rectanglelabels") if isinstance(value, dict) else None
        if isinstance(value, dict) and "rectanglelabels" not in value and region.get("type") != "rectanglelabels":
            findings.note(f"{where}: a region of type {shown(region.get('type'))} is passed over", "no rectangle")
            continue
        if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str) or not names[0]:
            findings.problem(f"{where}: expected one label under rectanglelabels, got {shown(names)}; label the region "
                             "or take it out", "label")
            continue
        score = region.get("score")
        if type(score) not in NUMBERS and type(prediction.get("score")) in NUMBERS:
            score = prediction["score"]
            findings.note(f"{where}: no score of its own, so its prediction's counts", "score of prediction")
        sides = [value.get(side) for side in ("x", "y", "width", "height")] + [value.get("rotation") or 0]
        if type(score) not in NUMBERS:
            findings.problem(f"{where}: expected a score, got {shown(score)}; write the detector's into each region",
                             "no score")
        elif not all(type(side) in NUMBERS for side in sides):
            findings.problem(f"{where}: expected x, y, width, height and rotation as numbers, got {shown(value)}; "
                             "write the region again", "numbers")
        elif _fits(region, size, where, matched):
            try:
                numbers = *_corners(tuple(map(float, sides)), float(size[0]), float(size[1])), float(score)
            except (OverflowError, ValueError):
                numbers = (math.nan,) * 5
            yield place, names[0], numbers


def _fits(region: dict, size: np.ndarray, where: str, matched: Matched) -> bool:
    """Whether the region was drawn on a picture of these proportions: percent mean others on a turned one."""
    width, height = region.get("original_width"), region.get("original_height")
    if type(width) not in NUMBERS or type(height) not in NUMBERS or min(width, height) <= 0:
        return True
    if abs(width * size[1] - height * size[0]) <= max(width, height, *size):  # a pixel
        return True
    matched.findings.problem(f"{where}: expected a picture of {size[0]} × {size[1]} pixels, got one of {width} × "
                             f"{height}; predict on the image as one sees it (upright, uncut)", "size")
    return False


def _corners(sides: tuple[float, ...], width: float, height: float) -> tuple[float, float, float, float]:
    """The box around a rectangle in percent that is turned clockwise about its upper left corner, in pixels."""
    x, y, w, h, angle = sides
    x, w, y, h = x * width / 100, w * width / 100, y * height / 100, h * height / 100
    if not angle:
        return x, y, x + w, y + h
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    xs = [x + a * w * cos - b * h * sin for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))]
    ys = [y + a * w * sin + b * h * cos for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))]
    return min(xs), min(ys), max(xs), max(ys)
