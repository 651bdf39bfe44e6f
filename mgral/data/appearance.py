"""What images look like, without any detector, and which of them are one picture twice.

An image's appearance is a thumbnail as people see it: 32 × 32 brightness and 16 × 16 of two colour differences.

Two images are near-copies if one becomes the other by a little more or less light (`GAINS`), a shift and a stretch
along each side, as another encoder, another size or a crop by up to 2 % need, but for a remainder whose root mean
square is below `REMAINDER` and which nowhere, averaged over a tenth of the side, exceeds `ANYWHERE`; both as a share
of the image's own contrast. Measured on 364 blood smears of 640 × 480 (BCCD) and 400 drawn scenes of 128 × 128:

- Found of 364 smears 100 % of those written again at quality 30 or 60, resized, made 10 % brighter or richer in
  contrast, noisy, cropped by up to 2 %; of 400 scenes, in this order, 97, 100, 99, 99, 100, 100 and 99 %, and 97 % of
  those halved by picking pixels or cropped by 2 % at a corner. Of scenes that `mgral.data.synthetic` draws again a
  moment later (a crop by up to 14 %, other light, noise), which are other pictures in this sense, 40 %.
- Taken for copies among 66,066 pairs of smears one, which is one: the same field in another focus. Among 79,800 pairs
  of scenes none. Of 9,360 pairs of frames of one camera, in which one or two things of 6 to 25 % of the side lie
  elsewhere, 0.1 %: things that can hardly be seen.

An image without any contrast is a near-copy of none. Files of the same bytes are told by `mgral.data.headers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mgral.data.decoding import decode, each
from mgral.data.filecache import FileCache, stamps_of
from mgral.errors import DataError
from mgral.findings import Findings

SIDE, COARSE = 32, 8
REMAINDER, ANYWHERE = 0.2, 0.35
GAINS = (0.8, 1.25)
LIKENESS = 0.93
"""Least correlation of two images' 8 × 8 brightness to be compared closely; the least of true copies is 0.945."""
CANDIDATES = 16
"""Images after it that an image is compared with closely, the most like it: a fixed camera has thousands."""
BLOCK = 2**24
"""Correlations that are in memory at a time."""
_TO_COLOURS = np.array([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]], dtype=np.float32)
_VERSION = "appearances 1"

Progress = Callable[[int, int], None]


def appearances(root: Path, names: Sequence[str], cache: Path | None, white: int | None = None,
                progress: Progress | None = None) -> np.ndarray:
    """The thumbnails (N, 1536) uint8 of image files below `root`: brightness, then both colour differences.

    Args:
        cache: the file that keeps them until an image file changes; None to keep nothing.
        white: as `mgral.data.decoding.decode` takes it.
        progress: called with (files decoded, files to decode in all), where there are any.

    Raises:
        DataError: files that cannot be decoded.
    """
    stamps, _ = stamps_of(root, names)
    kept = FileCache(cache, root, f"{_VERSION} {white}")
    known = kept.known(names, stamps)
    found = np.zeros((len(names), SIDE * SIDE * 3 // 2), dtype=np.uint8)
    found[list(known)] = kept.rows[list(known.values())] if known else 0
    unread = [row for row in range(len(names)) if row not in known]
    findings = Findings()
    thumbnails = each(lambda row: _thumbnail(root / names[row], white), unread)
    for done, (row, (thumbnail, problems)) in enumerate(zip(unread, thumbnails, strict=True), start=1):
        for problem in problems:
            findings.problem(problem, "undecodable")
        if thumbnail is not None:
            found[row] = thumbnail
        if progress:
            progress(done, len(unread))
    if findings.problems:
        raise DataError(*findings.problems)
    if unread:
        kept.write(names, stamps, found)
    return found


def near_copies(names: Sequence[str], thumbnails: np.ndarray) -> list[tuple[str, ...]]:
    """Groups of near-copies among images with these `appearances` (N, 1536), sorted.

    A group holds what is connected by pairs: of a slow film the ends may look different. 20,000 images take 2 s,
    or 15 s where all are alike.
    """
    group = np.arange(len(names))
    for first, second in _candidates(thumbnails):
        same = _are_copies(thumbnails[first], thumbnails[second])
        for one, other in zip(first[same].tolist(), second[same].tolist(), strict=True):
            group[_representative(group, other)] = _representative(group, one)
    members: dict[int, list[str]] = {}
    for row, name in enumerate(names):
        members.setdefault(_representative(group, row), []).append(name)
    return sorted(tuple(sorted(some)) for some in members.values() if len(some) > 1)


def _thumbnail(path: Path, white: int | None) -> np.ndarray:
    light, blue, red = (decode(path, SIDE, SIDE, white) @ _TO_COLOURS.T).transpose(2, 0, 1)
    colours = [light, *(_averaged(colour, 2) + 128 for colour in (blue, red))]
    return np.concatenate([colour.round().clip(0, 255).astype(np.uint8).ravel() for colour in colours])


def _candidates(thumbnails: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of rows, the first below the second, whose coarse brightness is much alike; block by block."""
    coarse = _averaged(thumbnails[:, :SIDE**2].reshape(-1, SIDE, SIDE), SIDE // COARSE).reshape(-1, COARSE**2)
    coarse = coarse - coarse.mean(axis=1, keepdims=True)
    coarse /= np.linalg.norm(coarse, axis=1, keepdims=True) + 1e-6
    step = max(1, BLOCK // max(1, len(coarse)))
    for start in range(0, len(coarse), step):
        likeness = np.triu(coarse[start:start + step] @ coarse[start:].T, 1)
        crowded = np.flatnonzero((likeness > LIKENESS).sum(axis=1) > CANDIDATES)
        for row in crowded:
            likeness[row, np.argpartition(likeness[row], -CANDIDATES)[:-CANDIDATES]] = 0
        first, second = np.nonzero(likeness > LIKENESS)
        for part in range(0, len(first), 512):
            yield first[part:part + 512] + start, second[part:part + 512] + start


def _are_copies(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether each of these thumbnails (n, 1536) is a near-copy of the other (n, 1536): (n,) bool."""
    gains, contrast, remainder, anywhere = None, 0.0, 0.0, 0.0
    for mine, theirs in zip(_parts(some), _parts(others), strict=True):
        solution, left = _fitted(mine, theirs)
        gains = solution[:, 1] if gains is None else gains
        contrast = contrast + mine[:, 1:-1, 1:-1].var(axis=(1, 2))
        remainder = remainder + (left**2).mean(axis=(1, 2))
        anywhere = np.maximum(anywhere, np.abs(_smoothed(left)).max(axis=(1, 2)) ** 2)
    return ((remainder < REMAINDER**2 * contrast) & (anywhere < ANYWHERE**2 * contrast)
            & (gains > GAINS[0]) & (gains < GAINS[1]))


def _fitted(mine: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least squares of `mine` (n, s, s) by `theirs` under other light, shifted and stretched by less than a pixel.

    Returns the offset, gain, two shifts and two stretches (n, 6), and what remains (n, s - 2, s - 2) within the edge.
    """
    side = mine.shape[1]
    down, across = np.gradient(theirs, axis=(1, 2))
    y, x = (np.mgrid[:side, :side].astype(np.float32) - (side - 1) / 2) / (side / 2)
    terms = np.stack([np.ones_like(theirs), theirs, across, down, across * x, down * y], axis=1)
    terms = terms[:, :, 1:-1, 1:-1].reshape(len(mine), 6, -1)
    wanted = mine[:, 1:-1, 1:-1].reshape(len(mine), -1, 1)
    squares = terms @ terms.transpose(0, 2, 1) + 1e-3 * np.eye(6, dtype=np.float32)
    solution = np.linalg.solve(squares, terms @ wanted)
    left = wanted - terms.transpose(0, 2, 1) @ solution
    return solution[..., 0], left.reshape(-1, side - 2, side - 2)


def _parts(thumbnails: np.ndarray) -> list[np.ndarray]:
    """Brightness (n, 32, 32) and both colours (n, 16, 16), float32; brightness without its finest detail."""
    values = thumbnails.astype(np.float32)
    light, colours = values[:, :SIDE**2], values[:, SIDE**2:].reshape(-1, 2, SIDE // 2, SIDE // 2)
    padded = np.pad(light.reshape(-1, SIDE, SIDE), ((0, 0), (1, 1), (1, 1)), mode="edge")
    across = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
    return [(across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]) / 16, colours[:, 0], colours[:, 1]]


def _smoothed(left: np.ndarray) -> np.ndarray:
    """Means over a tenth of the side: 3 × 3 of brightness, 2 × 2 of colours."""
    size = 3 if left.shape[1] > SIDE // 2 else 2
    ends = [left.shape[1] - size + 1 + start for start in range(size)]
    across = sum(left[:, :, start:end] for start, end in enumerate(ends))
    return sum(across[:, start:end] for start, end in enumerate(ends)) / size**2


def _averaged(image: np.ndarray, size: int) -> np.ndarray:
    """(…, s, s) as means (…, s / size, s / size) float32."""
    *more, side, _ = image.shape
    return image.reshape(*more, side // size, size, side // size, size).mean(axis=(-3, -1), dtype=np.float32)


def _representative(group: np.ndarray, row: int) -> int:
    while group[row] != row:
        group[row] = group[group[row]]
        row = group[row]
    return int(row)
