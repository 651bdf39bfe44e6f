"""What all commands share: their arguments, and how they end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mgral.errors import MgralError
from mgral.study.progress import LineProgress, current

if TYPE_CHECKING:
    from mgral.study.opened import Job


def parser(description: str, cycle: bool = False, parent: argparse.ArgumentParser | None = None,
           ) -> argparse.ArgumentParser:
    """--params, --workdir and --data, and with `cycle` also --strategy and --cycle."""
    made = parent or argparse.ArgumentParser(description=description)
    made.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE",
                      help="settings of the run (default: params.yaml)")
    made.add_argument("--workdir", type=Path, default=Path("."), metavar="DIR",
                      help="everything the run writes lies under it (default: .)")
    made.add_argument("--data", type=Path, metavar="DIR", help="folder of the data set, instead of data.root")
    if cycle:
        made.add_argument("--strategy", help="default: study.strategy")
        made.add_argument("--cycle", type=int, default=1, metavar="N", help="which cycle, from 1 (default: 1)")
    return made


def job_of(params: Path, workdir: Path, data: Path | None, strategy: str | None = None, cycle: int = 1) -> Job:
    """Reads the settings and says what to work on.

    Raises:
        ConfigError: the settings cannot be used, or the study has no such strategy or cycle.
    """
    from mgral.errors import ConfigError
    from mgral.params import read_config

    config = read_config(params)
    study = config.study
    strategy = strategy or study.strategy
    known = (study.strategy, *study.baselines)
    if strategy not in known:
        raise ConfigError(f"--strategy: expected one of {params}'s study ({', '.join(known)}), got {strategy}")
    if not 1 <= cycle <= study.cycles:
        raise ConfigError(f"--cycle: expected 1 to {study.cycles} (study.cycles in {params}), got {cycle}")
    from mgral.study.opened import Job  # heavy, and not needed to find a fault in the settings

    return Job(config, workdir, data, strategy, cycle, params)


def guarded(work: Callable[[], object]) -> None:
    """Runs a command that says how far it is; a fault of the world ends it with one line a problem and status 2."""
    current.set(LineProgress())
    try:
        work()
    except MgralError as error:
        for problem in error.problems:
            print(f"mgral: {problem}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("mgral: interrupted; the same command goes on where it was", file=sys.stderr)
        sys.exit(130)
