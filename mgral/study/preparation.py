"""What comes before the first cycle: check everything, decode every image, draw the splits once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mgral.config import Config, DataConfig
from mgral.data.copies import copies_in_words, find_copies
from mgral.data.dataset import Dataset, ImageId, boxes_hash, dataset_hash
from mgral.data.description import split_of
from mgral.data.formats import Loaded, read_dataset
from mgral.data.splits import (
    Copies,
    Splits,
    arrived,
    check_budget,
    draw_splits,
    is_labelled,
    measured_splits,
    read_splits,
    write_splits,
)
from mgral.data.synthetic import write_scenes
from mgral.errors import ConfigError, DataError, MgralError, StateError
from mgral.files import read_json, write_json
from mgral.progress import current
from mgral.study.alone import DATA, alone
from mgral.study.labels import with_labels
from mgral.study.pixels import keep_pixels
from mgral.study.snapshot import take_snapshot
from mgral.study.workspace import Workspace

if TYPE_CHECKING:
    from mgral.data.images import ImageStore

UNDECIDED = {"root", "max_pixels"}
"""Settings of `data` by which no split is drawn otherwise."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A data set with its splits; `source` is the hash of the data set that they were drawn from.

    `arrived` are images that came later and may be chosen too. The true boxes of the pool are for the oracle alone.
    """

    dataset: Dataset
    source: str
    splits: Splits
    arrived: tuple[ImageId, ...] = ()
    listed: frozenset[ImageId] | None = None


@dataclass(frozen=True, eq=False)
class Described:
    """A data set as it was found, with the labels that came back from people; `splits` None and `study_problems` where
    no study can be drawn from it."""

    loaded: Loaded
    dataset: Dataset
    splits: Splits | None = None
    listed: frozenset[ImageId] | None = None
    notes: tuple[str, ...] = ()
    study_problems: tuple[MgralError, ...] = field(default=())

    @property
    def is_labelled(self) -> bool:
        return is_labelled(self.dataset, self.listed)


def describe(config: Config, workspace: Workspace, data: Path | None, detector: bool = True) -> Described:
    """Looks at the data set and at what a study would make of it, with the detector unless that is not asked for;
    writes nothing but caches and drawn scenes.

    Raises:
        ConfigError, DataError: the settings name no data set, or no folder.
    """
    loaded = load_data(config.data, workspace, data)
    faults, notes = [], []
    if config.detector.config:
        notes.append(f"detector.config: {config.detector.config} is Python and is executed, with whatever it imports.")
    if detector:
        from mgral.detection import (
            check_detector,  # loads torch and mmdet, which who only imports labels can do without
        )

        with _collecting(faults):
            check_detector(config.detector, config.device, loaded.dataset.classes or ("object",))
    if loaded.problems:
        return Described(loaded, loaded.dataset, notes=tuple(notes), study_problems=tuple(faults))
    dataset = with_labels(workspace, loaded.dataset)
    found = {}
    with _collecting(faults):
        found["listed"] = listed_images(dataset, config.data.labelled_list)
        copies = [] if workspace.splits.exists() else _copies(loaded, workspace, config.data, found["listed"])
        notes += copies_in_words(copies, split_of(dataset))
        if is_labelled(dataset, found["listed"]):
            found["splits"], left_out = _splits(workspace, dataset, config.data, found["listed"], copies)
            notes += left_out
    if not is_labelled(dataset, found.get("listed")) and len(dataset.images) < config.study.budget:
        faults.append(ConfigError(f"study.budget: expected at most the {len(dataset.images)} images of {dataset.root}, "
                                  f"got {config.study.budget}; lower it"))
    if "splits" in found:
        with _collecting(faults):
            check_budget(found["splits"], config.study.cycles, config.study.budget)
        hidden = sum(image_id not in dataset.boxes for image_id in found["splits"].pool)
        if config.study.true_gains and hidden:
            faults.append(ConfigError("study.true_gains: expected a pool whose labels the data set hides, got "
                                      f"{hidden} images without any; leave it out where people label"))
    if config.data.without_boxes is None and config.data.format != "synthetic" and loaded.silent > loaded.listed / 2:
        faults.append(DataError(
            f"{dataset.root}: expected to know what {loaded.silent} of {loaded.listed} images are that are listed "
            "without a box; say so: data.without_boxes: unlabelled (nobody has looked at them) or empty"))
    return Described(loaded, dataset, notes=tuple(notes), study_problems=tuple(faults), **found)


def prepare(config: Config, workspace: Workspace, data: Path | None) -> Prepared:
    """Draws scenes where there is no data set, checks everything, decodes every image, draws the splits once.

    `data` is the data set's folder, in place of `data.root`.

    Raises:
        ConfigError, DataError: all faults that can be found before work starts, one line each.
        StateError: the splits were drawn from other data or with other settings, or nothing is labelled yet.
    """
    described = describe(config, workspace, data)
    faults = [*([DataError(*described.loaded.problems)] if described.loaded.problems else []),
              *described.study_problems]
    dataset, splits = described.dataset, described.splits
    if not faults and splits is None:
        faults.append(StateError(f"{dataset.root}: expected labelled images to learn from, got none yet; label the "
                                 f"first batch, {workspace.first}, and import it"))
    if not faults:
        with _collecting(faults):
            keep_pixels(workspace, open_images(dataset, config.detector.image_size, workspace.images).digests)
    raise_all(faults)
    drawn_from = _drawn_from(dataset, splits, config.data, workspace.seed)
    if not workspace.splits.exists():
        boxes = {image_id: dataset.boxes[image_id] for image_id in splits.labelled}
        take_snapshot(workspace, config.study.strategies[0], 0, dataset, drawn_from["dataset"], boxes)
        write_json(workspace.source, drawn_from)
        write_splits(workspace.splits, splits)  # last: where it stands, all of the preparation stands
    source = read_json(workspace.source)["dataset"]
    for note in (*described.loaded.notes, *described.notes):
        current.get().note(note)
    return Prepared(dataset, source, splits, arrived(dataset, config.data, splits), described.listed)


def load_data(config: DataConfig, workspace: Workspace, data: Path | None) -> Loaded:
    """The data set that the settings name, with all that is wrong with it; draws the scenes where they name none.

    Raises:
        ConfigError, DataError: no such data set.
    """
    if config.format == "synthetic":
        with alone(workspace, DATA):
            write_scenes(config.synthetic, workspace.scenes, workspace.seed)
        return read_dataset(config, workspace.scenes, workspace.heads)
    folder = data or (Path(config.root) if config.root else None)
    if folder is None:
        raise ConfigError("data.root: expected the data set's folder, got nothing; set it, or give --data")
    return read_dataset(config, folder, workspace.heads, current.get().report("looking at images"))


def listed_images(dataset: Dataset, labelled_list: str | None) -> frozenset[ImageId] | None:
    """The annotated images that a list names, by path or as much of its end as tells them apart; None without a list.

    Raises:
        DataError: no such file, or names of no image, of several or of one without annotation.
    """
    if labelled_list is None:
        return None
    path = dataset.root / labelled_list
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a list of image files, a path a line, got "
                        f"{getattr(error, 'strerror', None) or error}; correct data.labelled_list") from error
    named = {line: name.strip() for line, name in enumerate(lines, start=1) if name.strip()}
    tails: dict[str, list[ImageId]] = {}
    for image_id in dataset.images:
        for tail in (PurePosixPath(image_id).name, PurePosixPath(image_id).stem):
            tails.setdefault(tail, []).append(image_id)
    found, faults = set(), []
    for line, name in named.items():
        fitting = [name] if name in dataset.images else [
            image_id for image_id in tails.get(PurePosixPath(name.replace("\\", "/")).name, [])]
        if len(fitting) == 1 and fitting[0] in dataset.boxes:
            found.add(fitting[0])
        else:
            got = "no annotation" if len(fitting) == 1 else f"{len(fitting)} images of that name"
            faults.append(f"{path}:{line}: expected an annotated image of the data set, got {name!r} with {got}")
    if faults:
        more = f" (and {len(faults) - 3} more like this)" if len(faults) > 3 else ""
        raise DataError(*faults[:2], *([f"{faults[2]}{more}"] if len(faults) > 2 else []))
    return frozenset(found)


def open_images(dataset: Dataset, image_size: int, folder: Path) -> ImageStore:
    """The decoded images, each decoded once."""
    from mgral.data.images import ImageStore

    with current.get().phase("decoding images", "decode", len(dataset.images)) as advance:
        done = 0

        def report(so_far: int, _: int) -> None:
            nonlocal done
            advance(so_far - done)
            done = so_far

        return ImageStore.open(dataset, image_size, folder, report)


class _collecting:
    """Keeps a fault of the world for later, so that all of them are said together."""

    def __init__(self, faults: list[MgralError]) -> None:
        self._faults = faults

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> bool:
        if isinstance(error, MgralError):
            self._faults.append(error)
            return True
        return False


def raise_all(faults: Iterable[MgralError]) -> None:
    """Raises all faults as one, of the first one's kind; nothing where there are none."""
    faults = list(faults)
    if faults:
        raise type(faults[0])(*(problem for fault in faults for problem in fault.problems))


def _splits(workspace: Workspace, dataset: Dataset, config: DataConfig, listed: frozenset[ImageId] | None,
            copies: Copies) -> tuple[Splits, tuple[str, ...]]:
    """The splits that were drawn before, or new ones."""
    if not workspace.splits.exists():
        return draw_splits(dataset, config, workspace.seed, copies, listed)
    splits, before = read_splits(workspace.splits), read_json(workspace.source)
    gone = [image_id for name in ("labelled", "pool", "reward", "test") for image_id in getattr(splits, name)
            if image_id not in dataset.images]
    if gone:
        more = f" and {len(gone) - 1} others" if len(gone) > 1 else ""
        raise StateError(f"{workspace.splits}: expected all images of the study in {dataset.root}, got no {gone[0]}"
                         f"{more}; restore them, or give the study another study.name")
    now = _drawn_from(dataset, splits, config, workspace.seed)
    changed = [key for key in ("measured", "data", "seed") if before.get(key) != now[key]]
    if changed:
        what = {"measured": "boxes of reward and test images", "data": "settings of data", "seed": "seed"}
        raise StateError(f"{workspace.splits}: expected splits drawn from these {' and '.join(map(what.get, changed))},"
                         f" got splits of others; splits are never redrawn: give the study another study.name, or "
                         f"delete {workspace.seed_folder}")
    return splits, ()


def _copies(loaded: Loaded, workspace: Workspace, config: DataConfig,
            listed: frozenset[ImageId] | None) -> list[tuple[ImageId, ...]]:
    """Copies among the images that are learned from or measured on, as far as that is known before the splits are."""
    measured = measured_splits(loaded.dataset, config).values() if listed is not None else ()
    among = listed and listed.union(*(loaded.dataset.splits[name] for name in measured))
    return find_copies(loaded, workspace.heads, current.get().report("looking for copies"), among)


def _drawn_from(dataset: Dataset, splits: Splits, config: DataConfig, seed: int) -> dict:
    """What a study stands on: later runs check that what is measured on is the same."""
    return {"dataset": dataset_hash(dataset), "measured": boxes_hash(dataset, (*splits.reward, *splits.test)),
            "data": config.model_dump(mode="json", exclude=UNDECIDED), "seed": seed}
