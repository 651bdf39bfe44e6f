"""Data sets as others write them: one reader and one writer a format, one set of checks for all."""

from __future__ import annotations

from pathlib import Path

from mgral.config import DataConfig
from mgral.data.formats import coco, voc, yolo
from mgral.data.formats.source import Loaded, checked
from mgral.errors import DataError

__all__ = ["Loaded", "load_dataset"]

_READERS = {"synthetic": coco.read, "coco": coco.read, "voc": voc.read, "yolo": yolo.read}


def load_dataset(config: DataConfig, root: Path) -> Loaded:
    """Reads and checks the splits that the config names, in the config's format.

    Image files are opened for their size only; `ImageStore.open` decodes them, once, and finds the damaged ones.
    Drawn scenes (`synthetic`) must have been written to `root` before.

    Raises:
        DataError: whatever is wrong with the files, all of it, one line each.
    """
    if not root.is_dir():
        raise DataError(f"{root}: expected the data set's folder, got nothing there; check --data or data.root")
    measured = [split for split in (config.reward, config.test) if isinstance(split, str)]
    problems = [f"data: expected pool, reward and test to be different splits, got {split!r} more than once; "
                "use a share such as 0.2 to set images aside" for split in {config.pool, *measured}
                if [config.pool, *measured].count(split) > 1]
    if problems:
        raise DataError(*problems)
    source = _READERS[config.format](root, config.pool, measured, problems)
    return checked(source, config, problems)
