"""Writes docs/settings.md: every setting with its default and meaning, as mgral/config/ has them.

    python docs/settings.py        # tests/test_settings_page.py fails when the page is not what this would write
"""

from __future__ import annotations

import ast
import inspect
import itertools
from pathlib import Path
from typing import get_args

import yaml
from pydantic import BaseModel

from mgral import config

HEAD = """\
# Settings

For who edits `params.yaml`. There are {count}, and a run needs none of them: what a file leaves out has its default.
`mgral check --params FILE` names every setting that is unknown, of the wrong type or out of range, with its line.
Words: [glossary.md](glossary.md). This page is made from `mgral/config/` by `python docs/settings.py`.
"""


def page() -> str:
    """The whole page."""
    sections = [*_sections("", config.Config)]
    count = sum(len(rows) for _, _, rows in sections)
    return HEAD.format(count=count) + "".join(
        f"\n## {name or 'top level'}\n\n{about}| setting | default | meaning |\n|---|---|---|\n" + "".join(rows)
        for name, about, rows in sections)


def _sections(name: str, model: type[BaseModel]):
    """Name, introduction and rows of a section, then those of the sections in it."""
    meanings, rows, inner = _meanings(model), [], []
    for setting, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            inner.append((f"{name}.{setting}".lstrip("."), field.annotation))
        else:
            rows.append(f"| `{setting}` | {_value(field.default)} | {_cell(meanings.get(setting, ''), field)} |\n")
    about = f"{' '.join(vars(model)['__doc__'].split())}\n\n" if name and vars(model).get("__doc__") else ""
    yield name, about, rows
    for within, of in inner:
        yield from _sections(within, of)


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """The text that follows each setting in the source."""
    body = ast.parse(inspect.getsource(model)).body[0].body
    return {before.target.id: " ".join(after.value.value.split()) for before, after in itertools.pairwise(body)
            if isinstance(before, ast.AnnAssign) and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)}


def _cell(meaning: str, field) -> str:
    """The meaning, and the choices where it does not name them all."""
    choices = [f"`{choice}`" for choice in _choices(field.annotation)]
    named = "" if all(choice in meaning for choice in choices) else f"Choices: {', '.join(choices)}."
    return f"{meaning} {named}".strip().replace("|", "\\|")


def _choices(annotation) -> list[str]:
    """Texts that a setting may be, also as one of several."""
    found = []
    for argument in get_args(annotation):
        found += [argument] if isinstance(argument, str) else _choices(argument)
    return list(dict.fromkeys(found))


def _value(default: object) -> str:
    if default is None:
        return "none"
    plain = list(default) if isinstance(default, tuple) else default
    text = yaml.safe_dump(plain, default_flow_style=True, width=1000).removesuffix("...\n").strip()
    return f"`{text}`"


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(page(), encoding="utf-8")
