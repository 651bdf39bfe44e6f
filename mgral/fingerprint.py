"""One fingerprint names a piece of work everywhere: database key, file name, MLflow tag.

fingerprint = sha256(what it builds on, canonical settings, seed, code version). Two runs with the same fingerprint
would compute the same thing, so the second reuses the first.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel

from mgral.files import canonical_json, sha256

ROOT = Path(__file__).parents[1]
ENTRIES = {
    "detector": "mgral.training.detectors", "inspection": "mgral.training.detectors",
    "maps": "mgral.detection.kept", "trial": "mgral.comparison.partial_labels",
    "experiment": "mgral.experiments.sources", "scope": "mgral.experiments.sources",
    "shortlist": "mgral.pool.shortlist", "search": "mgral.search.strategy"}
"""By kind of work the module that does it: its source, and that of all it imports, decides what comes out."""
SETTLED = ("mgral.config", "mgral.errors", "mgral.findings", "mgral.fingerprint", "mgral.progress", "mgral.files",
           "mgral.experiments.store")
"""Modules that decide nothing by their code: settings count by their values, and books are kept alike."""


@functools.cache
def code_version(kind: str) -> str:
    """Hash of all source that this kind of work runs through: an edit there makes old results count as other work."""
    digest = hashlib.sha256()
    for name in sorted(_reached(ENTRIES[kind])):
        digest.update(name.encode() + b"\0" + _path(name).read_bytes() + b"\0")
    return digest.hexdigest()


def fingerprint(kind: str, *parts: str | int | BaseModel | Sequence[str]) -> str:
    """sha256 over the kind of work, the version of its code and the parts, each in canonical form."""
    return sha256(kind, code_version(kind), *(_canonical(part) for part in parts))


def _reached(entry: str) -> set[str]:
    """The module and all modules of mgral that it imports, directly or not."""
    reached, waiting = set(), [entry]
    while waiting:
        name = waiting.pop()
        if name not in reached and name not in SETTLED:
            reached.add(name)
            waiting += _imports(name)
    return reached


@functools.cache
def _imports(module: str) -> tuple[str, ...]:
    tree = ast.parse(_path(module).read_text(encoding="utf-8"))
    return tuple(name for node in ast.walk(tree) for name in _named(node) if _path(name).is_file())


def _named(node: ast.AST) -> Iterator[str]:
    """Modules of mgral that a statement imports, those that `from package import module` names included."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.startswith("mgral."))
    elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mgral":
        yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def _path(module: str) -> Path:
    path = ROOT / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _canonical(part: str | int | BaseModel | Sequence[str]) -> str:
    return canonical_json(part.model_dump(mode="json") if isinstance(part, BaseModel) else part)
