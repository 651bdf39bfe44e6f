"""Which images are labelled at first, which may be chosen, and which only measure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath

import numpy as np

from mgral.config import DataConfig
from mgral.data.dataset import Dataset, ImageId
from mgral.data.formats.reading import meaning
from mgral.errors import ConfigError, DataError
from mgral.files import canonical_json, read_json, sha256, write_json

Copies = Sequence[tuple[ImageId, ...]]
"""Groups of images that look alike, each of two or more."""
SHARE = 0.2
"""Of the labelled images, set aside to measure rewards, and as many to report on, where no split is named."""
REWARD, TEST = ("reward", "val"), ("test",)
"""What the splits mean, or are called, on which rewards are measured and results are reported when the settings name
none."""


@dataclass(frozen=True, slots=True)
class Splits:
    """Image ids, sorted; no id is in two of them. `pool` is what is not labelled yet; `left_out` looks like an image
    that results or rewards are measured on, or was not asked for."""

    labelled: tuple[ImageId, ...]
    pool: tuple[ImageId, ...]
    reward: tuple[ImageId, ...]
    test: tuple[ImageId, ...]
    left_out: tuple[ImageId, ...] = ()


def draw_splits(dataset: Dataset, config: DataConfig, seed: int, copies: Copies = (),
                listed: Container[ImageId] | None = None) -> tuple[Splits, tuple[str, ...]]:
    """Sets test and reward images aside, by the splits that the data set names or as shares of what is labelled; what
    is labelled besides is learned from, and the rest may be chosen.

    Draws are uniform, as in the papers; the order of the files does not matter, nor the folder that they lie in. Images
    that are copies of one another (each of `copies` names some) come to lie on one side: drawn together, and where the
    source's own splits part them, left out on the side that is not measured on.

    Args:
        listed: the images that count as labelled, where not all do that are annotated.

    Returns:
        The splits, and a line for what was left out.

    Raises:
        ConfigError: more labelled or measured images asked for than there are, or none to measure on.
        DataError: a split of the config that the data set lacks, or labelled images without a single box.
    """
    rng, names = np.random.default_rng(seed), measured_splits(dataset, config)
    measured = {role: set(_annotated(dataset, dataset.splits[name])) for role, name in names.items()}
    measured["reward"] = measured.get("reward", set()) - measured.get("test", set())
    candidates = set(_members(dataset, config.pool)) if config.pool is not None else set(dataset.images)
    candidates -= {image_id for name in names.values() for image_id in dataset.splits[name]}
    left_out = _beside(copies, (measured.get("test", set()), measured["reward"]), candidates | measured["reward"])
    measured["reward"] -= left_out
    candidates -= left_out
    known = {image_id for image_id in _annotated(dataset, candidates) if listed is None or image_id in listed}
    annotated = len(known)
    for role in ("test", "reward"):
        if role not in names:
            share = getattr(config, role)
            count = round((SHARE if share is None else share) * annotated) or int(share is None)
            measured[role] = set(_draw(rng, known, count, f"data.{role}", copies))
            known -= measured[role]
            candidates -= measured[role]
    labelled = known if config.labelled is None else set(_draw(rng, known, config.labelled, "data.labelled", ()))
    _check_labelled(dataset, labelled, seed, config)
    splits = Splits(_sorted(labelled), _sorted(candidates - labelled), _sorted(measured["reward"]),
                    _sorted(measured["test"]), _sorted(left_out))
    return splits, _left_out_in_words(left_out, copies)


def measured_splits(dataset: Dataset, config: DataConfig) -> dict[str, str]:
    """The source's splits that serve to report on ("test") and to measure rewards on ("reward"): those that the
    settings name, else those that are called so and have an annotated image.

    Raises:
        ConfigError: one split for two of pool, reward and test.
        DataError: no such split, or one without annotated images.
    """
    names, given = {}, {"reward": config.reward, "test": config.test}
    for role, meanings in (("test", TEST), ("reward", REWARD)):
        if isinstance(given[role], str):
            _members(dataset, given[role])
            names[role] = given[role]
        elif given[role] is None:
            fitting = [name for name in dataset.splits if (meaning(name) or name) in meanings and name != config.pool
                       and _annotated(dataset, dataset.splits[name])]
            names |= {role: fitting[0]} if fitting else {}
    roles = [*names.values(), *([config.pool] if config.pool else [])]
    for name in sorted({name for name in roles if roles.count(name) > 1}):
        raise ConfigError(f"data: expected pool, reward and test to be different splits, got {name!r} more than once; "
                          "use a share such as 0.2 to set images aside")
    for role, name in names.items():
        if not _annotated(dataset, dataset.splits[name]):
            raise DataError(f"data.{role}: expected a split with annotated images, got {name!r} with none of its "
                            f"{len(dataset.splits[name])} annotated; name another, or a share such as 0.2")
    return names


def arrived(dataset: Dataset, config: DataConfig, splits: Splits) -> tuple[ImageId, ...]:
    """Images that came after the splits were drawn, and may be chosen."""
    candidates = set(dataset.images if config.pool is None else dataset.splits.get(config.pool, ()))
    candidates -= {image_id for name in measured_splits(dataset, config).values() for image_id in dataset.splits[name]}
    return _sorted(candidates.difference(*(getattr(splits, field.name) for field in fields(Splits))))


def is_labelled(dataset: Dataset, listed: Container[ImageId] | None) -> bool:
    """Whether there is an image to learn from."""
    return any(listed is None or image_id in listed for image_id in dataset.boxes)


def draw_test(dataset: Dataset, config: DataConfig, seed: int) -> tuple[tuple[ImageId, ...], tuple[ImageId, ...]]:
    """Annotated training and test images where nothing is chosen and no reward is measured.

    Raises:
        ConfigError, DataError: as `draw_splits`.
    """
    test_split = measured_splits(dataset, config).get("test")
    pool = _members(dataset, config.pool) if config.pool is not None else (
        dataset.splits.get("train") or dataset.images)
    members = set(_annotated(dataset, pool))
    if test_split is not None:
        test = set(_annotated(dataset, dataset.splits[test_split]))
    else:
        share = SHARE if config.test is None else config.test
        test = set(_draw(np.random.default_rng(seed), members, round(share * len(members)), "data.test", ()))
    return _sorted(members - test), _sorted(test)


def draw_folds(annotated: Sequence[ImageId], fraction: float, folds: int, seed: int) -> tuple[tuple[ImageId, ...], ...]:
    """`folds` uniform draws of a share of the images, at least one image, each independent of the others."""
    count, images = max(1, round(fraction * len(annotated))), sorted(annotated)
    return tuple(_sorted(images[row] for row in np.random.default_rng([seed, fold]).choice(
        len(images), count, replace=False)) for fold in range(folds))


def check_budget(splits: Splits, cycles: int, budget: int) -> None:
    """Raises ConfigError if all cycles together would choose more images than the pool holds."""
    if not splits.pool:
        raise ConfigError("study: expected images that are not labelled yet, got none; add images without annotations, "
                          "or hide labels to simulate annotators: data.labelled: 60 draws so many at random, "
                          "data.labelled_list names them")
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
                        f"{', '.join(dataset.splits) or 'no splits'}; correct data.pool, data.reward or data.test, or "
                        "name it in data.splits")
    return _sorted(dataset.splits[split])


def _annotated(dataset: Dataset, ids: Iterable[ImageId]) -> tuple[ImageId, ...]:
    return tuple(image_id for image_id in ids if image_id in dataset.boxes)


def _beside(copies: Copies, kept: Sequence[set[ImageId]], others: set[ImageId]) -> set[ImageId]:
    """The others that are copies of an image to be kept; the first of `kept` come before the next."""
    out: set[ImageId] = set()
    for group in copies:
        side = next((ids for ids in kept if ids.intersection(group)), None)
        if side is not None:
            out |= others.intersection(group) - side
    return out


def _draw(rng: np.random.Generator, known: set[ImageId], count: int, setting: str, copies: Copies) -> list[ImageId]:
    """`count` images; copies stay together, so that it may be a few more."""
    if not known:
        raise ConfigError(f"{setting}: expected annotated images to take from, got none left; annotate more images")
    if not 1 <= count <= len(known):
        raise ConfigError(f"{setting}: expected 1 to {len(known)} images, as many as are annotated in the pool, "
                          f"got {count}; change the setting or annotate more")
    # By name first: the same pictures in other folders are drawn alike.
    ids = sorted(known, key=lambda image_id: (PurePosixPath(image_id).name, image_id))
    together = {image_id: [other for other in group if other in known] for group in copies for image_id in group}
    drawn: dict[ImageId, None] = {}
    for row in rng.permutation(len(ids)):
        if len(drawn) >= count:
            break
        drawn.update(dict.fromkeys(together.get(ids[row], [ids[row]])))
    return list(drawn)


def _check_labelled(dataset: Dataset, labelled: set[ImageId], seed: int, config: DataConfig) -> None:
    if not labelled:
        raise DataError(f"{dataset.root}: expected annotated images to learn from beside those that are measured on, "
                        "got none; annotate more, or lower data.reward and data.test")
    if all(dataset.boxes[image_id].ignore.all() for image_id in labelled):
        drawn = f" (seed {seed}); raise data.labelled or change the seed" if config.labelled else "; annotate some"
        raise DataError(f"data.labelled: expected boxes in the first {len(labelled)} labelled images, got none{drawn}")


def _left_out_in_words(left_out: set[ImageId], copies: Copies) -> tuple[str, ...]:
    if not left_out:
        return ()
    first = min(left_out)
    twin = next(image_id for group in copies if first in group for image_id in group if image_id not in left_out)
    count = "1 image is" if len(left_out) == 1 else f"{len(left_out)} images are"
    return (f"{count} left out, as a copy of one that is measured on: {first} of {twin}"
            f"{' and others' if len(left_out) > 1 else ''}",)


def _named(splits: Splits) -> Mapping[str, list[ImageId]]:
    return {name: list(ids) for name, ids in asdict(splits).items()}


def _checksum(content: Mapping) -> str:
    return sha256(canonical_json(content))


def _sorted(ids: Iterable[ImageId]) -> tuple[ImageId, ...]:
    return tuple(sorted(ids))
