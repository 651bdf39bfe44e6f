"""`mgral status`: where every study stands, what it waits for, and what to type next."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from flows.arguments import as_given, command
from mgral.errors import ConfigError


def add(commands) -> None:
    command(commands, "status", _status, "say where every study stands, what it waits for and what to type next")


def _status(options: Namespace) -> None:
    from mgral.params import read_config

    if not options.params.exists():
        raise ConfigError(f"{options.params}: expected the settings of a study, got no file; `mgral init DIR` writes "
                          "them for a folder of images, or name another file: --params")
    config = read_config(options.params)
    print("\n".join(_study(options, config)))
    others = sorted(_studies(options.workdir) - {config.study.name})
    if others:
        print(f"Other studies here: {', '.join(others)} (`mgral status --params FILE` with their settings)")


def _study(options: Namespace, config):
    from mgral.report.standing import in_words, next_step
    from mgral.study.status import standing
    from mgral.study.workspace import Workspace, options_of

    study, standings, spaces, found = config.study, [], [], []
    yield f"study {study.name} ({options.params}): {study.cycles} cycles of {study.budget} images"
    for seed in study.seeds:
        for strategy in study.strategies:
            space = Workspace(options.workdir, study.name, seed)
            at = standing(space, strategy, study.cycles)
            standings.append(at)
            spaces.append(space)
            found.append(options_of(study, strategy, seed))
            yield from in_words(space, at)
    yield f"next: {next_step(standings, spaces, found, as_given(options))}"


def _studies(workdir: Path) -> set[str]:
    folders = [*(workdir / "runs").glob("*/seed-*"), *(workdir / "batches").glob("*/seed-*")]
    return {folder.parent.name for folder in folders}
