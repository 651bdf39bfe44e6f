"""Pictures of the chosen images, with what the model sees in them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from mgral.annotation.proposals import MIN_SCORE
from mgral.data.dataset import Dataset, ImageId
from mgral.data.decoding import decode
from mgral.files import writing
from mgral.pool.inspection import Detections
from mgral.report.colours import colour

CELL, LINE, GAP, COLUMNS, MOST = 160, 12, 6, 10, 100
LETTERS = 27
"""That fit under a picture."""


def draw_gallery(path: Path, dataset: Dataset, ids: Sequence[ImageId], detections: Mapping[ImageId, Detections],
                 min_score: float = MIN_SCORE, reasons: Sequence[str] = ()) -> None:
    """Writes one JPEG with the images in a grid, predicted boxes by class colour, and a legend of the classes.

    Under each stand its file name and the reason why it was chosen, where there is one of its own. At most
    `MOST` images are drawn; the title says how many there are.
    """
    shown = list(ids)[:MOST]
    columns = min(COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    captions = _captions(dataset, shown, reasons)
    foot = LINE * max(map(len, captions)) + GAP
    head = 2 * (LINE + GAP)
    sheet = Image.new("RGB", (columns * (CELL + GAP) + GAP, rows * (CELL + foot) + head + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    boxes = f"; boxes: the model's, score {min_score} or more" if dataset.classes else ""
    pen.text((GAP, GAP), f"{len(shown)} of {len(ids)} chosen images{boxes}", fill="black")
    _legend(pen, dataset.classes)
    for place, (image_id, caption) in enumerate(zip(shown, captions, strict=True)):
        left = GAP + (place % columns) * (CELL + GAP)
        top = head + (place // columns) * (CELL + foot)
        sheet.paste(_cell(dataset, image_id, detections[image_id].above(min_score)), (left, top))
        for row, line in enumerate(caption):
            pen.text((left, top + CELL + row * LINE), line, fill="black")
    with writing(path) as temporary:
        sheet.save(temporary, format="JPEG", quality=88)


def _captions(dataset: Dataset, ids: Sequence[ImageId], reasons: Sequence[str]) -> list[list[str]]:
    """File name and reason, line by line; a reason that all share says nothing of one."""
    names = [dataset.images[image_id].file_name[-LETTERS:] for image_id in ids]
    if len(set(reasons)) < 2:
        return [[name] for name in names]
    return [[name, *textwrap.wrap(reason, LETTERS)] for name, reason in zip(names, reasons, strict=False)]


def _legend(pen: ImageDraw.ImageDraw, classes: Sequence[str]) -> None:
    left, top = GAP, LINE + 2 * GAP
    for label, name in enumerate(classes):
        pen.rectangle((left, top, left + 10, top + 10), fill=colour(label))
        pen.text((left + 14, top - 1), name, fill="black")
        left += 26 + int(pen.textlength(name))


def _cell(dataset: Dataset, image_id: ImageId, detections: Detections) -> Image.Image:
    info = dataset.images[image_id]
    scale = CELL / max(info.width, info.height)
    width, height = max(1, round(info.width * scale)), max(1, round(info.height * scale))
    cell = Image.new("RGB", (CELL, CELL), "#eeeeee")
    cell.paste(Image.fromarray(decode(dataset.path(image_id), width, height, dataset.white)))
    pen = ImageDraw.Draw(cell)
    for corners, label in zip(detections.xyxy, detections.labels, strict=True):
        x1, y1, x2, y2 = (float(value) * scale for value in corners)
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colour(int(label)), width=2)
    return cell
