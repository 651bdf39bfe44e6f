"""The names of a YOLO data set's classes, in the order of their numbers: from a YAML file or a list, a name a line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mgral.data.formats.reading import Reading, shown
from mgral.findings import Findings

NO_BLANK = re.compile(r"(?:^|\s)\d+:[^\s:]")
"""`0:car`, which YAML takes for one word."""


def class_names(path: Path, content: Mapping[str, Any], findings: Findings) -> tuple[str, ...] | None:
    """The names under `names` of a YAML file, as many as `nc` says; None and a problem if they cannot be used."""
    value = content.get("names")
    names = _in_order(value)
    if not names or any(isinstance(name, (dict, list)) or name is None for name in names) or all(
            isinstance(name, str) and NO_BLANK.match(name) for name in names):
        words = " ".join(map(str, value)) if isinstance(value, (dict, list)) else str(value)
        hint = "write a blank after the colon, `0: car`" if NO_BLANK.search(words) else "write `names: [first, second]`"
        findings.problem(f"{path}: names: expected a list of class names, or a mapping from 0, 1, … to them, got "
                         f"{shown(value)}; {hint}")
        return None
    texts = _texts(path, names, findings)
    if texts is None or not _each_once(f"{path}: names", texts, findings):
        return None
    count = content.get("nc")
    if count is not None and str(count) not in (str(len(texts)), f"{len(texts)}.0"):
        findings.problem(f"{path}: nc: expected {len(texts)}, as there are so many names, got {shown(count)}; correct "
                         "nc or names")
        return None
    return texts


def names_of_lists(reading: Reading, files: Sequence[str]) -> tuple[str, ...] | None:
    """The names in the lists of classes of a folder, which must say the same."""
    own = [file for file in files if not file.endswith("predefined_classes.txt")] or list(files)
    if not own:
        reading.findings.problem(f"{reading.folder.root}: expected a file that names the classes of the YOLO labels, "
                                 "got none; write data.yaml with `names: [first, second]`, or classes.txt with a name "
                                 "a line")
        return None
    found = {file: names_in_list(reading, file) for file in own}
    first = found[own[0]]
    other = next((file for file, names in found.items() if names != first), None)
    if other is not None:
        reading.findings.problem(f"{reading.folder.root}: expected one list of classes, got {own[0]} and {other}, "
                                 "which differ; name the right one in data.annotations")
        return None
    return first


def names_in_list(reading: Reading, file: str) -> tuple[str, ...] | None:
    """The names in a file, one a line, as the line gives the number; None and a problem if they cannot be used."""
    path = reading.folder.root / file
    text = reading.folder.text(file, "a list of class names", reading.findings)
    if text is None:
        return None
    names = [line.strip() for line in text.rstrip().splitlines()]
    if not names or "" in names:
        line = names.index("") + 1 if names else 1
        reading.findings.problem(f"{path}:{line}: expected a class name, got a blank line; classes are numbered by "
                                 "their lines: write the name, or take the line out")
        return None
    return tuple(names) if _each_once(str(path), names, reading.findings) else None


def _in_order(value: object) -> list | None:
    """The names of a list, or of a mapping whose keys are 0, 1, …, as numbers or text."""
    if isinstance(value, dict):
        keys = {str(key).strip(): name for key, name in value.items()}
        order = [str(row) for row in range(len(value))]
        return [keys[row] for row in order] if set(keys) == set(order) else None
    return value if isinstance(value, list) else None


def _texts(path: Path, names: Sequence[Any], findings: Findings) -> tuple[str, ...] | None:
    texts = []
    for row, name in enumerate(names):
        if isinstance(name, int) and not isinstance(name, bool):
            findings.note(f"{path}: names: class {row} is read as the text {str(name)!r}; quote names that are numbers",
                          "number as name")
        elif not isinstance(name, str) or not name.strip() or _paired(name) is None:
            findings.problem(f"{path}: names: expected text for class {row}, got {shown(name)}, as YAML reads yes, no, "
                             "on, off, null, dates and numbers; quote the names, such as 'yes'", "name is no text")
            return None
        texts.append(_paired(str(name).strip()))
    return tuple(texts)


def _paired(name: str) -> str | None:
    """Text whose characters beyond the first 65,536 are whole, which YAML and JSON may write as two; None where one
    half is missing."""
    try:
        return name.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        return None


def _each_once(where: str, names: Sequence[str], findings: Findings) -> bool:
    twice, count = Counter(names).most_common(1)[0]
    if count == 1:
        return True
    findings.problem(f"{where}: expected each class once, got {twice!r} again; rename one")
    return False
