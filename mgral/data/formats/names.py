"""Names for files in which images are written out, of images that are known by their paths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from mgral.data.dataset import ImageId


def plain_names(ids: Sequence[ImageId]) -> dict[ImageId, str]:
    """A name without folder and ending for each image: that of its file where it is the only one of these images that
    is called so, else its path with `_` for a slash.

    Raises:
        ValueError: two images that would have the same name.
    """
    paths = {image_id: PurePosixPath(image_id) for image_id in ids}
    count = Counter(path.stem for path in paths.values())
    names = {image_id: path.stem if count[path.stem] == 1 else str(path.with_suffix("")).replace("/", "_")
             for image_id, path in paths.items()}
    if len(set(names.values())) < len(names):
        raise ValueError("expected images with names of their own, got the same name twice")
    return names
