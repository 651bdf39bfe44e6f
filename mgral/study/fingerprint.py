"""One fingerprint names a piece of work everywhere: database key, file name, MLflow tag.

fingerprint = sha256(what it builds on, canonical settings, seed, code version). Two runs with the same fingerprint
would compute the same thing, so the second reuses the first.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

import mgral
from mgral.data.dataset import Dataset, ImageId
from mgral.files import canonical_json, sha256

PACKAGES = ("data", "detection", "semisup")
"""Whose source decides what a training yields."""


@functools.cache
def code_version() -> str:
    """Hash of the source that trainings run through: an edit there makes old results count as other work."""
    root = Path(mgral.__file__).parent
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def fingerprint(kind: str, *parts: str | int | BaseModel | Sequence[ImageId]) -> str:
    """sha256 over the kind of work, the code version and the parts, each in canonical form."""
    return sha256(kind, code_version(), *(_canonical(part) for part in parts))


def _canonical(part: str | int | BaseModel | Sequence[ImageId]) -> str:
    return canonical_json(part.model_dump(mode="json") if isinstance(part, BaseModel) else part)


def derived_seed(*parts: str | int) -> int:
    """A 63-bit seed that is the same for the same parts and unrelated for others."""
    return int(sha256(*(canonical_json(part) for part in parts))[:16], 16) >> 1


def dataset_hash(dataset: Dataset) -> str:
    """sha256 of ids, file names, sizes, classes and boxes: what the splits were drawn from."""
    digest = hashlib.sha256(canonical_json([dataset.classes, dataset.category_ids]).encode())
    for image_id in sorted(dataset.images):
        info, boxes = dataset.images[image_id], dataset.boxes.get(image_id)
        digest.update(canonical_json([image_id, info.file_name, info.width, info.height, boxes is None]).encode())
        if boxes is not None:
            digest.update(boxes.xyxy.tobytes() + boxes.labels.tobytes() + boxes.ignore.tobytes())
    return digest.hexdigest()
