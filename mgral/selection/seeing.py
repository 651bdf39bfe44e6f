"""What is known of the images: from a detector, from predictions of another one, or from how they look alone."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from mgral.data.appearance import appearances
from mgral.data.dataset import Dataset, ImageId, ImageInfo
from mgral.errors import ConfigError, DataError
from mgral.findings import Findings
from mgral.pool.embeddings import read_embeddings
from mgral.pool.inspection import Detections, DetectionSequence, Inspection
from mgral.pool.predictions import read_predictions
from mgral.progress import current
from mgral.selection.request import Request

if TYPE_CHECKING:
    from mgral.detection import Detector

PART = 64
"""Images decoded and inspected before their pixels are forgotten."""
KEPT, COMPONENTS = 64, 32
"""Principal components of what the ImageNet network sees: those that are kept, and those that tell images apart."""
SIGHTS = "imagenet"
"""The signal (N, ≤ `KEPT`) that holds them, the most varying first."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The inspection, its classes (category ids by name, none without a detector), what was read, in words, and what
    tells images apart."""

    inspection: Inspection
    classes: Mapping[str, int]
    source: str
    notes: tuple[str, ...] = ()
    told_apart: Literal["given", "detector", "pretrained", "appearance"] = "detector"


def see(request: Request, images: Mapping[ImageId, ImageInfo], labelled: Mapping[str, int]) -> Seen:
    """What the request names of the images, in their order; `labelled` are the labelled images' category ids by class.

    Raises:
        ConfigError, DataError, StateError: files that cannot be used.
    """
    if request.checkpoint is not None:
        seen = _by_detector(request, images)
    elif request.predictions is not None:
        seen = _by_predictions(request, images, labelled)
    else:
        seen = _unseen(images)
    if request.embeddings is not None:
        return _with(seen, read_embeddings(request.embeddings, tuple(images)), "given")
    return seen if request.checkpoint is not None else _looked_at(request, seen, images)


def _with(seen: Seen, embedding: np.ndarray, kind: str, *notes: str) -> Seen:
    return replace(seen, inspection=replace(seen.inspection, embedding=embedding), told_apart=kind,
                   notes=(*seen.notes, *notes))


def _looked_at(request: Request, seen: Seen, images: Mapping[ImageId, ImageInfo]) -> Seen:
    """With what tells images apart where no detector does: their looks, and what an ImageNet network sees in them.

    Side by side, looks worth twice as much, for near-copies are told by the embedding. On drawn scenes (seed 0 of
    params.yaml) .25 of the shots of one scene are found and .66 of what is found is right, by looks alone .33 and .42,
    by what the network sees alone hardly any are found; of pictures that were saved anew nearly all are found. What the
    network sees is also a signal of its own, `SIGHTS`.
    """
    from mgral.detection import pretrained_embedding, pretrained_missing

    ids, install = tuple(images), pretrained_missing()
    looks = _appearance(request.images, ids)
    if install:
        return _with(seen, looks, "appearance",
                     f"images are told apart by how they look; by what they show once its network is there: {install}")
    dataset = Dataset(request.images, (), (), images, {})
    current.get().expect({"inspect": len(ids)})
    sights = _condensed(pretrained_embedding(dataset, ids, _device(request)))
    found = _with(seen, np.hstack([2 * _scaled(looks), _scaled(sights[:, :COMPONENTS])]), "pretrained")
    return replace(found, inspection=found.inspection.with_signal(SIGHTS, sights))


def _scaled(embedding: np.ndarray) -> np.ndarray:
    """Around its mean, which it is 1 away from in the root mean square; what differs by rounding alone stays so."""
    centred = embedding - embedding.mean(axis=0)
    return centred / max(float(np.sqrt((centred**2).sum(axis=1).mean())), 1e-3)


def _condensed(embedding: np.ndarray) -> np.ndarray:
    """An embedding (N, d) on its principal axes (N, ≤ `KEPT`) float32, each with its own deviation."""
    from sklearn.utils.extmath import randomized_svd

    centred, count = embedding - embedding.mean(axis=0), min(KEPT, *embedding.shape)
    left, deviations, _ = randomized_svd(centred, count, random_state=0)
    return (left * deviations).astype(np.float32)


def _by_predictions(request: Request, images: Mapping[ImageId, ImageInfo], labelled: Mapping[str, int]) -> Seen:
    read = read_predictions(request.predictions, images, request.annotations, labelled)
    count, silent = len(images), len(images) - read.mentioned
    source = (f"{request.predictions}: {read.form}, {len(read.detections.scores):,} detections in {read.mentioned:,} "
              f"images" + (f"; the other {silent:,} were looked at and nothing was found" if silent else ""))
    inspection = Inspection(tuple(images), np.zeros((count, 0), np.float32),
                            np.zeros((count, 0, len(read.classes)), np.float32), read.detections)
    return Seen(inspection, read.classes, source, read.notes)


def _unseen(images: Mapping[ImageId, ImageInfo]) -> Seen:
    nothing = DetectionSequence(np.zeros(len(images), np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.float32),
                                np.zeros(0, np.int64))
    inspection = Inspection(tuple(images), np.zeros((len(images), 0), np.float32),
                            np.zeros((len(images), 0, 0), np.float32), nothing)
    return Seen(inspection, {}, "no detector")


def _by_detector(request: Request, images: Mapping[ImageId, ImageInfo]) -> Seen:
    """Part by part; images that cannot be decoded are all named together at the end."""
    detector, size = _opened_detector(request)
    parts, findings, ids = [], Findings(), tuple(images)
    progress = current.get()
    progress.expect({"inspect": len(ids)})
    with progress.phase("inspecting", "inspect", len(ids)) as advance, tempfile.TemporaryDirectory() as folder:
        for start in range(0, len(ids), PART):
            part = ids[start:start + PART]
            try:
                parts.append(_inspected(detector, size, request.images, [images[name] for name in part], Path(folder)))
            except DataError as error:
                for problem in error.problems:
                    findings.problem(problem, "unreadable")
            advance(len(part))
    if findings.problems:
        raise DataError(*findings.problems)
    found = sum(len(part.detections.scores) for part in parts)
    source = (f"{request.checkpoint}: a detector of {len(detector.classes)} classes at {size} px, {found:,} detections "
              f"in {len(ids):,} images")
    return Seen(_joined(parts), {name: row for row, name in enumerate(detector.classes, start=1)}, source)


def _opened_detector(request: Request) -> tuple[Detector, int]:
    """The detector of a checkpoint, and the longest side in pixels at which it looks at images."""
    from mgral.detection import load_foreign

    device = _device(request)
    detector = load_foreign(request.checkpoint, request.config and Path(request.config), request.classes, device)
    return detector, detector.config.image_size


def _device(request: Request) -> str:
    import torch

    if request.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device: expected a GPU that PyTorch can use, got none; use auto or cpu")
    return "cuda" if request.device != "cpu" and torch.cuda.is_available() else "cpu"


def _inspected(detector: Detector, size: int, root: Path, images: Sequence[ImageInfo], folder: Path) -> Inspection:
    from mgral.data.images import ImageStore
    from mgral.detection import inspect

    dataset = Dataset(root, (), (), {image.id: image for image in images}, {})
    try:
        return inspect(detector, ImageStore.open(dataset, size, folder), tuple(dataset.images))
    finally:
        for file in folder.iterdir():
            file.unlink()


def _joined(parts: Sequence[Inspection]) -> Inspection:
    counts, xyxy, scores, labels = (np.concatenate([getattr(part.detections, name) for part in parts])
                                    for name in ("counts", "xyxy", "scores", "labels"))
    return Inspection(tuple(image_id for part in parts for image_id in part.ids),
                      np.concatenate([part.embedding for part in parts]),
                      np.concatenate([part.class_scores for part in parts]),
                      DetectionSequence(counts, xyxy, scores, labels))


def _appearance(root: Path, names: Sequence[ImageId]) -> np.ndarray:
    """How the pictures look (N, d) float32: small pictures of them, each of mean 0 and length 1.

    Raises:
        DataError: images that cannot be decoded, like faults counted.
    """
    looks = appearances(root, names, None).astype(np.float32)
    looks -= looks.mean(axis=1, keepdims=True)
    return looks / np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), 1)


def shown(inspection: Inspection, ids: Sequence[ImageId]) -> dict[ImageId, Detections]:
    """The detections of some images."""
    return dict(zip(ids, inspection.of(ids).detections, strict=True))
