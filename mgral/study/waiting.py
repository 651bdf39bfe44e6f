"""Which flow run waits for people: kept beside the study's files, so that `mgral import` finds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from mgral.files import read_json, write_json
from mgral.study.workspace import Workspace


@dataclass(frozen=True, slots=True)
class WaitingRun:
    """A suspended flow run: its id and name, the address of its server's API, and the key of the suspension, under
    which the server keeps what is typed on resuming."""

    flow_run: str
    name: str
    api: str
    key: str

    @property
    def page(self) -> str:
        return f"{self.api.removesuffix('/').removesuffix('/api')}/runs/flow-run/{self.flow_run}"

    def write(self, path: Path) -> None:
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> WaitingRun | None:
        """None where no run waits, or nothing that can be read says which."""
        try:
            values = read_json(path)
        except (OSError, ValueError, RecursionError):
            return None
        names = cls.__dataclass_fields__
        if not isinstance(values, dict) or values.keys() != names.keys():
            return None
        return cls(**values) if all(isinstance(value, str) for value in values.values()) else None


def waiting_runs(workspace: Workspace, strategy: str, cycle: int) -> Iterator[tuple[Path, WaitingRun]]:
    """The flow runs that wait for the labels of a batch, with the files that say so: of each strategy for the first
    batch, which all begin with."""
    path = workspace.waiting(strategy, cycle)
    for found in [path] if cycle else sorted(path.parent.glob("*-0.json")):
        if run := WaitingRun.read(found):
            yield found, run
