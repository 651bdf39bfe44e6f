"""`mgral dvc`: writes dvc.yaml from params.yaml."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from flows.arguments import command
from mgral.errors import ConfigError

if TYPE_CHECKING:
    from mgral.config import Config

STAGES = "dvc.yaml"
CODE = ("mgral", "flows", "tasks")
"""Folders of source on which every stage depends, where they lie beside params.yaml."""


def add(commands) -> None:
    made = command(commands, "dvc", _dvc, "write dvc.yaml, a stage for each piece of the study, beside params.yaml")
    made.add_argument("--force", action="store_true", help="write over a dvc.yaml that `mgral dvc` did not make")


def _dvc(options: Namespace) -> None:
    from mgral.files import writing
    from mgral.params import read_config
    from mgral.study.plan import dvc_yaml

    params = options.params
    if params.name != "params.yaml":
        raise ConfigError(f"{params}: expected a file called params.yaml, where DVC looks for settings, got "
                          f"{params.name}; copy it")
    config, path = read_config(params), params.parent / STAGES
    if path.exists() and not options.force and not _is_ours(path):
        raise ConfigError(f"{path}: expected no file or one that `mgral dvc` made, got another; move its stages "
                          "elsewhere, or write over it with --force")
    with writing(path) as temporary:
        temporary.write_text(dvc_yaml(config, _code(params), params.parent), encoding="utf-8")
    print(f"{path}: stages of study {config.study.name}; `dvc repro` runs them")


def renew_stages(workdir: Path, params: Path, config: Config) -> None:
    """Writes the stages anew, if `mgral dvc` made them, where labels came or went on which they depend."""
    from mgral.files import writing
    from mgral.study.plan import dvc_yaml

    path = workdir / STAGES
    if not (params.name == "params.yaml" and params.resolve().parent == workdir.resolve() and path.exists()
            and _is_ours(path)):
        return
    text = dvc_yaml(config, _code(params), workdir)
    if path.read_text(encoding="utf-8") != text:
        with writing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def check_stages(params: Path, config: Config) -> None:
    """Checks that the dvc.yaml beside the params file, where `mgral dvc` made one, is what it would make now.

    Raises:
        ConfigError: it is not.
    """
    import yaml

    from mgral.study.plan import dvc_yaml

    path = params.parent / STAGES
    if params.name != "params.yaml" or not path.exists() or not _is_ours(path):
        return
    try:
        agrees = yaml.safe_load(path.read_text(encoding="utf-8")) == yaml.safe_load(
            dvc_yaml(config, _code(params), params.parent))
    except yaml.YAMLError:
        agrees = False
    if not agrees:
        given = "" if params == Path("params.yaml") else f" --params {params}"
        raise ConfigError(f"{path}: expected the stages of {params}, got others; type `mgral dvc{given}` to write them "
                          "anew")


def _code(params: Path) -> list[str]:
    return [folder for folder in CODE if (params.parent / folder).is_dir()]


def _is_ours(path: Path) -> bool:
    from mgral.study.plan import HEADER

    return path.read_text(encoding="utf-8").startswith(HEADER.splitlines()[0])
