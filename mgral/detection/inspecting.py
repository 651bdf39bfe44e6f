"""A trained detector over many images, results in pixels of the original images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from mgral.data.dataset import ImageId
from mgral.data.images import ImageStore
from mgral.detection.detector import LOCATIONS, Detector
from mgral.detection.heads import Found
from mgral.inspection import Detections, Inspection

BATCH = 32


def inspect(detector: Detector, store: ImageStore, ids: Sequence[ImageId], batch_size: int = BATCH,
            locations: int = LOCATIONS) -> Inspection:
    """Detections, embeddings and class scores of the images, in the order of `ids`, with the detector in eval mode.

    Raises:
        ValueError: there are no images.
    """
    if not ids:
        raise ValueError("expected at least one image to inspect, got none")
    detections, embedding, class_scores = [], [], []
    with evaluating(detector):
        for part, pixels, contents in batches(store, ids, batch_size):
            reading = detector.inspect(pixels, contents, locations)
            detections += originals(store, part, reading.found)
            embedding.append(reading.embedding.cpu())
            class_scores.append(reading.class_scores.cpu())
    return Inspection(tuple(ids), torch.cat(embedding).numpy(), torch.cat(class_scores).numpy(), tuple(detections))


def detect(detector: Detector, store: ImageStore, ids: Sequence[ImageId],
           batch_size: int = BATCH) -> dict[ImageId, Detections]:
    """Detections only, in the detector's eval mode."""
    detections: dict[ImageId, Detections] = {}
    with evaluating(detector):
        for part, pixels, contents in batches(store, ids, batch_size):
            detections |= zip(part, originals(store, part, detector.predict(pixels, contents)), strict=True)
    return detections


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


def batches(store: ImageStore, ids: Sequence[ImageId],
            size: int) -> Iterator[tuple[Sequence[ImageId], Tensor, list[tuple[int, int]]]]:
    """Ids, pixels and contents of the images, `size` at a time."""
    for start in range(0, len(ids), size):
        part = ids[start:start + size]
        yield part, store.pixels(part), [store.content(image_id) for image_id in part]


def originals(store: ImageStore, ids: Sequence[ImageId], found: Sequence[Found]) -> list[Detections]:
    """Canvas pixels to pixels of the original images."""
    return [Detections((xyxy / store.scale(image_id)).cpu().numpy().astype(np.float32),
                       scores.cpu().numpy().astype(np.float32), labels.cpu().numpy().astype(np.int64))
            for image_id, (xyxy, scores, labels) in zip(ids, found, strict=True)]
