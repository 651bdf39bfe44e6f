"""What every task begins with: the job that it was given, and the study opened for it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mgral.config import Config, folder_name
from mgral.data.dataset import Boxes, Dataset, ImageId
from mgral.data.images import ImageStore
from mgral.data.splits import Splits
from mgral.files import canonical_json, sha256
from mgral.progress import current
from mgral.study.alone import DATA, alone
from mgral.study.preparation import open_images, prepare
from mgral.study.services import table_url
from mgral.study.workspace import Workspace, options_of
from mgral.training.detectors import Detectors


@dataclass(frozen=True, slots=True)
class Job:
    """What a task works on: settings, working directory, the data set's folder, and which cycle of which strategy and
    seed. Flows and tasks hand it on; the library never sees one."""

    config: Config
    workdir: Path
    data: Path | None
    strategy: str
    cycle: int
    seed: int
    """One of study.seeds."""
    params: Path = Path("params.yaml")
    """The file that `config` was read from."""

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.workdir, self.config.study.name, self.seed)

    @property
    def name(self) -> str:
        """As runs are called: "mgral cycle 1", or with several seeds "mgral seed 0 cycle 1"."""
        return f"{self.label} cycle {self.cycle}"

    @property
    def title(self) -> str:
        """As lines of the log begin."""
        return f"[{self.label} {self.cycle}/{self.config.study.cycles}]"

    def title_after(self, cycles: int) -> str:
        """The same of the detector that is trained after so many cycles: the last one is nobody's next."""
        return f"[{self.label} end]" if cycles == self.config.study.cycles else self.title

    @property
    def options(self) -> str:
        """What the command line needs to find it: the strategy and the seed, where they are not the first."""
        return options_of(self.config.study, self.strategy, self.seed)

    @property
    def label(self) -> str:
        """The strategy, and the seed where the study has several."""
        seed = f" seed {self.seed}" if len(self.config.study.seeds) > 1 else ""
        return f"{folder_name(self.strategy)}{seed}"


@dataclass(frozen=True, eq=False)
class Study:
    """An open data set with its splits and decoded images; `source` is its hash."""

    config: Config
    workspace: Workspace
    dataset: Dataset
    source: str
    splits: Splits
    arrived: tuple[ImageId, ...] = ()
    listed: frozenset[ImageId] | None = None

    @property
    def pool(self) -> tuple[ImageId, ...]:
        """Images that were not labelled at first, those that came later among them."""
        return tuple(sorted(self.splits.pool + self.arrived))

    def labelled_now(self) -> frozenset[ImageId]:
        """Images of the pool whose labels are known by now, from wherever they came; none in a simulation, where all
        other labels are hidden."""
        if self.config.data.labelled is not None:
            return frozenset()
        return frozenset(image_id for image_id in self.pool if image_id in self.dataset.boxes
                         and (self.listed is None or image_id in self.listed))

    @functools.cached_property
    def store(self) -> ImageStore:
        return open_images(self.dataset, self.config.detector.image_size, self.workspace.images).on(
            device_of(self.config))

    @functools.cached_property
    def splits_hash(self) -> str:
        return sha256(canonical_json(asdict(self.splits)))

    @property
    def detectors(self) -> Detectors:
        config = self.config
        return Detectors(config.detector, config.training, config.semisup, config.study.training, self.dataset.classes,
                         self.store, device_of(config), self.workspace.seed, self.workspace.cache / "detectors")

    @property
    def table_url(self) -> str:
        return table_url(self.config.services, self.workspace)

    def truth(self, ids: tuple[ImageId, ...]) -> Mapping[ImageId, Boxes]:
        return {image_id: self.dataset.boxes[image_id] for image_id in ids}


def device_of(config: Config) -> str:
    """The device that the settings ask for; `auto` is a GPU where there is one."""
    import torch

    return config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def open_study(job: Job) -> Study:
    """The prepared study, opened once a process however many tasks ask for it."""
    current.get().subject = job.title
    return _open(job.config, job.workspace, job.data)


@functools.lru_cache(maxsize=2)
def _open(config: Config, workspace: Workspace, data: Path | None) -> Study:
    with alone(workspace, DATA):
        prepared = prepare(config, workspace, data)
    return Study(config, workspace, prepared.dataset, prepared.source, prepared.splits, prepared.arrived,
                 prepared.listed)


def forget_studies() -> None:
    """Has the next task look at the data anew, because labels came back."""
    _open.cache_clear()
