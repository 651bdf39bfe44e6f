"""Reads settings, from a params file or the command line, and says what is wrong with them, a line each."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from mgral.config import Config
from mgral.errors import ConfigError


def read_config(path: Path) -> Config:
    """Reads and checks a params file.

    Raises:
        ConfigError: no such file, not YAML, or a setting that is unknown, of the wrong type or out of range: one
            line each with file and line number, all of them at once.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: expected a params file, got {error.strerror or error}") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: expected YAML, got {getattr(error, 'problem', None) or error}") from error
    if values is not None and not isinstance(values, dict):
        raise ConfigError(f"{path}:1: expected sections such as `data:`, got {type(values).__name__}")
    try:
        return Config.model_validate(_with_tuples(values or {}))
    except ValidationError as error:
        raise ConfigError(*(_problem(path, node, details) for details in error.errors())) from error


def with_options(config: Config, section: str, options: Mapping[str, str | None]) -> Config:
    """The settings with some of a section given as text on the command line; None leaves a setting as it is.

    A setting of several values takes them with commas between.

    Raises:
        ConfigError: a value of the wrong type or out of range, all of them.
    """
    values = config.model_dump()
    for name, text in options.items():
        if text is not None:
            several = isinstance(values[section][name], tuple)
            try:
                values[section][name] = _with_tuples(yaml.safe_load(f"[{text}]" if several else text))
            except yaml.YAMLError as error:
                raise ConfigError(f"{section}.{name}: expected {'values' if several else 'a value'}, got {text!r}"
                                  ) from error
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(*(f"{'.'.join(map(str, details['loc']))}: {_fault(details)}"
                            for details in error.errors())) from error


def _with_tuples(value):
    """YAML knows lists only; the frozen sections hold tuples."""
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(_with_tuples(item) for item in value) if isinstance(value, list) else value


def _problem(path: Path, node: yaml.Node | None, error: dict) -> str:
    keys = [key for key in error["loc"] if not (isinstance(key, str) and "[" in key)]
    name = ".".join(str(key) for key in keys) or "params"
    where = f"{path}:{_line(node, keys)}: {name}"
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown setting{_hint(keys)}"
    return f"{where}: {_fault(error)}"


def _fault(error: dict) -> str:
    if error["type"] == "value_error":  # our own validators word the whole sentence
        return str(error["ctx"]["error"])
    return f"{_expectation(error['msg'])}, got {error['input']!r}"


def _expectation(message: str) -> str:
    """pydantic says "Input should be …"; the rest of mgral says "expected …"."""
    expected = message.removeprefix("Input should be ")
    return f"expected {'a number ' if expected.startswith(('greater', 'less')) else ''}{expected}"


def _line(node: yaml.Node | None, keys: list) -> int:
    line = 1
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                if name.value == str(key):
                    line, node = name.start_mark.line + 1, value
                    break
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
    return line


def _hint(keys: list) -> str:
    section = Config
    for key in keys[:-1]:
        field = section.model_fields.get(str(key))
        if field is None or not isinstance(field.annotation, type):
            return ""
        section = field.annotation
    known = list(section.model_fields)
    close = difflib.get_close_matches(str(keys[-1]), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; expected one of {', '.join(known)}"
