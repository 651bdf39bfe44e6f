"""Reads settings, from a params file or the command line, and says what is wrong with them, a line each."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from pydantic import ValidationError

from mgral.config import Config
from mgral.errors import ConfigError
from mgral.yaml import Document, read_document, read_yaml, shortened

MOST_FAULTS = 20
"""Lines of faults of a params file that are shown."""
EXPONENT = re.compile(r"[-+]?[0-9]{1,20}(\.[0-9]{0,20})?[eE][-+]?[0-9]{1,2}", re.ASCII)
"""A number that YAML takes for text unless it has a point and its exponent a sign."""


def read_config(path: Path) -> Config:
    """Reads and checks a params file.

    Raises:
        ConfigError: no such file, not plain YAML, or a setting that is unknown, of the wrong type or out of range: one
            line each with file and line number, all of them at once.
    """
    document = read_document(path, "a params file")
    values = document.value
    if values is not None and not isinstance(values, dict):
        raise ConfigError(f"{path}:1: expected sections such as `data:`, got {type(values).__name__}")
    try:
        return Config.model_validate(_with_tuples(values or {}))
    except ValidationError as error:
        raise ConfigError(*_problems(error, lambda details: _problem(path, document, details))) from error


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
                values[section][name] = _with_tuples(read_yaml(f"[{text}]" if several else text, name))
            except ConfigError as error:
                raise ConfigError(f"{section}.{name}: expected {'values' if several else 'a value'}, got "
                                  f"{_shown(text)}") from error
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(*_problems(error, lambda details: f"{_name(details['loc'])}: {_fault(details)}")) from error


def _with_tuples(value):
    """YAML knows lists only; the frozen sections hold tuples."""
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(_with_tuples(item) for item in value) if isinstance(value, list) else value


def _problems(error: ValidationError, line: Callable[[dict], str]) -> list[str]:
    faults = error.errors(include_url=False)
    lines = [line(details) for details in faults[:MOST_FAULTS]]
    more = len(faults) - len(lines)
    return [*lines[:-1], f"{lines[-1]} (and {more} more like this)"] if more else lines


def _problem(path: Path, document: Document, error: dict) -> str:
    keys = [key for key in error["loc"] if not (isinstance(key, str) and "[" in key)]
    where = f"{path}:{document.line(keys)}: {_name(keys)}"
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown setting{_hint(keys)}"
    return f"{where}: {_fault(error)}"


def _name(keys: Sequence[object]) -> str:
    """The setting as one writes it; keys that are no words are quoted."""
    words = (str(key) if str(key).isprintable() else ascii(key) for key in keys)
    return shortened(".".join(words)) or "params"


def _fault(error: dict) -> str:
    if error["type"] == "value_error":  # our own validators word the whole sentence
        return str(error["ctx"]["error"])
    return f"{_expectation(error['msg'])}, got {_shown(error['input'])}{_advice(error)}"


def _shown(value: object) -> str:
    return shortened(repr(value))


def _advice(error: dict) -> str:
    """How to write a number that YAML took for text."""
    text = error["input"]
    if not error["type"].startswith(("float", "int")) or not isinstance(text, str) or not EXPONENT.fullmatch(text):
        return ""
    number = Decimal(text)
    plain, whole = f"{number:f}", error["type"].startswith("int")
    if whole and number % 1:
        return ""
    return f"; YAML takes it for text, write {plain}{'' if whole else f' or {_with_point(text)}'}"


def _with_point(text: str) -> str:
    digits, power = text.lower().split("e")
    return f"{digits if '.' in digits else f'{digits}.0'}e{int(power):+d}"


def _expectation(message: str) -> str:
    """pydantic says "Input should be …"; the rest of mgral says "expected …"."""
    expected = message.removeprefix("Input should be ")
    for says, said in (("String should have ", "text of "), ("String should match pattern ", "text that matches "),
                       ("Keys should be strings", "names of settings")):
        expected = expected.replace(says, said)
    return f"expected {'a number ' if expected.startswith(('greater', 'less')) else ''}{expected}"


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
