"""What a detector sees in each image: the only thing that strategies, the table and the agent know of a detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mgral.data.dataset import ImageId
from mgral.files import writing

EMBEDDING = 256
"""Dimensions of Φ(I), the image embedding (MGRAL, section IV-A)."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Predicted boxes of one image, best first.

    `xyxy` (n, 4) float32 in pixels of the original image, `scores` (n,) float32 in [0, 1], `labels` (n,) int64.
    """

    xyxy: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score: float) -> Detections:
        rows = self.scores >= score
        return Detections(self.xyxy[rows], self.scores[rows], self.labels[rows])


@dataclass(frozen=True, eq=False)
class Inspection:
    """One pass of a detector over N images.

    `embedding` (N, 256) float32; `class_scores` (N, K, C) float32, class probabilities (foreground classes only) of
    the K locations the detector is surest of, before suppression, best first; `detections` after suppression.
    """

    ids: tuple[ImageId, ...]
    embedding: np.ndarray
    class_scores: np.ndarray
    detections: tuple[Detections, ...]

    @cached_property
    def row(self) -> dict[ImageId, int]:
        return {image_id: row for row, image_id in enumerate(self.ids)}

    def rows(self, ids: Sequence[ImageId]) -> np.ndarray:
        return np.fromiter((self.row[image_id] for image_id in ids), dtype=np.int64, count=len(ids))

    def of(self, ids: Sequence[ImageId]) -> Inspection:
        """The same for some of the images, in the order asked for."""
        rows = self.rows(ids)
        return Inspection(tuple(ids), self.embedding[rows], self.class_scores[rows],
                          tuple(self.detections[row] for row in rows))

    def save(self, path: Path) -> None:
        counts = np.array([len(one) for one in self.detections], dtype=np.int64)
        with writing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, ids=np.array(self.ids, dtype=np.str_), embedding=self.embedding,
                     class_scores=self.class_scores, counts=counts,
                     xyxy=_joined([one.xyxy for one in self.detections], (0, 4)),
                     scores=_joined([one.scores for one in self.detections], (0,)),
                     labels=_joined([one.labels for one in self.detections], (0,), np.int64))

    @classmethod
    def load(cls, path: Path) -> Inspection:
        with np.load(path, allow_pickle=False) as file:
            ends = np.cumsum(file["counts"])[:-1]
            parts = zip(*(np.split(file[name], ends) for name in ("xyxy", "scores", "labels")), strict=True)
            return cls(tuple(file["ids"].tolist()), file["embedding"], file["class_scores"],
                       tuple(Detections(*part) for part in parts))


def _joined(parts: list[np.ndarray], empty: tuple[int, ...], dtype=np.float32) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(empty, dtype=dtype)
