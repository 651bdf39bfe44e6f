"""What is asked for: the folder, what is known of its images, and how many to choose."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mgral import __version__
from mgral.errors import ConfigError
from mgral.files import canonical_json, sha256

MOST_SEED = 2**63
FILES = ("checkpoint", "config", "predictions", "annotations", "embeddings", "labelled")


@dataclass(frozen=True, slots=True)
class Request:
    """`images` is the folder to choose `budget` images from. What is known of them: a detector's `checkpoint` (with its
    mmdet `config` and `classes` where it does not hold them), or `predictions` (with `annotations` that explain their
    ids), or neither; `embeddings` of all images; `labelled`, annotations of those that are labelled.

    `unboxed` says what images of that file without a box are: "labelled" (looked at and empty) or "pool".
    """

    images: Path
    budget: int
    checkpoint: Path | None = None
    config: str | None = None
    classes: tuple[str, ...] | None = None
    predictions: Path | None = None
    annotations: Path | None = None
    embeddings: Path | None = None
    labelled: Path | None = None
    unboxed: str | None = None
    strategy: str | None = None
    seed: int = 0
    device: str = "auto"
    without: Path | None = None
    """A folder that is passed over where it lies among the images: that of the batch."""

    def check(self) -> None:
        """Finds what cannot be meant, before anything is read.

        Raises:
            ConfigError: all of it.
        """
        faults = list(_faults(self))
        if faults:
            raise ConfigError(*faults)

    def key(self, images: object) -> str:
        """A hash of all that decides the choice: what is asked for, the contents of the files that the request names,
        wherever they lie, and `images` (any JSON)."""
        files = {name: _digest(Path(path)) for name in FILES if (path := getattr(self, name)) is not None}
        if self.strategy is not None:
            files["strategy"] = _digest(Path(self.strategy)) if self.strategy.endswith(".py") else self.strategy
        asked = canonical_json([self.budget, self.seed, self.unboxed, self.classes, files])
        return sha256(__version__, asked, canonical_json(images))


def _faults(request: Request) -> Iterator[str]:
    if request.budget < 1:
        yield f"--budget: expected at least 1 image, got {request.budget}"
    if not 0 <= request.seed < MOST_SEED:
        yield f"--seed: expected a whole number from 0, got {request.seed}"
    if not request.images.is_dir():
        got = "a file" if request.images.exists() else "nothing there"
        yield f"{request.images}: expected a folder of images, got {got}; check the path"
    if request.checkpoint is not None and request.predictions is not None:
        yield ("--checkpoint: expected a checkpoint or predictions, got both; leave one out (with predictions no "
               "detector is run)")
    for option, needed in (("config", "checkpoint"), ("classes", "checkpoint"), ("annotations", "predictions"),
                           ("unboxed", "labelled")):
        if getattr(request, option) is not None and getattr(request, needed) is None:
            yield f"--{option}: expected --{needed} beside it, got none; name it, or leave --{option} out"
    for option in ("checkpoint", "predictions", "annotations", "embeddings", "labelled"):
        path = getattr(request, option)
        if path is not None and not path.exists():
            yield f"--{option} {path}: expected a file, got nothing there; check the path"


def _digest(path: Path) -> str:
    """sha256 of a file, or of all files below a folder with their names; empty where there is nothing."""
    if not path.is_dir():
        return _of_file(path) if path.is_file() else ""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return sha256(*(part for file in files for part in (str(file.relative_to(path)), _of_file(file))))


def _of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
