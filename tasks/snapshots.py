"""DVC: makes a stage that was run outside of DVC count as done. The only module that knows DVC."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import yaml

from mgral.progress import current

CONFLICT = re.compile(r"^(<<<<<<<|=======|>>>>>>>)( .*)?$", re.MULTILINE)
"""What git leaves of a merge for people to decide."""


def commit_stage(root: Path, stage: str, params: Path) -> bool:
    """Writes what a stage's files now are into dvc.lock, as `dvc commit -f STAGE` does.

    Does nothing, and returns False, inside a running DVC stage (DVC itself commits it), where `root` is no DVC
    project or not the current folder, where its dvc.yaml has no such stage, or where the run was described by
    another file than the project's own params.yaml. What DVC refuses to record is said, and the study goes on.
    """
    ours = params.resolve() == (root / "params.yaml").resolve()
    if "DVC_STAGE" in os.environ or not ours or not (root / ".dvc").is_dir() or not (root / "dvc.yaml").is_file():
        return False
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.WARNING)  # else it reports every lock file it writes, twice
    try:
        with Repo(str(root)) as repo:
            if stage not in {known.addressing for known in repo.index.stages}:  # relative to the current folder
                return False
            repo.commit(stage, force=True)
    except DvcException as error:
        if damage := _damage(root / "dvc.lock") or _damage(root / "dvc.yaml"):
            current.get().note(f"{damage}; stage {stage} is not recorded: mend the file, then `dvc commit {stage}`")
            return False
        current.get().note(f"{root / 'dvc.yaml'}: expected DVC to record stage {stage}, got: {error}; `mgral dvc` "
                           f"writes dvc.yaml anew, `dvc commit {stage}` records the stage later")
        return False
    return True


def _damage(path: Path) -> str | None:
    """The line at which a file of DVC's stops being YAML; DVC itself names the file alone."""
    try:
        text = path.read_text(encoding="utf-8")
        if found := CONFLICT.search(text):
            line = text.count("\n", 0, found.start()) + 1
            return f"{path}:{line}: expected YAML, got what git left of a merge ({found[0]!r})"
        yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        return None if isinstance(error, FileNotFoundError) else f"{path}: expected a text file, got {error}"
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        return f"{path}:{mark.line + 1 if mark else 1}: expected YAML, got {getattr(error, 'problem', None) or error}"
    return None
