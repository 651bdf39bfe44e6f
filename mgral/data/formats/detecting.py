"""Which format a folder is in: looked at, not asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from mgral.data.formats.folder import Folder
from mgral.data.formats.json_files import SNIFFED, Foreign, documents, foreign, kind_of
from mgral.data.formats.reading import Given, number
from mgral.findings import Findings

OTHER = {"params.yaml", "dvc.yaml", "prefect.yaml"}
"""YAML files that are not a data set's."""
CLASS_LISTS = frozenset({"classes.txt", "class.txt", "labels.txt", "names.txt", "predefined_classes.txt", "class.names",
                         "_darknet.labels"})
"""Files with the name of a class a line, besides those that end in `.names`; `.data` files of darknet name one."""
KEY = re.compile(rb"""(?:^(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?|[{,][ \t]*)["']?(\w+)["']?[ \t]*:(?=\s)""", re.MULTILINE)
DARKNET_NAMES = re.compile(rb"^\s*names\s*=", re.MULTILINE)
PACKED = (".json", ".xml", ".yaml")
"""Endings of annotation files, before that of an archive."""
VOC_ROOT = re.compile(rb"<annotation[\s/>]")
NAMES = {"coco": "COCO JSON", "label_studio": "Label Studio JSON", "cvat": "CVAT for images XML",
         "voc": "Pascal VOC XML", "yolo": "YOLO labels", "images": "a folder of images without labels",
         "synthetic": "drawn scenes"}


@dataclass
class Found:
    """What lies in a folder: the format, its annotation files, and those of them that were parsed already, by path."""

    format: str
    files: tuple[str, ...] = ()
    parsed: dict[str, Any] = field(default_factory=dict)


def look(folder: Folder, wanted: str, given: Given, findings: Findings) -> Found | None:
    """The format of the data set in a folder, as it is `wanted` or, for "auto", as its files show.

    None and a problem where two formats annotate the folder, nothing is in it, or the files that the settings name are
    not there.
    """
    given = replace(given, annotations=tuple(folder.below(place) or place for place in given.annotations))
    if not _are_there(folder, given, findings):
        return None
    names = _json_names(folder, wanted, given) if wanted in ("auto", "coco", "label_studio", "synthetic") else ()
    parsed = documents(folder, names, findings)
    found = found_in(folder, given, parsed)
    if wanted != "auto":
        kind = "coco" if wanted == "synthetic" else wanted
        files = found.get(kind, given.annotations)
        _tell_others(folder, given, parsed, True, findings)
        return Found(kind, tuple(files), {name: parsed[name] for name in files if name in parsed})
    if len(found) > 1:
        what = "; ".join(f"{NAMES[name]} ({', '.join(files[:2])}{', …' if len(files) > 2 else ''})"
                         for name, files in found.items())
        findings.problem(f"{folder.root}: expected annotations in one format, got {what}; say which by data.format "
                         f"({' or '.join(found)}), or which files by data.annotations")
        return None
    if not found and not given.annotations and _labels(folder, is_label):
        return Found("yolo")  # whose classes nothing names: the reader says so
    _tell_others(folder, given, parsed, bool(found), findings)
    if not found and not folder.images:
        findings.problem(f"{folder.root}: expected images, got none below it; check --data")
        return None
    name, files = next(iter(found.items()), ("images", ()))
    return Found(name, tuple(files), {path: parsed[path] for path in files if path in parsed})


def _are_there(folder: Folder, given: Given, findings: Findings) -> bool:
    """Whether all annotation files and folders are there that the settings name."""
    missing = [place for place in given.annotations if not (folder.is_folder(place) or (folder.root / place).is_file())]
    for place in missing:
        findings.problem(f"data.annotations: expected an annotation file, or a folder of them, below {folder.root}, "
                         f"got {place!r}, where there is none; correct the path")
    return not missing


def _tell_others(folder: Folder, given: Given, parsed: Mapping[str, Any], annotated: bool, findings: Findings) -> None:
    """Says which JSON files are not read. Where nothing else is annotated, labels must not be lost without a word."""
    known = {name: kind_of(content) or foreign(content) for name, content in parsed.items()}
    for name, what in known.items():
        if isinstance(what, Foreign) and what.labels and not annotated:
            findings.problem(f"{folder.root / name}: expected annotations in a format that is read, got {what.what}; "
                             f"{what.advice}, or set data.format: images to leave them aside", what.what)
        elif isinstance(what, Foreign):
            findings.note(f"{folder.root / name}: not read, it holds {what.what}; {what.advice}", what.what)
        elif not what and not annotated:
            findings.note(f"{folder.root / name}: not read, it holds no annotations that are known", "other JSON")
    packed = (name for name in folder.ending(".gz", ".zip", ".xz") if name.lower().rpartition(".")[0].endswith(PACKED))
    for name in packed if not annotated else ():
        findings.problem(f"{folder.root / name}: expected annotations that are not packed, got an archive; unpack it, "
                         "or take it out of the folder", "packed")
    if given.annotations and not annotated:
        findings.problem(f"data.annotations: expected annotations in a format that is known, got none in "
                         f"{', '.join(given.annotations[:3])}; say which it is by data.format")


def found_in(folder: Folder, given: Given, parsed: Mapping[str, Any]) -> dict[str, list[str]]:
    """The annotation files of each format of which there are any; `parsed`: what JSON files hold, by path."""
    kinds = {name: kind_of(content) for name, content in parsed.items()}
    coco = [name for name, kind in kinds.items() if kind == "coco"]
    instances = [name for name in coco if PurePosixPath(name).name.startswith("instances_")]
    xml = _named(folder, given, ".xml")
    found = {
        "coco": coco if given.annotations else instances or coco,
        "label_studio": [name for name, kind in kinds.items() if kind == "label_studio"],
        "cvat": [name for name in (xml if any(_begins(folder, name, b"<annotations") for name in xml[:SNIFFED]) else ())
                 if _begins(folder, name, b"<annotations")],
        "voc": xml if _is_voc(folder, xml) else [],
        "yolo": _yolo(folder, given),
    }
    return {name: files for name, files in found.items() if files}


def _json_names(folder: Folder, wanted: str, given: Given) -> list[str]:
    """JSON files; those that the settings name whatever their ending, where the format is named too."""
    names = _named(folder, given, ".json")
    if wanted in ("coco", "label_studio"):
        names = [*names, *(place for place in given.annotations if place not in names and not folder.is_folder(place))]
    return names


def _named(folder: Folder, given: Given, *endings: str) -> list[str]:
    """The files of these endings: below what the settings name, or all."""
    every = folder.ending(*endings)
    if not given.annotations:
        return every
    named = [place for place in given.annotations if place.lower().endswith(endings)]
    inside = [name for name in every for place in given.annotations if name.startswith(f"{place.rstrip('/')}/")]
    return [*named, *inside]


def _is_voc(folder: Folder, xml: list[str]) -> bool:
    """Whether one of the first XML files is VOC's, or is called like an image and no other format's."""
    stems = {PurePosixPath(name).stem for name in folder.images} if xml else set()
    heads = ((name, head_of(folder, name).replace(b"\0", b"")) for name in xml[:SNIFFED])
    return any(VOC_ROOT.search(head) or not head.strip()
               or (PurePosixPath(name).stem in stems and b"<annotations" not in head) for name, head in heads)


def _yolo(folder: Folder, given: Given) -> list[str]:
    """The YAML files that name classes, or the lists of classes where there are label files.

    What the settings name may be such a file, or a folder of label files.
    """
    files = [name for name in given.annotations if not folder.is_folder(name)]
    if given.annotations and not files and not any(_texts_in(folder, place) for place in given.annotations):
        return []
    described = [name for name in files or folder.ending(".yaml", ".yml")
                 if name.lower().endswith((".yaml", ".yml")) and PurePosixPath(name).name not in OTHER
                 and _describes(folder, name)]
    if described:
        return described
    lists = [name for name in files or folder.ending(".txt", ".names", ".labels")
             if PurePosixPath(name).name.lower() in CLASS_LISTS or name.lower().endswith(".names")]
    lists += [name for name in files or folder.ending(".data") if DARKNET_NAMES.search(head_of(folder, name))]
    return lists if lists and (files or _labels(folder, may_be_label)) else []


def _describes(folder: Folder, name: str) -> bool:
    """Whether a YAML file names classes, or counts those of splits that it names."""
    keys = set(KEY.findall(head_of(folder, name, 65_536).replace(b"\0", b"")))
    return b"names" in keys or (b"nc" in keys and bool({b"train", b"val"} & keys))


def _texts_in(folder: Folder, place: str) -> bool:
    inner = folder.below(place)
    return any(name.startswith(f"{inner}/") for name in folder.ending(".txt"))


def _labels(folder: Folder, fits: Callable[[bytes], bool]) -> bool:
    """Whether there are files called like images that look like label files."""
    stems = {PurePosixPath(name).stem for name in folder.images}
    texts = (name for name in folder.ending(".txt") if PurePosixPath(name).stem in stems)
    return any(fits(head_of(folder, name)) for name in islice(texts, 50 * SNIFFED))  # the first ones may be empty


def may_be_label(head: bytes) -> bool:
    """Whether nothing stands in a file, or its first line ends with numbers: of a label file, be it a wrong one."""
    words = head.decode("utf-8-sig", "replace").replace(",", " ").replace(";", " ").strip().partition("\n")[0].split()
    return not words or (len(words) > 2 and all(isinstance(number(word), float) for word in words[-2:]))


def is_label(head: bytes) -> bool:
    """Whether the first lines are a word and at least four numbers each."""
    lines = [line.replace(",", " ").split() for line in head.decode("utf-8-sig", "replace").splitlines()]
    whole = [words for words in (lines[:-1] or lines)[:SNIFFED] if words] or [words for words in lines if words]
    return bool(whole) and all(len(words) >= 5 and isinstance(number(words[-1]), float) and
                               isinstance(number(words[-4]), float) for words in whole)


def _begins(folder: Folder, name: str, tag: bytes) -> bool:
    return tag in head_of(folder, name).replace(b"\0", b"")


def head_of(folder: Folder, name: str, count: int = 4096) -> bytes:
    path = folder.root / name
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""
