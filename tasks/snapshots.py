"""DVC: makes a stage that was run outside of DVC count as done. The only module that knows DVC."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from mgral.errors import StateError


def commit_stage(root: Path, stage: str, params: Path) -> bool:
    """Writes what a stage's files now are into dvc.lock, as `dvc commit -f STAGE` does.

    Does nothing, and returns False, inside a running DVC stage (DVC itself commits it), where `root` is no DVC
    project, where its dvc.yaml has no such stage, or where the run was described by another file than the
    project's own params.yaml.
    """
    ours = params.resolve() == (root / "params.yaml").resolve()
    if "DVC_STAGE" in os.environ or not ours or not (root / ".dvc").is_dir() or not (root / "dvc.yaml").is_file():
        return False
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.WARNING)  # else it reports every lock file it writes, twice
    try:
        with Repo(str(root)) as repo:
            if stage not in {one.addressing for one in repo.index.stages}:
                return False
            repo.commit(stage, force=True)
    except DvcException as error:
        raise StateError(f"{root / 'dvc.yaml'}: expected DVC to record stage {stage}, got: {error}") from error
    return True
