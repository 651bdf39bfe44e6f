"""A study with its data set open: prepared once, then opened by every step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mgral.config import Config
from mgral.data.dataset import Boxes, Dataset, ImageId
from mgral.data.formats import Loaded, load_dataset
from mgral.data.images import ImageStore
from mgral.data.splits import Splits, check_budget, draw_splits, read_splits, write_splits
from mgral.data.synthetic import write_scenes
from mgral.errors import ConfigError, DataError, MgralError, StateError
from mgral.files import canonical_json, read_json, sha256, write_json
from mgral.study.fingerprint import dataset_hash
from mgral.study.progress import current
from mgral.study.snapshot import take_snapshot
from mgral.study.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Job:
    """What a step works on: settings, working directory, the data set's folder, and which cycle of which strategy."""

    config: Config
    workdir: Path
    data: Path | None
    strategy: str
    cycle: int
    params: Path = Path("params.yaml")
    """The file that `config` was read from."""

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.workdir, self.config.study.name)

    @property
    def title(self) -> str:
        return f"[{self.strategy} {self.cycle}/{self.config.study.cycles}]"


@dataclass(frozen=True, eq=False)
class Study:
    """`source` is the hash of the data set. The true boxes of `splits.pool` are for the oracle alone."""

    config: Config
    workspace: Workspace
    dataset: Dataset
    source: str
    splits: Splits

    @functools.cached_property
    def store(self) -> ImageStore:
        return open_images(self.dataset, self.config, self.workspace).on(device_of(self.config))

    @functools.cached_property
    def splits_hash(self) -> str:
        return sha256(canonical_json(asdict(self.splits)))

    def truth(self, ids: tuple[ImageId, ...]) -> Mapping[ImageId, Boxes]:
        return {image_id: self.dataset.boxes[image_id] for image_id in ids}


def device_of(config: Config) -> str:
    """The device that the settings ask for; `auto` is a GPU where there is one."""
    import torch

    return config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def prepare(job: Job) -> Study:
    """Draws scenes where there is no data set, checks everything, decodes every image, draws the splits once.

    Raises:
        ConfigError, DataError: all faults that can be found before work starts, one line each.
        StateError: the splits were drawn from other data or with other settings.
    """
    config, workspace = job.config, job.workspace
    loaded = load_data(job)
    drawn_from = {"dataset": dataset_hash(loaded.dataset), "data": config.data.model_dump(mode="json"),
                  "seed": config.seed}
    splits = _drawn_once(workspace, loaded.dataset, config, drawn_from)
    _all_of(lambda: check_budget(splits, config.study.cycles, config.study.budget),
            lambda: _check_oracle(splits, loaded.dataset),
            lambda: open_images(loaded.dataset, config, workspace))
    if not workspace.splits.exists():
        boxes = {image_id: loaded.dataset.boxes[image_id] for image_id in splits.labelled}
        take_snapshot(workspace, job.strategy, 0, loaded.dataset, drawn_from["dataset"], boxes)
        write_json(workspace.source, drawn_from)
        write_splits(workspace.splits, splits)  # last: where it stands, all of the preparation stands
    for note in loaded.notes:
        current.get().note(note)
    return Study(config, workspace, loaded.dataset, drawn_from["dataset"], splits)


def load_data(job: Job) -> Loaded:
    """The data set that the settings name; draws the scenes where they name none.

    Raises:
        ConfigError, DataError: no such data set, or one with faults, all of them.
    """
    if job.config.data.format == "synthetic":
        write_scenes(job.config.data.synthetic, job.workspace.scenes, job.config.seed)
    return load_dataset(job.config.data, _folder(job))


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


def _drawn_once(workspace: Workspace, dataset: Dataset, config: Config, drawn_from: dict) -> Splits:
    if not workspace.splits.exists():
        return draw_splits(dataset, config.data, config.seed)
    before = read_json(workspace.source)
    changed = [key for key in drawn_from if before.get(key) != drawn_from[key]]
    if changed:
        raise StateError(f"{workspace.splits}: expected splits drawn from this {' and '.join(changed)}, got splits of "
                         f"another; splits are never redrawn: give the study another study.name, or delete "
                         f"{workspace.folder}")
    return read_splits(workspace.splits)


def _check_oracle(splits: Splits, dataset: Dataset) -> None:
    """The simulated oracle reveals boxes that are known already."""
    unknown = [image_id for image_id in splits.pool if image_id not in dataset.boxes]
    if unknown:
        raise DataError(f"{dataset.root}: expected annotations for every pool image, as study.oracle is `simulated`, "
                        f"got none for {len(unknown)} images ({', '.join(unknown[:3])}…); annotate or remove them")


def _folder(job: Job) -> Path:
    data = job.config.data
    if data.format == "synthetic":
        return job.workspace.scenes
    folder = job.data or (Path(data.root) if data.root else None)
    if folder is None:
        raise ConfigError(f"data.root: expected the folder of the {data.format} data set, got nothing; "
                          f"set it, or give --data")
    return folder


def open_images(dataset: Dataset, config: Config, workspace: Workspace) -> ImageStore:
    progress = current.get()
    count = len(dataset.images)
    with progress.phase("decoding images", "decode", count) as advance:
        done = 0

        def report(so_far: int, _: int) -> None:
            nonlocal done
            advance(so_far - done)
            done = so_far

        return ImageStore.open(dataset, config.detector.image_size, workspace.images, report)


_open = functools.lru_cache(maxsize=2)(prepare)


def open_study(job: Job) -> Study:
    """The prepared study, opened once a process however many steps ask for it."""
    return _open(Job(job.config, job.workdir, job.data, job.config.study.strategy, 0))
