"""A trained detector over many images, results in pixels of the original images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from mgral.data.dataset import ImageId
from mgral.data.images import ImageStore
from mgral.detection.detector import LOCATIONS, Detector, Maps
from mgral.detection.heads import Found
from mgral.detection.kept import looked_at
from mgral.detection.threads import side_by_side
from mgral.pool.inspection import Detections, Inspection

BATCH = 32


def inspect(detector: Detector, store: ImageStore, ids: Sequence[ImageId], batch_size: int = BATCH,
            locations: int = LOCATIONS) -> Inspection:
    """Detections, embeddings and class scores of the images, in the order of `ids`, with the detector in eval mode.

    Raises:
        ValueError: there are no images.
    """
    if not ids:
        raise ValueError("expected at least one image to inspect, got none")

    def inspect_part(part: Sequence[ImageId]) -> tuple[list[Detections], Tensor, Tensor]:
        with torch.inference_mode():
            contents = [store.content(image_id) for image_id in part]
            reading = detector.inspect(looked_at(detector, store, part), contents, locations)
            return originals(store, part, reading.found), reading.embedding.cpu(), reading.class_scores.cpu()

    with evaluating(detector):
        readings = list(side_by_side(inspect_part, parts(ids, batch_size), detector.device))
    detections, embedding, class_scores = zip(*readings, strict=True)
    return Inspection(tuple(ids), torch.cat(embedding).numpy(), torch.cat(class_scores).numpy(),
                      tuple(chain.from_iterable(detections)))


def detect(detector: Detector, store: ImageStore, ids: Sequence[ImageId],
           batch_size: int = BATCH) -> dict[ImageId, Detections]:
    """Detections only, in the detector's eval mode."""
    def detect_part(part: Sequence[ImageId]) -> list[Detections]:
        with torch.inference_mode():
            contents = [store.content(image_id) for image_id in part]
            return originals(store, part, detector.predict(looked_at(detector, store, part), contents))

    with evaluating(detector):
        detections = side_by_side(detect_part, parts(ids, batch_size), detector.device)
        return dict(zip(ids, chain.from_iterable(detections), strict=True))


@contextmanager
def evaluating(detector: Detector) -> Iterator[None]:
    """Eval mode without gradients; the detector is given back in the mode it was in."""
    training = detector.training
    detector.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        detector.train(training)


def parts(ids: Sequence[ImageId], size: int) -> Iterator[Sequence[ImageId]]:
    """The ids in their order, `size` at a time; the last part may be smaller."""
    return (ids[start:start + size] for start in range(0, len(ids), size))


def batches(detector: Detector, store: ImageStore, ids: Sequence[ImageId],
            size: int) -> Iterator[tuple[Sequence[ImageId], Tensor | Maps, list[tuple[int, int]]]]:
    """Ids, what the detector takes of the images, and contents, `size` at a time."""
    for part in parts(ids, size):
        yield part, looked_at(detector, store, part), [store.content(image_id) for image_id in part]


def originals(store: ImageStore, ids: Sequence[ImageId], detections: Sequence[Found]) -> list[Detections]:
    """Canvas pixels to pixels of the original images."""
    return [Detections((xyxy / store.scale(image_id)).cpu().numpy().astype(np.float32),
                       scores.cpu().numpy().astype(np.float32), labels.cpu().numpy().astype(np.int64))
            for image_id, (xyxy, scores, labels) in zip(ids, detections, strict=True)]
