"""Which project of which Label Studio a batch was sent to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from mgral.data.formats.reading import shown
from mgral.errors import StateError
from mgral.files import read_json, write_json
from mgral.study.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Place:
    """A project of a server. It lies beside the batch, for colleagues who pull; there is no secret in it."""

    url: str
    project: int

    @property
    def page(self) -> str:
        return f"{self.url}/projects/{self.project}"

    def write(self, path: Path) -> None:
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Place:
        """Raises StateError for a damaged file."""
        try:
            values = read_json(path)
            place = cls(**values)
            if isinstance(place.url, str) and type(place.project) is int:
                return place
            got = shown(values)
        except (OSError, ValueError, TypeError) as error:
            got = str(error)
        raise StateError(f"{path}: expected where the batch was sent, as `mgral push` wrote it, got {got}; restore the "
                         "file")


def place_of(workspace: Workspace, strategy: str, cycle: int) -> Path:
    return workspace.batch(strategy, cycle) / "label-studio.json"


def page_of(workspace: Workspace, strategy: str, cycle: int) -> str | None:
    """The address of the project that a batch was sent to, if it was.

    Raises:
        StateError: the file that says so was damaged.
    """
    path = place_of(workspace, strategy, cycle)
    return Place.read(path).page if path.exists() else None
