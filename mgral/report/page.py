"""A batch as one HTML page: every image with the boxes that it goes out with, and why it was chosen.

The page needs no network and no script, and whatever files and classes are called, they are text in it.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mgral.annotation.proposals import MIN_SCORE, Proposal, proposals
from mgral.data.dataset import Dataset, ImageId, ImageInfo
from mgral.data.decoding import each
from mgral.errors import DataError
from mgral.files import writing
from mgral.pool.inspection import Detections
from mgral.report.page_boxes import SIDE, colour_class, drawn_boxes, shown_size
from mgral.report.page_style import POLICY, STYLE
from mgral.report.page_text import html_text
from mgral.report.thumbnails import thumbnail

SMALL, FEW, MOST = 280, 100, 300
"""The longer side in pixels of the pictures of more than `FEW` images; `MOST` are shown."""
BYTES, OF_BOX, OF_IMAGE, LEAST = 4_700_000, 320, 900, 5_000
"""Of the page in all; of it about so many for a box and for an image besides its picture; the least for a picture."""
NAMED = 40
"""Classes up to which all are named, with a box or without."""


def write_page(path: Path, dataset: Dataset, ids: Sequence[ImageId], detections: Mapping[ImageId, Detections],
               reasons: Sequence[str], scores: Sequence[float], title: str, lines: Iterable[str] = (),
               min_score: float = MIN_SCORE) -> None:
    """Writes the batch, best first, as one HTML file of at most about 5 MB.

    `reasons` and `scores` are one an image, or none; those that all images share say nothing of one. `lines` are the
    next steps. `detections` is empty where no model
    has looked at the images. At most `MOST` images are shown; the page says how many there are.

    Raises:
        DataError: image files that cannot be read, a line each; no page is written then.
    """
    boxes = {image_id: proposals(dataset.images[image_id], detections[image_id], min_score)
             for image_id in ids if image_id in detections}
    shown, problems = ids[:MOST], []
    side, room = SIDE if len(shown) <= FEW else SMALL, _room(shown, boxes)
    shared, scored = len(set(reasons)) < 2 <= len(ids), len(set(scores)) > 1
    pictures = each(lambda image_id: thumbnail(dataset, image_id, side, room), shown)
    with writing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(_head(title))
        file.writelines(_summary(title, dataset, ids, boxes, reasons[:1] if shared else (), lines, min_score))
        file.write('<main><ol class="batch">\n')
        for row, (image_id, (picture, faults)) in enumerate(zip(shown, pictures, strict=True)):
            problems += faults
            if picture is not None:
                facts = _facts(dataset.images[image_id], scores[row:row + 1] if scored else ())
                reason = "" if shared else "".join(reasons[row:row + 1])
                file.write(_entry(row + 1, dataset, image_id, boxes.get(image_id), picture, facts, reason))
        file.write("</ol></main>\n</body></html>\n")
        if problems:
            raise DataError(*problems)


def _room(ids: Sequence[ImageId], boxes: Mapping[ImageId, Sequence[Proposal]]) -> int:
    """Bytes for a picture, which becomes a third longer as text."""
    text = sum(OF_IMAGE + OF_BOX * len(boxes.get(image_id, ())) for image_id in ids)
    return max(LEAST, (BYTES - text) * 3 // 4 // max(1, len(ids)))


def _head(title: str) -> str:
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="robots" '
            'content="noindex"><link rel="icon" href="data:,">\n'
            f"<title>{html_text(title)}</title>\n<style>{STYLE}</style></head>\n<body>\n")


def _summary(title: str, dataset: Dataset, ids: Sequence[ImageId], boxes: Mapping[ImageId, Sequence[Proposal]],
             reason: Sequence[str], lines: Iterable[str], min_score: float) -> Iterator[str]:
    """What stands above the pictures: how much there is to do, the classes, the reason that all share, the next
    steps."""
    counts = Counter(box.label for of_image in boxes.values() for box in of_image)
    expected = (f"{_counted(counts.total(), 'box', 'boxes')} of the model to check (score {min_score:g} or more)"
                if boxes else "no boxes: no model has looked at them yet")
    yield f"<header><h1>{html_text(title)}</h1>\n<p>{_counted(len(ids), 'image', 'images')}, {expected}.</p>\n"
    if len(ids) > MOST:
        yield f"<p>The first {MOST} of {len(ids):,} images are shown here, in the order of preference.</p>\n"
    yield from (f"<p>Why these: <bdi>{html_text(text)}</bdi></p>\n" for text in reason if text)
    if dataset.classes:
        yield f"<h2>Classes</h2>\n{_classes(dataset.classes, counts, bool(boxes))}\n"
    steps = "".join(f"<li>{html_text(line)}</li>\n" for line in lines)
    yield f'<h2>Next</h2>\n<ol class="next">\n{steps}</ol></header>\n' if steps else "</header>\n"


def _classes(names: Sequence[str], counts: Mapping[int, int], counted: bool) -> str:
    """All classes, or of many those that have a box."""
    rows = [row for row in range(len(names)) if len(names) <= NAMED or counts.get(row)]
    entries = [_class(row, names[row], f" {counts.get(row, 0):,}" if counted else "") for row in rows]
    rest = len(names) - len(rows)
    more = f'<li class="dim">{rest} {"more " if rows else ""}classes without a box</li>' if rest else ""
    return f'<ul class="classes">{"".join(entries)}{more}</ul>'


def _class(row: int, name: str, count: str) -> str:
    return f'<li><i class="{colour_class(row)}"></i><bdi translate="no">{html_text(name)}</bdi>{count}</li>'


def _entry(rank: int, dataset: Dataset, image_id: ImageId, boxes: Sequence[Proposal] | None, picture: bytes,
           facts: str, reason: str) -> str:
    image, counts = dataset.images[image_id], Counter(box.label for box in boxes or ())
    found = sorted(counts.items())
    alt = f"Image {rank}: {', '.join(f'{count} {dataset.classes[row]}' for row, count in found) or 'no boxes'}"
    drawn = drawn_boxes(image, boxes or (), dataset.classes)
    small = "".join(_class(row, dataset.classes[row], f" {count:,}") for row, count in found) or "<li>no box</li>"
    name = html_text(image.file_name).replace("/", "/<wbr>")
    return (f'<li id="image-{rank}"><figure><div class="mat">{_picture(image, picture, alt, drawn)}</div>\n'
            f'<figcaption><h2>{rank}.&nbsp;<bdi dir="ltr" translate="no">{name}</bdi></h2>\n'
            f'<p class="dim">{facts}</p>\n'
            + (f'<ul class="classes small">{small}</ul>\n' if boxes is not None else "")
            + (f'<p class="dim"><bdi>{html_text(reason)}</bdi></p>\n' if reason else "")
            + "</figcaption></figure></li>\n")


def _facts(image: ImageInfo, score: Sequence[float]) -> str:
    return f"{image.width} × {image.height} pixels" + "".join(f", score {value:.4g}" for value in score)


def _picture(image: ImageInfo, jpeg: bytes, alt: str, boxes: str) -> str:
    """The image, `SIDE` pixels long where there is room, and over it the boxes."""
    width, height = (max(1, round(side)) for side in shown_size(image))
    return (f'<div class="picture"><img width="{width}" height="{height}" alt="{html_text(alt)}" '
            f'src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">{boxes}</div>')


def _counted(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"
