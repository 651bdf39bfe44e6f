"""Where a study's files lie. Everything a run writes lies under one working directory.

    WORKDIR/
      mlruns/                      MLflow's database and artifacts
      runs/table.db                the lookup table, shared by all studies of the directory
      runs/cache/                  what can be computed again: decoded images, detectors, inspections, searches
      runs/STUDY/report/           results, table and learning curves of all seeds
      runs/STUDY/seed-S/
        scenes/                    synthetic scenes, when the study has no data set of its own
        first/                     the first batch, where nothing is labelled yet
        prepared/                  splits and the first snapshot
        STRATEGY/CYCLE/            what a cycle decided: snapshot, batch, result
        export/                    batches in other formats, as `mgral export` wrote them
        waiting/, pulled/, export/ flow runs that wait for people; what came from Label Studio and went to other tools
        images.json                what each image file held when it joined
        seconds/                   how long each cycle took
      batches/STUDY/seed-S/
        STRATEGY-N/, first/        what people were asked to label in cycle N, and what they labelled

What people did lies in `batches/` alone: it is small text, for git. All else can be computed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mgral.config import StudyConfig, folder_name


@dataclass(frozen=True, slots=True)
class Workspace:
    """The paths of one seed of a study."""

    root: Path
    study: str
    seed: int

    @property
    def mlruns(self) -> Path:
        return self.root / "mlruns"

    @property
    def table(self) -> Path:
        return self.root / "runs" / "table.db"

    @property
    def folder(self) -> Path:
        return self.root / "runs" / self.study

    @property
    def seed_folder(self) -> Path:
        return self.folder / f"seed-{self.seed}"

    @property
    def scenes(self) -> Path:
        return self.seed_folder / "scenes"

    @property
    def prepared(self) -> Path:
        return self.seed_folder / "prepared"

    @property
    def splits(self) -> Path:
        return self.prepared / "splits.json"

    @property
    def source(self) -> Path:
        """What the splits were drawn from: a later run checks that it is still the same data set."""
        return self.prepared / "source.json"

    @property
    def first(self) -> Path:
        """The batch that is labelled before there is anything to learn from."""
        return self.seed_folder / "first"

    @property
    def report(self) -> Path:
        return self.folder / "report"

    @property
    def final(self) -> Path:
        """What the last detectors reach, without times, which differ from run to run."""
        return self.report / "final.json"

    def cycle(self, strategy: str, cycle: int) -> Path:
        """The folder of a cycle; cycle 0 is the state before the first, the same for every strategy."""
        return self.seed_folder / folder_name(strategy) / str(cycle) if cycle else self.prepared

    def choice(self, strategy: str, cycle: int) -> Path:
        """The batch that a cycle chose, and what it was chosen by: people may be at work on it."""
        return self.cycle(strategy, cycle) / "choice.json"

    @property
    def batches(self) -> Path:
        """What passes between mgral and people: no run and no DVC stage removes anything of it."""
        return self.root / "batches" / self.study / f"seed-{self.seed}"

    def batch(self, strategy: str, cycle: int) -> Path:
        """The folder of a batch that people were asked to label; cycle 0 is the first batch, of no strategy."""
        return self.batches / (f"{folder_name(strategy)}-{cycle}" if cycle else "first")

    def handed_out(self, strategy: str, cycle: int) -> Path:
        """The record of a batch as it was handed out."""
        return self.batch(strategy, cycle) / "batch.json"

    def export(self, strategy: str, cycle: int, kind: str) -> Path:
        """The folder of a batch in another format; it may hold copies of images."""
        return self.seed_folder / "export" / f"{self.batch(strategy, cycle).name}-{kind}"

    def waiting(self, strategy: str, cycle: int) -> Path:
        """Which flow run waits for the labels of a batch."""
        return self.seed_folder / "waiting" / f"{folder_name(strategy)}-{cycle}.json"

    def snapshot(self, strategy: str, cycle: int) -> Path:
        return self.cycle(strategy, cycle) / "snapshot.json"

    def annotations(self, strategy: str, cycle: int) -> Path:
        return self.cycle(strategy, cycle) / "annotations.json"

    def seconds(self, strategy: str, cycle: int) -> Path:
        """Times differ from run to run, so they stay out of every versioned folder."""
        return self.seed_folder / "seconds" / f"{folder_name(strategy)}-{cycle}.json"

    @property
    def corrections(self) -> Path:
        """Where mgral 0.5 and older kept what people have corrected; it is still read."""
        return self.seed_folder / "corrections.json"

    @property
    def pixels(self) -> Path:
        """What each image file held when it joined."""
        return self.seed_folder / "images.json"

    @property
    def cache(self) -> Path:
        return self.root / "runs" / "cache"

    def cached(self, kind: str, fingerprint: str, ending: str) -> Path:
        return self.cache / kind / f"{fingerprint[:32]}{ending}"

    @property
    def locks(self) -> Path:
        """Which process works on what, in no versioned folder."""
        return self.cache / "locks"

    @property
    def images(self) -> Path:
        return self.cache / "images"

    @property
    def heads(self) -> Path:
        """What is known of image files that were looked at before."""
        return self.cache / "heads"


def options_of(study: StudyConfig, strategy: str, seed: int) -> str:
    """What the command line needs to find a strategy and a seed, where they are not the study's first."""
    return (f" --strategy {strategy}" if strategy != study.strategies[0] else "") + (
        f" --seed {seed}" if seed != study.seeds[0] else "")
