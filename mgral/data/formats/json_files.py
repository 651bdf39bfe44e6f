"""JSON files: what holds a data set, and what is said of others."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from mgral.data.formats.folder import Folder
from mgral.findings import Findings

SNIFFED = 20
"""Entries that are looked at before it is decided what a file holds."""
BOXED = {"bbox", "category_id", "segmentation"}


class Foreign(NamedTuple):
    """What a file holds that is not read, what to do about it, and whether people's labels are in it."""

    what: str
    advice: str
    labels: bool = True


TOLD = (
    ({"image_id", "bbox", "score"}, Foreign("predictions", "give them to `mgral select --predictions`", False)),
    ({"image_id", "segmentation", "score"}, Foreign("predicted masks", "predict boxes", False)),
    ({"image_id", "caption"}, Foreign("captions", "they name no objects", False)),
    ({"shapes", "imagePath"}, Foreign("labelme's annotations", "convert them to COCO")),
    ({"shapes", "imageHeight"}, Foreign("labelme's annotations", "convert them to COCO")),
    ({"image", "annotations"}, Foreign("CreateML's annotations", "convert them to COCO")),
    ({"imagefilename", "annotation"}, Foreign("CreateML's annotations", "convert them to COCO")),
    ({"image", "annotation_id"}, Foreign("Label Studio's JSON-MIN, which leaves out who finished what", "export JSON")),
    ({"data", "annotations"}, Foreign("one task of Label Studio", "export the project as JSON")),
    ({"result", "task"}, Foreign("one annotation of Label Studio", "export the project as JSON")),
    ({"_via_img_metadata"}, Foreign("VIA's project", "export it as COCO")),
    ({"filename", "regions"}, Foreign("VIA's annotations", "export them as COCO")),
    ({"categories", "items", "info"}, Foreign("Datumaro's annotations", "export them as COCO")),
    ({"objects", "size", "tags"}, Foreign("Supervisely's annotations", "export them as COCO")),
    ({"name", "labels", "attributes"}, Foreign("BDD's annotations", "convert them to COCO")),
    ({"asset", "regions"}, Foreign("VoTT's annotations", "export them as Pascal VOC")),
)
"""What others write, by keys of the whole, or of the first entries where it is a list or a mapping of such."""


def documents(folder: Folder, names: Iterable[str], findings: Findings) -> dict[str, Any]:
    """What these files hold, by path; one that cannot be read is a problem."""
    read = {name: parsed(folder.root / name, folder.text(name, "JSON", findings), findings) for name in names}
    return {name: content for name, content in read.items() if content is not None}


def parsed(path: Path, text: str | None, findings: Findings) -> Any:
    """What a JSON text holds; None, and a problem if there is one, where it holds nothing that can be read."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        got = "an empty file" if not text.strip() else f"an error at column {error.colno} ({error.msg})"
        findings.problem(f"{path}:{error.lineno}: expected JSON, got {got}; write the file again or take it out of the "
                         "folder", "JSON")
    except (RecursionError, ValueError) as error:
        got = "JSON nested too deeply" if isinstance(error, RecursionError) else str(error)[:80]
        findings.problem(f"{path}: expected JSON, got {got}; write the file again", "JSON")
    return None


def kind_of(content: Any) -> str:
    """`coco`, also what is malformed but can be nothing else; `label_studio`; or nothing."""
    if isinstance(content, dict):
        return "coco" if _is_coco(content) else ""
    tasks = content[:SNIFFED] if isinstance(content, list) else []
    return "label_studio" if any(isinstance(task, dict) and isinstance(task.get("data"), dict) and (
        {"annotations", "completions", "predictions"} & task.keys()) for task in tasks) else ""


def _is_coco(content: dict) -> bool:
    images, annotations = content.get("images"), content.get("annotations")
    listed = annotations[:SNIFFED] if isinstance(annotations, list) else []
    entries = [entry for entry in listed if isinstance(entry, dict)]
    if entries and not any(BOXED & entry.keys() for entry in entries):
        return "categories" in content and not any({"caption", "segments_info"} & entry.keys() for entry in entries)
    if isinstance(images, list) and images and all(isinstance(entry, dict) and "file_name" in entry
                                                   for entry in images[:SNIFFED]):
        return True
    return len({"images", "annotations", "categories"} & content.keys()) > 1


def foreign(content: Any) -> Foreign | None:
    """What a file holds that is no data set of a kind that is read, as far as it is easily told."""
    if content in ([], {}):
        return Foreign("nothing", "write it again, or take it out of the folder", False)
    if isinstance(content, dict) and isinstance(content.get("annotations"), list) and "images" in content:
        first = next((entry for entry in content["annotations"] if isinstance(entry, dict)), {})
        if "segments_info" in first:
            return Foreign("COCO's panoptic segments", "take the file of instances")
        if "caption" in first:
            return Foreign("COCO's captions", "they name no objects", False)
    inner = content if isinstance(content, list) else list(content.values()) if isinstance(content, dict) else []
    for entry in [content, *inner[:SNIFFED]]:
        for keys, what in TOLD if isinstance(entry, dict) else ():
            if keys <= entry.keys():
                return what
    return None
