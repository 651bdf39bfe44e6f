"""What Prefect's UI shows of a cycle; outside a flow run there is nobody to show it to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks.engine import in_flow_run


def show_table(key: str, rows: Sequence[Mapping[str, Any]], description: str) -> None:
    if in_flow_run():
        create_table_artifact([dict(row) for row in rows], key=_key(key), description=description)


def show_text(key: str, markdown: str, description: str) -> None:
    if in_flow_run():
        create_markdown_artifact(markdown, key=_key(key), description=description)


def _key(name: str) -> str:
    """Prefect takes lower-case letters, digits and dashes."""
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")
