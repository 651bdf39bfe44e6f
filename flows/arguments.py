"""What all commands share: their arguments, the job they make of them, and how they end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mgral.errors import MgralError
from mgral.progress import Lines, Progress, current

if TYPE_CHECKING:
    from tasks.job import Job


def command(commands, name: str, work: Callable[[argparse.Namespace], None], what: str) -> argparse.ArgumentParser:
    """Adds a command with the arguments that all have."""
    made = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    made.set_defaults(work=work)
    add_run(made)
    return made


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE",
                        help="settings of the run (default: params.yaml)")
    parser.add_argument("--workdir", type=Path, default=Path("."), metavar="DIR",
                        help="everything the run writes lies under it (default: .)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the data set, instead of data.root")


def add_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, metavar="S", help="one of study.seeds (default: the first)")


def as_given(options: argparse.Namespace | Job) -> str:
    """The options of a command, for the next command that is proposed."""
    given = {"params": "params.yaml", "workdir": ".", "data": None}
    return "".join(f" --{name} {value}" for name, default in given.items()
                   if (value := getattr(options, name)) is not None and str(value) != str(default))


def add_cycle(parser: argparse.ArgumentParser, meant: str = "", waiting: bool = False) -> None:
    """Which cycle of which strategy and seed: by default the first, or as `meant` says the one that waits, and only
    such a one where it has to be `waiting`."""
    add_seed(parser)
    parser.set_defaults(waiting=waiting)
    parser.add_argument("--strategy", metavar="NAME", help="one of study.strategies (default: the first)")
    parser.add_argument("--cycle", type=int, default=None if meant else 1, metavar="N",
                        help=meant or "which cycle, from 1 (default: 1)")


def job_from(options: argparse.Namespace, first: int = 1, without_params: bool = False) -> Job:
    """What the command line says to work on; `first` is the least cycle that makes sense. `without_params`: where there
    is no params.yaml, data that --data names are taken with the defaults."""
    params = options.params
    if getattr(options, "cycle", 1) is None:
        options.cycle = _meant_cycle(options)
    if without_params and params == Path("params.yaml") and not params.exists() and options.data is not None:
        params = None
    return job_of(params, options.workdir, options.data, getattr(options, "strategy", None),
                  getattr(options, "cycle", 1), getattr(options, "seed", None), first)


def job_of(params: Path | None, workdir: Path, data: Path | None, strategy: str | None = None, cycle: int = 1,
           seed: int | None = None, first: int = 1) -> Job:
    """Reads the settings and says what to work on: the study's first strategy and seed where none is given.

    Raises:
        ConfigError: the settings cannot be used, the study has no such strategy, cycle or seed, or no use for data.
    """
    from mgral.config import Config
    from mgral.errors import ConfigError
    from mgral.params import read_config
    from mgral.strategies import check

    config = Config() if params is None else read_config(params)
    study = config.study
    check(study.strategies)
    strategy = study.strategies[0] if strategy is None else strategy
    seed = study.seeds[0] if seed is None else seed
    if strategy not in study.strategies:
        raise ConfigError(f"--strategy: expected one of {params}'s study ({', '.join(study.strategies)}), got "
                          f"{strategy}")
    if seed not in study.seeds:
        raise ConfigError(f"--seed: expected one of {', '.join(map(str, study.seeds))} (study.seeds in {params}), got "
                          f"{seed}")
    if data is not None and config.data.format == "synthetic":
        raise ConfigError(f"--data: expected none, as data.format in {params} is synthetic and draws its own images, "
                          f"got {data}; set data.format to that of the data set")
    if not first <= cycle <= study.cycles:
        raise ConfigError(f"--cycle: expected {first} to {study.cycles} (study.cycles in {params}), got {cycle}")
    from tasks.job import Job

    return Job(config, workdir, data, strategy, cycle, seed, params or Path("params.yaml"))


def _meant_cycle(options: argparse.Namespace) -> int:
    """The cycle that is meant where none is named: the one that waits; else the last that has a batch, or to import
    into the only one; to take an import back, the last one that has labels.

    Raises:
        ConfigError: none is.
    """
    from mgral.errors import ConfigError
    from mgral.params import read_config
    from mgral.study.status import standing
    from mgral.study.workspace import Workspace

    study = read_config(options.params).study
    strategy, seed = options.strategy or study.strategies[0], study.seeds[0] if options.seed is None else options.seed
    begun = standing(Workspace(options.workdir, study.name, seed), strategy, study.cycles)
    fitting, what = list(begun.cycles), "has a batch"
    if getattr(options, "undo", False):
        fitting, what = [cycle for cycle in begun.cycles if cycle.labels is not None], "has labels of people"
    elif begun.waiting is not None:
        return begun.waiting.cycle
    elif options.waiting and len(fitting) > 1:
        fitting, what = [], "waits for people"
    if not fitting:
        raise ConfigError(f"--cycle: expected one, as no cycle of {strategy} {what}; `mgral status` says where the "
                          "study stands")
    return fitting[-1].cycle


def guarded(work: Callable[[], object]) -> None:
    """Runs a command that says how far it is; a fault of the world ends it with one line a problem and status 2."""
    current.set(Progress(Lines()))
    try:
        work()
    except MgralError as error:
        for problem in error.problems:
            print(f"mgral: {problem}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("mgral: interrupted; the same command goes on where it was", file=sys.stderr)
        sys.exit(130)
