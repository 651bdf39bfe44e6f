"""The files of a batch that was chosen without a pipeline, and what to say of them."""

from __future__ import annotations

import csv
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mgral import __version__
from mgral.annotation.preannotations import write_preannotations
from mgral.errors import StateError
from mgral.files import read_json, write_json, writing, writing_folder
from mgral.report.gallery import draw_gallery
from mgral.selection import Request, Selected

TABLE, DATA, PICTURE = "images.csv", "images.json", "contact.jpg"
LINES = 15
"""Most lines that are said of a batch."""
NOTES = 3
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that spreadsheets take for a formula."""
MEASURABLE = 50
"""Labelled images from which on `mgral run` can measure what a batch is worth."""


@dataclass(frozen=True, slots=True)
class Written:
    """The folder, the files that were written now, and whether the batch was there before."""

    folder: Path
    files: tuple[Path, ...]
    before: bool


def check_folder(folder: Path) -> None:
    """Looks, before work starts, whether a batch can be put there: nothing of another batch is ever written over.

    Raises:
        StateError: something is there that is no batch.
    """
    if folder.exists() and not folder.is_dir():
        raise StateError(f"{folder}: expected a folder or nothing, got a file; name another by --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / DATA).is_file():
        raise StateError(f"{folder}: expected no folder, an empty one or that of this very batch, got one of other "
                         "files; name another by --out")


def write_batch(folder: Path, selected: Selected, to: str | None) -> Written:
    """Writes images.csv, images.json, contact.jpg, and the batch for annotators in the format `to`.

    A folder that holds this very batch keeps every file that it has; what is missing, such as another format, is added.

    Raises:
        StateError: the folder holds another batch.
    """
    check_folder(folder)
    try:
        if (folder / DATA).is_file():
            _check_same(folder, selected)
            with TemporaryDirectory(prefix=".adding-", dir=folder) as fresh:
                _write(Path(fresh), selected, to)
                return Written(folder, tuple(_added(Path(fresh), folder)), True)
        with writing_folder(folder) as fresh:
            _write(fresh, selected, to)
            files = [path.relative_to(fresh) for path in _tops(fresh)]
        return Written(folder, tuple(folder / path for path in files), False)
    except OSError as error:
        raise StateError(f"{folder}: expected a folder that can be written, got {error.strerror or error}; name "
                         "another by --out or make room") from error


def in_words(selected: Selected, written: Written, to: str | None) -> list[str]:
    """What was loaded, chosen and written, and what to do next: at most `LINES` lines."""
    request, dataset = selected.request, selected.dataset
    lines = [_images_in_words(selected), selected.source]
    lines += [f"classes ({len(dataset.classes)}): {_some(dataset.classes)}"] if dataset.classes else []
    lines += [f"note: {note}" for note in selected.notes[:NOTES]]
    if len(selected.notes) > NOTES:
        lines[-1] += f" (and {len(selected.notes) - NOTES} more notes, in {DATA})"
    lines.append(f"chosen: {len(selected.selection.ids)} by {selected.strategy.name} ({selected.strategy.summary}), "
                 f"seed {request.seed}; {selected.passed_over:,} near-copies of labelled or chosen images passed over")
    if selected.labelled < MEASURABLE:
        lines.append(f"with {MEASURABLE} or more labelled images (--labelled FILE, then `mgral run`) mgral measures "
                     "what a batch is worth")
    if written.before:
        lines.append(f"{written.folder}: this batch was there; {'added:' if written.files else 'nothing added'}")
    lines += [f"  {_file_in_words(path)}" for path in written.files]
    return [*lines, f"next: {_next(request, written.folder, to)}"][:LINES]


def _write(folder: Path, selected: Selected, to: str | None) -> None:
    selection, request = selected.selection, selected.request
    rows = [(rank, path, round(score, 6), reason) for rank, (path, score, reason) in
            enumerate(zip(selection.ids, selection.scores, selection.reasons, strict=True), start=1)]
    with writing(folder / TABLE) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("rank", "path", "score", "reason"))
        table.writerows((rank, harmless(path), score, harmless(reason)) for rank, path, score, reason in rows)
    draw_gallery(folder / PICTURE, selected.dataset, selection.ids, selected.detections, reasons=selection.reasons)
    info = {"strategy": selected.strategy.name, "seed": request.seed, "mgral": __version__}
    if to is not None:
        write_preannotations(to, folder, selected.dataset, selection.ids, selected.detections, info)
    write_json(folder / DATA, {
        "batch": selected.key, **info, "budget": request.budget, "source": selected.source, "notes": selected.notes,
        "images": [dict(zip(("rank", "path", "score", "reason"), row, strict=True)) for row in rows],
        "folder": str(request.images), "classes": selected.dataset.classes, "labelled": selected.labelled,
        "near_copies_passed_over": selected.passed_over, "versions": _versions()})


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _versions() -> dict[str, Any]:
    return {"python": platform.python_version(), **{name: version(name) for name in ("numpy", "pillow", "torch")}}


def _check_same(folder: Path, selected: Selected) -> None:
    try:
        known = read_json(folder / DATA)
        same = (known["batch"], [entry["path"] for entry in known["images"]]) == (selected.key,
                                                                                  list(selected.selection.ids))
        what = f"another ({len(known['images'])} images by {known['strategy']}, seed {known['seed']})"
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        same, what = False, f"a {DATA} that cannot be read"
    if not same:
        raise StateError(f"{folder}: expected no batch there or this very one, got {what}; name another folder by "
                         "--out or move it away")


def _tops(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))


def _added(fresh: Path, folder: Path) -> Iterator[Path]:
    """Moves what the folder lacks."""
    for path in _tops(fresh):
        if not (folder / path.name).exists():
            path.rename(folder / path.name)
            yield folder / path.name


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
    what: dict[str, str] = {
        TABLE: "rank, path, score and reason", DATA: "the same with seed and versions", PICTURE: "to look at",
        "tasks.json": "to import in Label Studio", "label_config.xml": "its labelling interface",
        "annotations.xml": "to upload in CVAT (CVAT for images 1.1)", "preannotations.json": "COCO with scores",
        "cvat-coco": "to upload in CVAT (COCO 1.0)", "voc": "images and XML files", "yolo": "images and text files"}
    return f"{path}: {what.get(path.name, 'for annotators')}"


def _next(request: Request, folder: Path, to: str | None) -> str:
    told: dict[str | None, Callable[[], str]] = {
        "label-studio": lambda: f"serve {request.images.resolve()} as Label Studio's local files "
                                "(LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT), paste label_config.xml, import tasks.json",
        "cvat": lambda: f"make a CVAT task of the images in {folder / TABLE}, then upload annotations.xml",
        None: lambda: "the same command with --to label-studio (or cvat, cvat-coco, coco, voc, yolo) adds files for "
                      "annotators"}
    return told.get(to, lambda: f"correct the boxes in {folder}; those files are for your annotation tool")()
