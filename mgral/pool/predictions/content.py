"""The text of files that other programs wrote, or a problem."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from mgral.findings import Findings

MOST = 80


def load_json(path: Path, what: str, findings: Findings, hook: Callable[[dict], object] | None = None) -> object:
    """A file's JSON, each object put through `hook`, or None and one more problem."""
    if not _is_file(path, what, findings):
        return None
    try:
        return json.loads(path.read_bytes(), object_hook=hook)
    except json.JSONDecodeError as error:
        findings.problem(f"{path}:{error.lineno}: expected JSON, got an error at column {error.colno} ({error.msg}); "
                         "write the file again")
    except (RecursionError, ValueError, OSError) as error:
        reason = "JSON nested too deeply" if isinstance(error, RecursionError) else error
        findings.problem(f"{path}: expected {what} as JSON, got {reason}; write the file again")
    return None


def load_text(path: Path, what: str, findings: Findings) -> str | None:
    """A file's text, UTF-8, or None and one more problem."""
    if not _is_file(path, what, findings):
        return None
    try:
        return path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        findings.problem(f"{path}: expected {what} as UTF-8 text, got {error}; write the file again", "not text")
        return None


def shown(value: object) -> str:
    """A value as a message quotes it: short, whatever it is."""
    text = repr(value)
    return text if len(text) <= MOST else f"{text[:MOST]}…"


def _is_file(path: Path, what: str, findings: Findings) -> bool:
    if path.is_file():
        return True
    got = "something that is no file" if path.exists() else "nothing there"
    findings.problem(f"{path}: expected {what}, got {got}; check the path")
    return False
