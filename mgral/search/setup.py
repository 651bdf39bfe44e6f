"""What the strategy `mgral` works with beyond a view of the pool: experiments, their table, and its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mgral.config import SearchConfig, SemisupConfig, TableConfig
from mgral.data.dataset import Boxes, ImageId
from mgral.experiments import sources
from mgral.experiments.runner import ExperimentRunner, Provenance
from mgral.experiments.store import Table
from mgral.files import read_json, write_json
from mgral.fingerprint import fingerprint
from mgral.pool.inspection import Inspection
from mgral.pool.shortlist import shortlist
from mgral.pool.statistics import uncertainty
from mgral.progress import current
from mgral.randomness import derived_seed
from mgral.training.detectors import Detectors


@dataclass(frozen=True, eq=False)
class Setup:
    """`detector` names the cycle's detector among `detectors`, which was trained on the boxes of `labelled`. Rewards
    are measured on the images of `reward` and on nothing else; `pool_truth` and `test` are there where true gains are
    asked for, which nothing is chosen by. `splits` is the hash of the splits, `cache` the folder of what can be
    computed again.
    """

    config: TableConfig
    search: SearchConfig
    semisup: SemisupConfig
    detectors: Detectors
    detector: str
    table: Table
    provenance: Provenance
    budget: int
    splits: str
    labelled: Mapping[ImageId, Boxes]
    reward: Mapping[ImageId, Boxes]
    cache: Path
    true_gains: int = 0
    pool_truth: Mapping[ImageId, Boxes] | None = None
    test: Mapping[ImageId, Boxes] | None = None

    def seed(self, *purpose: str | int) -> int:
        """A seed of its own for each purpose; by no hash of names or boxes, for in another layout the same pictures are
        to be chosen alike."""
        return derived_seed(self.provenance.seed, *purpose)

    def runner(self, inspection: Inspection, pool: Sequence[ImageId],
               labels: sources.PseudoLabels | None = None) -> ExperimentRunner:
        """Experiments of the source that the settings name, on batches of these images.

        `labels` gives pseudo labels to the sources that learn from some; when absent what the detector is sure of.
        """
        labels = labels or sources.sure(inspection, self.config.pseudo_label)
        if self.config.source == "semisupervised":
            source = sources.semisupervised(self.detector, self.labelled, self.semisup)
        elif self.config.source == "anew":
            others = [image_id for image_id in inspection.ids if image_id not in self.reward]
            source = sources.anew(self.labelled, labels(pool), others)
        else:
            source = sources.student(self.detectors, self.detector, self.labelled, self.semisup, labels(pool))
        return self._open(source, self.reward)

    def true_runner(self) -> ExperimentRunner:
        """The next cycle's detector with true labels, measured on the test split."""
        return self._open(sources.truth(self.labelled, self.pool_truth, (*self.labelled, *self.pool_truth)), self.test)

    def looked_at(self, inspection: Inspection, pool: tuple[ImageId, ...],
                  labelled: tuple[ImageId, ...]) -> tuple[ImageId, ...]:
        """The images of the pool that table and search look at: the shortlist, if there is to be one, made once."""
        size = self.config.shortlist
        if size is None or size >= len(pool):
            return pool
        seed = self.seed("shortlist")
        name = fingerprint("shortlist", inspection.name, labelled, sorted(pool), size, seed)
        path = self.cache / "shortlists" / f"{name[:32]}.json"
        if not path.exists():
            rows = shortlist(inspection.embedding, inspection.rows(labelled), size, seed, uncertainty(inspection),
                             inspection.rows(pool))
            write_json(path, [inspection.ids[row] for row in rows])
            current.get().note(f"{size:,} of {len(pool):,} images shortlisted.")
        return tuple(read_json(path))

    def _open(self, source: sources.Source, measured_on: Mapping[ImageId, Boxes]) -> ExperimentRunner:
        return sources.open_runner(source, self.table, self.detectors, self.config, self.splits, measured_on,
                                   self.provenance, self.cache / "experiments")
