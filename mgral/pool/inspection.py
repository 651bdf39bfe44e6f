"""What a detector sees in each image: the only thing that strategies, the table and the agent know of a detector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

from mgral.arrays import copied, read_arrays, write_arrays
from mgral.data.dataset import ImageId

EMBEDDING = 256
"""Dimensions of Φ(I), the image embedding (MGRAL, section IV-A)."""
SIGNAL = "signal-"
"""How the files of further signals begin."""
BLOCK = 16_384
"""Images looked at together, so that memory does not grow with the pool."""


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


@dataclass(frozen=True, slots=True, eq=False)
class DetectionSequence(Sequence[Detections]):
    """The detections of N images one after the other in flat arrays: no object an image until one is asked for.

    `counts` (N,) int64; `xyxy` (n, 4), `scores` (n,) and `labels` (n,) as in `Detections`, n = counts.sum().
    """

    counts: np.ndarray
    xyxy: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    starts: np.ndarray = field(init=False, repr=False)
    """(N + 1,) where each image's detections begin; the last is n."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "starts", np.concatenate([[0], np.cumsum(self.counts, dtype=np.int64)]))

    @classmethod
    def of(cls, detections: Sequence[Detections]) -> DetectionSequence:
        return cls(np.array([len(image) for image in detections], dtype=np.int64),
                   np.concatenate([np.zeros((0, 4), np.float32), *(image.xyxy for image in detections)]),
                   np.concatenate([np.zeros(0, np.float32), *(image.scores for image in detections)]),
                   np.concatenate([np.zeros(0, np.int64), *(image.labels for image in detections)]))

    @property
    def images(self) -> np.ndarray:
        """The image's row (n,) of each detection."""
        return np.repeat(np.arange(len(self)), self.counts)

    def __len__(self) -> int:
        return len(self.counts)

    @overload
    def __getitem__(self, row: int) -> Detections: ...

    @overload
    def __getitem__(self, row: slice) -> DetectionSequence: ...

    def __getitem__(self, row: int | slice) -> Detections | DetectionSequence:
        """An image's detections, or those of consecutive images; nothing is copied."""
        first, last, step = row.indices(len(self)) if isinstance(row, slice) else (range(len(self))[row], None, 1)
        if step != 1:
            raise ValueError(f"expected consecutive images, got every {step}th")
        last = first + 1 if last is None else max(first, last)
        part = slice(self.starts[first], self.starts[last])
        arrays = self.xyxy[part], self.scores[part], self.labels[part]
        return DetectionSequence(self.counts[first:last], *arrays) if isinstance(row, slice) else Detections(*arrays)

    def take(self, rows: np.ndarray) -> DetectionSequence:
        """Those of some images, in the order asked for."""
        counts = self.counts[rows]
        before = np.cumsum(counts) - counts
        places = np.arange(counts.sum()) + np.repeat(self.starts[rows] - before, counts)
        return DetectionSequence(counts, self.xyxy[places], self.scores[places], self.labels[places])


@dataclass(frozen=True, eq=False)
class Inspection:
    """One pass of a detector over N images.

    `embedding` (N, d) float32, 256 dimensions from our detectors and any number from elsewhere; `class_scores`
    (N, K, C) float32, class probabilities (foreground classes only) of the K locations the detector is surest of,
    before suppression, best first (K = 0 where predictions alone are known, C = 0 where not even they are);
    `detections` after suppression, given as any sequence. A loaded inspection stays on disk: what is looked at is read.
    """

    ids: tuple[ImageId, ...]
    embedding: np.ndarray
    class_scores: np.ndarray
    detections: DetectionSequence
    name: str | None = None
    """The name that it was saved under; None for one that was made here."""
    signals: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What else is known of each image, (N, …) by name: what a strategy's own head says, for instance."""

    def __post_init__(self) -> None:
        if not isinstance(self.detections, DetectionSequence):
            object.__setattr__(self, "detections", DetectionSequence.of(self.detections))

    @cached_property
    def row(self) -> dict[ImageId, int]:
        return {image_id: row for row, image_id in enumerate(self.ids)}

    def rows(self, ids: Sequence[ImageId]) -> np.ndarray:
        return np.fromiter((self.row[image_id] for image_id in ids), dtype=np.int64, count=len(ids))

    def of(self, ids: Sequence[ImageId]) -> Inspection:
        """The same for some of the images, in the order asked for, copied into memory."""
        rows = self.rows(ids)
        return Inspection(tuple(ids), copied(self.embedding, rows), copied(self.class_scores, rows),
                          self.detections.take(rows), signals={name: copied(signal, rows)
                                                               for name, signal in self.signals.items()})

    def blocks(self, size: int = BLOCK) -> Iterator[Inspection]:
        """This inspection in parts of `size` images; nothing is copied."""
        for start in range(0, len(self.ids), size):
            part = slice(start, start + size)
            yield Inspection(self.ids[part], self.embedding[part], self.class_scores[part], self.detections[part],
                             signals={name: signal[part] for name, signal in self.signals.items()})

    def with_signal(self, name: str, signal: np.ndarray) -> Inspection:
        """The same, with one more signal (N, …).

        Raises:
            ValueError: not a row an image, or a name that is taken.
        """
        if len(signal) != len(self.ids) or name in self.signals:
            raise ValueError(f"expected a new signal of {len(self.ids)} images, got {name!r} of {len(signal)}")
        return replace(self, signals={**self.signals, name: signal})

    def save(self, path: Path) -> None:
        """Writes a folder of .npy files, whole or absent."""
        write_inspection(path, [self])

    @classmethod
    def load(cls, path: Path) -> Inspection:
        """Opens what was saved; its arrays are memory maps, read-only."""
        arrays = read_arrays(path)
        text, ends = arrays["ids"].tobytes(), np.cumsum(arrays["id_lengths"]).tolist()
        ids = tuple(text[start:end].decode() for start, end in zip([0, *ends], ends, strict=False))
        signals = {name.removeprefix(SIGNAL): array for name, array in arrays.items() if name.startswith(SIGNAL)}
        return cls(ids, arrays["embedding"], arrays["class_scores"], DetectionSequence(
            *(arrays[name] for name in ("counts", "xyxy", "scores", "labels"))), path.name, signals)


def write_inspection(path: Path, parts: Iterable[Inspection]) -> None:
    """Saves an inspection that comes part by part, each of other images; one part is in memory at a time.

    Raises:
        ValueError: no part, or parts of different dimensions.
    """
    write_arrays(path, map(_arrays, parts))


def _arrays(part: Inspection) -> dict[str, np.ndarray]:
    ids, detections = [image_id.encode() for image_id in part.ids], part.detections
    return {"ids": np.frombuffer(b"".join(ids), dtype=np.uint8),
            "id_lengths": np.array([len(image_id) for image_id in ids], dtype=np.int64),
            "embedding": part.embedding, "class_scores": part.class_scores,
            "counts": detections.counts, "xyxy": detections.xyxy, "scores": detections.scores,
            "labels": detections.labels, **{SIGNAL + name: signal for name, signal in part.signals.items()}}
