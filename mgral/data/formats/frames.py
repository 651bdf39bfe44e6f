"""Tracks of a video over the images that its frames were saved as."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mgral.data.formats.reading import Corners, Reading

FRAME = re.compile(r"frame[_-]?(\d{1,12})", re.IGNORECASE)
"""How CVAT and most others call the image of a frame."""


class Frames(NamedTuple):
    """How many frames a video has (None where the file does not say), and the numbers of the first and of the next."""

    count: int | None = None
    first: int = 0
    step: int = 1


@dataclass
class Track:
    """An object over time: its box at keyframes, None from where on it is outside of the picture, or where it is `lost`
    as it cannot be used."""

    label: str
    where: str
    boxes: dict[int, Corners | None] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)


def add_tracks(reading: Reading, path: Path, tracks: Sequence[Track], of: Frames, images: Sequence[str],
               split: str | None) -> None:
    """Adds the images of a video's frames and their boxes. A box is carried on to the next keyframe.

    `images` may be frames of it.
    """
    last = max((frame for track in tracks for frame in track.boxes), default=-1)
    frames = _frames(reading, path, images, of if of.count else Frames(last + 1))
    if frames is None:
        return
    rows: dict[int, int] = {}
    for frame, image in frames.items():
        row = reading.image(image, f"{path}: frame {frame}", silent=True)
        if row is not None:
            rows[frame] = row
            if split:
                reading.split(split, image)
    listed = sorted(rows)
    for track in tracks:
        _add_boxes(reading, path, track, rows, listed, frames)


def _frames(reading: Reading, path: Path, images: Sequence[str], of: Frames) -> dict[int, str] | None:
    """The image of each frame, by its number: as their names say, or in their order if there are as many."""
    others = [image for image in images if reading.row(image) is None]
    named = _by_name(reading, path, others)
    if named is None:
        return None
    by_order = [named[number] for number in sorted(named)] if named else others
    from_one = of.first == 0 and len(named) == of.count and named.keys() == set(range(1, len(named) + 1))
    if named and not from_one:
        return dict(sorted(named.items()))
    if len(by_order) == of.count:
        reading.findings.note(f"{path}: its {of.count} frames are taken for {of.count} images, from {by_order[0]} on, "
                              "in their order")
        return {of.first + row * of.step: image for row, image in enumerate(by_order)}
    reading.findings.problem(f"{path}: expected an image for each of its {of.count} frames, called frame_000000.jpg "
                             f"and so on, got {len(others)} images of other names; export the task with images, or "
                             "name their folder in data.images")
    return None


def _by_name(reading: Reading, path: Path, images: Sequence[str]) -> dict[int, str] | None:
    """Images that are called like frames by number; None and a problem for two of one number."""
    named: dict[int, str] = {}
    for image in images:
        match = FRAME.fullmatch(PurePosixPath(image).stem)
        if match is not None and int(match[1]) in named:
            reading.findings.problem(f"{path}: expected one image a frame, got {named[int(match[1])]} and {image} for "
                                     f"frame {int(match[1])}; name the folder of the video's images in data.images")
            return None
        if match is not None:
            named[int(match[1])] = image
    return named


def _add_boxes(reading: Reading, path: Path, track: Track, rows: Mapping[int, int], listed: Sequence[int],
               frames: Mapping[int, str]) -> None:
    keys = sorted(track.boxes)
    for key, following in zip(keys, [*keys[1:], None], strict=False):
        corners = track.boxes[key]
        if corners is None and key not in track.lost:
            continue
        if key not in rows:
            if key not in frames:
                reading.missing.append((f"frame_{key:06d}", f"{track.where}: frame {key}"))
            continue
        first = bisect_left(listed, key)
        end = len(listed) if following is None else bisect_left(listed, following)
        if corners is None:
            reading.dropped.update(rows[frame] for frame in listed[first:end])
            continue
        for frame in listed[first:end]:
            reading.box(rows[frame], track.label, corners, f"{track.where}: frame {frame}")
        if end - first > 1:
            reading.findings.note(f"{track.where}: the box of frame {key} is carried on to frame {listed[end - 1]}",
                                  "box carried on")
