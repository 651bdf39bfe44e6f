"""The job that a task is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mgral.config import Config, folder_name
from mgral.study.workspace import Workspace, options_of


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
