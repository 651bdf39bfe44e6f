"""The files of a batch that was chosen without a pipeline, and what to say of them."""

from __future__ import annotations

import csv
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mgral import __version__
from mgral.annotation.preannotations import write_preannotations
from mgral.errors import StateError
from mgral.files import read_json, write_json, writing
from mgral.report.folders import Written, complete_folder
from mgral.report.gallery import draw_gallery
from mgral.report.handout import in_words as file_in_words
from mgral.report.handout import next_step
from mgral.report.page import write_page
from mgral.selection import Request, Selected

TABLE, DATA, PICTURE, PAGE = "images.csv", "images.json", "contact.jpg", "index.html"
FILES = {TABLE: "rank, path, score and reason", DATA: "the same with seed and versions", PICTURE: "to look at",
         PAGE: "to look at in a browser"}
MORE = "the same command with --to label-studio (or cvat, cvat-coco, coco, voc, yolo) adds files for annotators"
LINES = 15
"""Most lines that are said of a batch."""
NOTES = 3
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that spreadsheets take for a formula."""
MEASURABLE = 50
"""Labelled images from which on `mgral run` can measure what a batch is worth."""


def write_batch(folder: Path, selected: Selected, to: str | None) -> Written:
    """Writes images.csv, images.json, contact.jpg, index.html, and the batch for annotators in the format `to`.

    A folder that holds this very batch keeps every file that it has; what is missing, such as another format, is added.

    Raises:
        StateError: the folder holds another batch.
    """
    return complete_folder(folder, DATA, lambda record: _check_same(record, selected),
                           lambda fresh: _write(fresh, selected, to))


def in_words(selected: Selected, written: Written, to: str | None) -> list[str]:
    """What was loaded, chosen and written, and what to do next: at most `LINES` lines."""
    request, dataset = selected.request, selected.dataset
    lines = [_images_in_words(selected), selected.source]
    lines += [f"classes ({len(dataset.classes)}): {_some(dataset.classes)}"] if dataset.classes else []
    lines += [f"note: {note}" for note in selected.notes[:NOTES]]
    if len(selected.notes) > NOTES:
        lines[-1] += f" (and {len(selected.notes) - NOTES} more notes, in {DATA})"
    lines.append(f"chosen: {len(selected.selection.ids)} by {selected.strategy.name} ({selected.strategy.summary}), "
                 f"seed {request.seed}; {selected.passed_over:,} near-copies of labelled or other images passed over")
    if selected.labelled < MEASURABLE:
        lines.append(f"with {MEASURABLE} or more labelled images (--labelled FILE, then `mgral run`) mgral measures "
                     "what a batch is worth")
    if written.before:
        lines.append(f"{written.folder}: this batch was there; {'added:' if written.files else 'nothing added'}")
    lines += [f"  {_file_in_words(path)}" for path in written.files]
    return [*lines, f"next: {_next(request, written, to)}"][:LINES]


def _write(folder: Path, selected: Selected, to: str | None) -> tuple[Path, ...]:
    selection, request = selected.selection, selected.request
    rows = [(rank, path, round(score, 6), reason) for rank, (path, score, reason) in
            enumerate(zip(selection.ids, selection.scores, selection.reasons, strict=True), start=1)]
    with writing(folder / TABLE) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("rank", "path", "score", "reason"))
        table.writerows((rank, harmless(path), score, harmless(reason)) for rank, path, score, reason in rows)
    draw_gallery(folder / PICTURE, selected.dataset, selection.ids, selected.detections, reasons=selection.reasons)
    _write_page(folder / PAGE, selected)
    info = {"strategy": selected.strategy.name, "seed": request.seed, "mgral": __version__}
    handed = () if to is None else write_preannotations(to, folder, selected.dataset, selection.ids,
                                                        selected.detections, info)
    write_json(folder / DATA, {
        "batch": selected.key, **info, "budget": request.budget, "source": selected.source, "notes": selected.notes,
        "images": [dict(zip(("rank", "path", "score", "reason"), row, strict=True)) for row in rows],
        "folder": str(request.images), "classes": selected.dataset.classes, "labelled": selected.labelled,
        "near_copies_passed_over": selected.passed_over, "versions": _versions()})
    return handed


def _write_page(path: Path, selected: Selected) -> None:
    selection, request = selected.selection, selected.request
    seen = selected.detections if request.predictions or request.checkpoint else {}
    lines = (f"{TABLE}, beside this page, lists the images. For your annotation tool, {MORE}.",
             "Have all of them labelled; an image without any object stays empty.",
             "For the next batch: mgral select with --labelled FILE, all that is labelled by then.")
    title = f"{len(selection.ids)} images of {request.images.resolve().name} to annotate"
    write_page(path, selected.dataset, selection.ids, seen, selection.reasons, selection.scores, title, lines)


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _versions() -> dict[str, Any]:
    return {"python": platform.python_version(), **{name: version(name) for name in ("numpy", "pillow", "torch")}}


def _check_same(record: Path, selected: Selected) -> None:
    try:
        known = read_json(record)
        same = (known["batch"], [entry["path"] for entry in known["images"]]) == (selected.key,
                                                                                  list(selected.selection.ids))
        what = f"another ({len(known['images'])} images by {known['strategy']}, seed {known['seed']})"
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        same, what = False, f"a {DATA} that cannot be read"
    if not same:
        raise StateError(f"{record.parent}: expected no batch there or this very one, got {what}; name another folder "
                         "by --out or move it away")


def _images_in_words(selected: Selected) -> str:
    count, left = len(selected.dataset.images), len(selected.dataset.images) - selected.labelled
    if not selected.labelled:
        return f"{selected.request.images}: {count:,} images, none known to be labelled"
    empty = f" ({selected.unboxed:,} of them without a box, taken as empty)" if selected.unboxed else ""
    return (f"{selected.request.images}: {count:,} images, {selected.labelled:,} of them labelled{empty}; {left:,} to "
            "choose from")


def _some(names: tuple[str, ...], most: int = 8) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def _file_in_words(path: Path) -> str:
    return f"{path}: {FILES[path.name]}" if path.name in FILES else file_in_words(path)


def _next(request: Request, written: Written, to: str | None) -> str:
    if to is None:
        return MORE
    return next_step(to, written.for_annotators, request.images, f"the images in {written.folder / TABLE}")
