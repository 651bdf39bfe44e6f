"""Pictures that are in a data set more than once: what is learned from must not be what is measured on."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path

from mgral.data.appearance import appearances, near_copies
from mgral.data.dataset import ImageId
from mgral.data.formats import Loaded, cached
from mgral.data.headers import same_files

MOST = 20_000
"""Annotated images among which near-copies are looked for; of larger sets only files of the same bytes are."""


def find_copies(loaded: Loaded, cache: Path | None, progress: Callable[[int, int], None] | None = None,
                among: Container[ImageId] | None = None) -> list[tuple[ImageId, ...]]:
    """Groups of images that are the same file or, among the annotated ones, look the same; no image is in two groups.

    Args:
        cache: folder that keeps what was read of image files.
        among: which of the annotated images are looked at; all where it is not given.
        progress: called with (images looked at, images in all).
    """
    dataset = loaded.dataset
    groups = same_files(loaded.headers, dataset.root)
    annotated = sorted(image_id for image_id in dataset.boxes if among is None or image_id in among)
    if 1 < len(annotated) <= MOST:
        seen = appearances(dataset.root, annotated, cached(cache, dataset.root, "thumbnails"), dataset.white, progress)
        groups += near_copies(annotated, seen)
    return joined(groups)


def joined(groups: Iterable[Sequence[ImageId]]) -> list[tuple[ImageId, ...]]:
    """Groups that share an image made one, sorted."""
    group_of: dict[ImageId, set[ImageId]] = {}
    for group in groups:
        whole = set().union(group, *(group_of.get(image_id, ()) for image_id in group))
        group_of.update(dict.fromkeys(whole, whole))
    return sorted({tuple(sorted(whole)) for whole in group_of.values()})


def copies_in_words(groups: Sequence[Sequence[ImageId]], split_of: Callable[[ImageId], str | None]) -> tuple[str, ...]:
    """A line on the copies, with an example of two splits if there is one; none where there are no copies."""
    if not groups:
        return ()
    parted = [group for group in groups if len({split_of(image_id) for image_id in group}) > 1]
    first, second = (parted or groups)[0][:2]
    if parted:
        second = next(other for other in parted[0] if split_of(other) != split_of(first))
    named = [f"{image_id} ({split_of(image_id) or 'no split'})" for image_id in (first, second)]
    count = sum(len(group) - 1 for group in groups)
    return (f"{count} {'image is a copy' if count == 1 else 'images are copies'} of another, such as {named[0]} and "
            f"{named[1]}; copies are kept on one side of the splits",)
