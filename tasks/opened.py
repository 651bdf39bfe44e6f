"""What every task begins with: the study of the job that it was given, opened."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mgral.config import Config
from mgral.data.dataset import Boxes, Dataset, ImageId
from mgral.data.images import ImageStore
from mgral.data.splits import Splits
from mgral.files import canonical_json, sha256
from mgral.progress import current
from mgral.study.alone import DATA, alone
from mgral.study.labels import labelled_files
from mgral.study.preparation import open_images, prepare
from mgral.study.services import table_url
from mgral.study.workspace import Workspace
from mgral.training.detectors import Detectors
from tasks.job import Job


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
        images = open_images(self.dataset, self.config.detector.image_size, self.workspace.images)
        return images.with_views(self.config.training.views).on(
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
    return _open(job.config, job.workspace, job.data, _labels(job.workspace))


@functools.lru_cache(maxsize=2)
def _open(config: Config, workspace: Workspace, data: Path | None, labels: Hashable) -> Study:
    with alone(workspace, DATA):
        prepared = prepare(config, workspace, data)
    return Study(config, workspace, prepared.dataset, prepared.source, prepared.splits, prepared.arrived,
                 prepared.listed)


def _labels(workspace: Workspace) -> Hashable:
    """Which labels have come back from people by now: with others the study is opened anew."""
    found = ((path, path.stat()) for path in labelled_files(workspace))
    return tuple((str(path), seen.st_mtime_ns, seen.st_size) for path, seen in found)


def forget_studies() -> None:
    """Has the next task look at the data anew, as another process would."""
    _open.cache_clear()
