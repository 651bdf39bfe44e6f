"""What comes before the first cycle: check everything, decode every image, draw the splits once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mgral.config import Config, DataConfig
from mgral.data.dataset import Dataset, dataset_hash
from mgral.data.formats import Loaded, load_dataset
from mgral.data.images import ImageStore
from mgral.data.splits import Splits, check_budget, draw_splits, read_splits, write_splits
from mgral.data.synthetic import write_scenes
from mgral.detection import check_detector
from mgral.errors import ConfigError, DataError, MgralError, StateError
from mgral.files import read_json, write_json
from mgral.progress import current
from mgral.study.snapshot import take_snapshot
from mgral.study.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Prepared:
    """A data set with its splits; `source` is its hash. The true boxes of `splits.pool` are for the oracle alone."""

    dataset: Dataset
    source: str
    splits: Splits


def prepare(config: Config, workspace: Workspace, data: Path | None) -> Prepared:
    """Draws scenes where there is no data set, checks everything, decodes every image, draws the splits once.

    `data` is the data set's folder, in place of `data.root`.

    Raises:
        ConfigError, DataError: all faults that can be found before work starts, one line each.
        StateError: the splits were drawn from other data or with other settings.
    """
    loaded = load_data(config.data, workspace, data)
    dataset = loaded.dataset
    drawn_from = {"dataset": dataset_hash(dataset), "data": config.data.model_dump(mode="json"),
                  "seed": workspace.seed}
    splits = _drawn_once(workspace, dataset, config.data, drawn_from)
    _all_of(lambda: check_budget(splits, config.study.cycles, config.study.budget),
            lambda: _check_oracle(splits, dataset),
            lambda: check_detector(config.detector, config.device),
            lambda: open_images(dataset, config.detector.image_size, workspace.images))
    if not workspace.splits.exists():
        boxes = {image_id: dataset.boxes[image_id] for image_id in splits.labelled}
        take_snapshot(workspace, config.study.strategies[0], 0, dataset, drawn_from["dataset"], boxes)
        write_json(workspace.source, drawn_from)
        write_splits(workspace.splits, splits)  # last: where it stands, all of the preparation stands
    trusted = (f"detector.config: {config.detector.config} is Python and is executed, with whatever it imports.",)
    for note in (*loaded.notes, *(trusted if config.detector.config else ())):
        current.get().note(note)
    return Prepared(dataset, drawn_from["dataset"], splits)


def load_data(config: DataConfig, workspace: Workspace, data: Path | None) -> Loaded:
    """The data set that the settings name; draws the scenes where they name none.

    Raises:
        ConfigError, DataError: no such data set, or one with faults, all of them.
    """
    if config.format == "synthetic":
        write_scenes(config.synthetic, workspace.scenes, workspace.seed)
        return load_dataset(config, workspace.scenes)
    folder = data or (Path(config.root) if config.root else None)
    if folder is None:
        raise ConfigError(f"data.root: expected the folder of the {config.format} data set, got nothing; set it, or "
                          "give --data")
    return load_dataset(config, folder)


def open_images(dataset: Dataset, image_size: int, folder: Path) -> ImageStore:
    """The decoded images, each decoded once."""
    with current.get().phase("decoding images", "decode", len(dataset.images)) as advance:
        done = 0

        def report(so_far: int, _: int) -> None:
            nonlocal done
            advance(so_far - done)
            done = so_far

        return ImageStore.open(dataset, image_size, folder, report)


def _all_of(*checks: Callable[[], object]) -> None:
    """Runs every check; what they find wrong is raised together."""
    faults = []
    for check in checks:
        try:
            check()
        except MgralError as error:
            faults.append(error)
    if faults:
        raise type(faults[0])(*(problem for fault in faults for problem in fault.problems))


def _drawn_once(workspace: Workspace, dataset: Dataset, config: DataConfig, drawn_from: dict) -> Splits:
    if not workspace.splits.exists():
        return draw_splits(dataset, config, workspace.seed)
    before = read_json(workspace.source)
    changed = [key for key in drawn_from if before.get(key) != drawn_from[key]]
    if changed:
        raise StateError(f"{workspace.splits}: expected splits drawn from this {' and '.join(changed)}, got splits of "
                         f"another; splits are never redrawn: give the study another study.name, or delete "
                         f"{workspace.seed_folder}")
    return read_splits(workspace.splits)


def _check_oracle(splits: Splits, dataset: Dataset) -> None:
    """The simulated oracle reveals boxes that are known already."""
    unknown = [image_id for image_id in splits.pool if image_id not in dataset.boxes]
    if unknown:
        raise DataError(f"{dataset.root}: expected annotations for every pool image, as the oracle is simulated, "
                        f"got none for {len(unknown)} images ({', '.join(unknown[:3])}…); annotate or remove them")
