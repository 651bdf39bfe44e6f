"""Which images are labelled at first, which may be chosen, and which only measure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from mgral.config import DataConfig
from mgral.data.dataset import Dataset, ImageId
from mgral.errors import ConfigError, DataError
from mgral.files import canonical_json, read_json, sha256, write_json


@dataclass(frozen=True, slots=True)
class Splits:
    """Image ids, sorted; no id is in two of them. `pool` is what is not labelled yet."""

    labelled: tuple[ImageId, ...]
    pool: tuple[ImageId, ...]
    reward: tuple[ImageId, ...]
    test: tuple[ImageId, ...]


def draw_splits(dataset: Dataset, config: DataConfig, seed: int) -> Splits:
    """Sets reward and test images aside where the config asks for a share of the pool, then draws the labelled ones.

    All draws are uniform among the annotated images of the pool, as in the papers; order in the files does not matter.

    Raises:
        ConfigError: more labelled or measured images asked for than there are, or none to measure on.
        DataError: a split of the config that the data set lacks, or labelled images without a single box.
    """
    rng = np.random.default_rng(seed)
    pool = set(_members(dataset, config.pool))
    measured = {}
    for name, source in (("reward", config.reward), ("test", config.test)):
        if isinstance(source, str):
            measured[name] = _members(dataset, source)
        else:
            count = round(source * len(_members(dataset, config.pool)))
            measured[name] = _draw(rng, dataset, pool, count, f"data.{name}")
            pool -= set(measured[name])
    labelled = _draw(rng, dataset, pool, config.labelled, "data.labelled")
    if all(dataset.boxes[image_id].ignore.all() for image_id in labelled):
        raise DataError(f"data.labelled: expected boxes in the first {len(labelled)} labelled images, got none (seed "
                        f"{seed}); raise data.labelled or change the seed")
    return Splits(labelled, _sorted(pool - set(labelled)), measured["reward"], measured["test"])


def draw_test(dataset: Dataset, config: DataConfig, seed: int) -> tuple[tuple[ImageId, ...], tuple[ImageId, ...]]:
    """Training and test images where nothing is chosen and no reward is measured.

    Raises:
        ConfigError, DataError: as `draw_splits`.
    """
    members = _members(dataset, config.pool)
    if isinstance(config.test, str):
        test = _members(dataset, config.test)
    else:
        test = _draw(np.random.default_rng(seed), dataset, members, round(config.test * len(members)), "data.test")
    return _sorted(set(members) - set(test)), test


def draw_folds(annotated: Sequence[ImageId], fraction: float, folds: int, seed: int) -> tuple[tuple[ImageId, ...], ...]:
    """`folds` uniform draws of a share of the images, at least one image, each independent of the others."""
    count, images = max(1, round(fraction * len(annotated))), sorted(annotated)
    return tuple(_sorted(images[row] for row in np.random.default_rng([seed, fold]).choice(
        len(images), count, replace=False)) for fold in range(folds))


def check_budget(splits: Splits, cycles: int, budget: int) -> None:
    """Raises ConfigError if all cycles together would choose more images than the pool holds."""
    if cycles * budget > len(splits.pool):
        raise ConfigError(f"study: expected cycles × budget to be at most the {len(splits.pool)} images that are not "
                          f"labelled yet, got {cycles} × {budget} = {cycles * budget}; lower one or add images")


def write_splits(path: Path, splits: Splits) -> None:
    """Writes the splits with a checksum, so that an edit by hand does not pass for the original draw."""
    write_json(path, {**_named(splits), "sha256": _checksum(_named(splits))})


def read_splits(path: Path) -> Splits:
    """Reads what `write_splits` wrote. Raises DataError if it is missing, malformed or was edited."""
    try:
        content = read_json(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: expected a split file, got nothing there; run `prepare` first") from error
    except ValueError as error:
        raise DataError(f"{path}: expected JSON, got {error}; restore the file") from error
    names = [field.name for field in fields(Splits)]
    if not isinstance(content, dict) or set(content) != {*names, "sha256"}:
        raise DataError(f"{path}: expected {', '.join(names)} and sha256, got other content; restore the file")
    checksum = content.pop("sha256")
    if checksum != _checksum(content):
        raise DataError(f"{path}: expected the splits as they were drawn (sha256 {checksum}), got an edited file; "
                        "restore it, or start a study of another name")
    return Splits(**{name: tuple(content[name]) for name in names})


def _members(dataset: Dataset, split: str) -> tuple[ImageId, ...]:
    if split not in dataset.splits:
        raise DataError(f"{dataset.root}: expected a split {split!r} with images in it, got "
                        f"{', '.join(dataset.splits)}; correct data.pool, data.reward or data.test")
    return _sorted(dataset.splits[split])


def _draw(rng: np.random.Generator, dataset: Dataset, pool: Iterable[ImageId], count: int,
          setting: str) -> tuple[ImageId, ...]:
    annotated = _sorted(image_id for image_id in pool if image_id in dataset.boxes)
    if not 1 <= count <= len(annotated):
        raise ConfigError(f"{setting}: expected 1 to {len(annotated)} images, as many as are annotated in the pool, "
                          f"got {count}; change the setting")
    return _sorted(annotated[row] for row in rng.choice(len(annotated), count, replace=False))


def _named(splits: Splits) -> Mapping[str, list[ImageId]]:
    return {name: list(ids) for name, ids in asdict(splits).items()}


def _checksum(content: Mapping) -> str:
    return sha256(canonical_json(content))


def _sorted(ids: Iterable[ImageId]) -> tuple[ImageId, ...]:
    return tuple(sorted(ids))
