"""YAML that people write: the one place that parses it, and trusts it with nothing.

Only plain values come out: texts, numbers, booleans, null, lists, and mappings with plain keys. What would run code,
hang, fill the memory, or mean something else than it seems to is refused, a line each with its line number. A file of
a few kilobytes takes well under a second, whatever is in it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from mgral.errors import ConfigError
from mgral.files import why_unreadable
from mgral.findings import Findings

MOST_BYTES = 1_000_000
MOST_LEVELS = 50
LEVELS = f"at most {MOST_LEVELS} levels of lists and sections", "more"
MOST_VALUES = 100_000
MOST_REPEATED = 10_000
"""Values that all aliases (`*name`) of a file may stand for together."""
MOST_DIGITS = 100

MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
         (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
"""How files begin that say their encoding; the mark of UTF-32 begins with that of UTF-16."""
TAG = "tag:yaml.org,2002:"
MERGE = f"{TAG}merge"
TEXT = {"str", "timestamp", "value", "merge"}
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*|0x_*[0-9a-fA-F][0-9a-fA-F_]*|0b_*[01][01_]*)")
FLOAT = re.compile(r"[-+]?(\.inf|\.nan|([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?)", re.IGNORECASE)
UNWRITABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds, and where in the file it stands."""

    value: object
    root: yaml.Node | None

    def line(self, keys: Sequence[object]) -> int:
        """The line, from 1, of the value at these keys and rows, or of the last part of the way that is there."""
        return self._walk(keys)[1]

    def written(self, keys: Sequence[object]) -> str | None:
        """The value there as the file spells it (`no`, which is read as false), or None where no scalar stands."""
        node = self._walk(keys)[0]
        return node.value if isinstance(node, yaml.ScalarNode) else None

    def _walk(self, keys: Sequence[object]) -> tuple[yaml.Node | None, int]:
        node, line = self.root, 1
        for key in keys:
            found = None
            if isinstance(node, yaml.MappingNode):
                found = next(((name, value) for name, value in node.value if name.value == str(key)), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
                found = node.value[key], node.value[key]
            if found is None:
                return None, line
            line, node = _line(found[0]), found[1]
        return node, line


def read_document(path: Path, expected: str) -> Document:
    """Reads a file of YAML in UTF-8, or in UTF-16 or UTF-32 if its first bytes say so; `expected` is what it should be.

    Raises:
        ConfigError: no such file, no regular one, too large, no text, or what `parse` raises.
    """
    reason = why_unreadable(path)
    if reason:
        raise ConfigError(f"{path}: expected {expected}, got {reason}")
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: expected {expected}, got {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise ConfigError(f"{path}: expected {expected} of at most {MOST_BYTES:,} bytes, got more")
    return parse(decode(content, str(path)), str(path))


def read_yaml(text: str, where: str) -> object:
    """The value that a text in YAML stands for; `where` names the text in what is raised, as `parse` says."""
    return parse(text, where).value


def parse(text: str, where: str) -> Document:
    """The value that a text in YAML stands for, with its places.

    Raises:
        ConfigError: not YAML, or YAML with more than plain values: tags of objects, a key given twice, keys that are
            lists or mappings, numbers that readers of YAML take differently, aliases within themselves or that stand
            for too many values, lists in lists without end.
    """
    root = _composed(text, where)
    values = _Values(where, _size(root))
    value = None if root is None else values.of(root)
    if values.findings.problems:
        raise ConfigError(*values.findings.problems)
    return Document(value, root)


def decode(content: bytes, where: str) -> str:
    """The text that these bytes of a file are.

    Raises:
        ConfigError: neither UTF-8 nor what the first bytes say.
    """
    mark, encoding = next((each for each in MARKS if content.startswith(each[0])), (b"", "utf-8"))
    try:
        text = content[len(mark):].decode(encoding)
    except UnicodeDecodeError as error:
        place = content[:len(mark) + error.start]
        line = place.count(b"\n") + 1
        raise ConfigError(f"{where}:{line}: expected text in {encoding.upper()}, got the byte "
                          f"0x{content[len(place)]:02x}; save the file as UTF-8") from error
    if "\0" in text:
        raise ConfigError(f"{where}:{text[:text.index(chr(0))].count(chr(10)) + 1}: expected text in UTF-8, got a NUL "
                          "character, as in binary files and UTF-16; save the file as UTF-8")
    return text


class _Loader(yaml.SafeLoader):
    """Makes nodes of a text, and stops where there are too many, too deep or endless ones."""

    def __init__(self, text: str, where: str) -> None:
        super().__init__(text)
        self._where, self._within, self._count = where, [], 0

    def compose_node(self, parent, index):
        event = self.peek_event()
        self._count += 1
        if self._count > MOST_VALUES:
            self._refuse(event.start_mark, f"at most {MOST_VALUES:,} values", "more")
        if len(self._within) > MOST_LEVELS:
            self._refuse(event.start_mark, *LEVELS)
        if isinstance(event, yaml.AliasEvent) and event.anchor in self._within:
            self._refuse(event.start_mark, "aliases of other values", f"*{event.anchor} within itself")
        self._within.append(None if isinstance(event, yaml.AliasEvent) else event.anchor)
        node = super().compose_node(parent, index)
        self._within.pop()
        return node

    def fetch_flow_collection_start(self, TokenClass):
        # The scanner is ahead of the nodes, and slow where brackets are many.
        if self.flow_level > MOST_LEVELS:
            self._refuse(self.get_mark(), *LEVELS)
        super().fetch_flow_collection_start(TokenClass)

    def _refuse(self, mark: yaml.Mark, expected: str, got: str) -> None:
        raise ConfigError(f"{self._where}:{mark.line + 1}: expected {expected}, got {got}")


def _composed(text: str, where: str) -> yaml.Node | None:
    try:
        loader = _Loader(text, where)
        return loader.get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{where}:{line}: expected text, got the character U+{error.character:04X}; remove it"
                          ) from error
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{where}:{error.problem_mark.line + 1}: {_problem(error)}") from error
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{where}:{loader.line + 1}: expected YAML, got the number of a character or version that "
                          "does not exist") from error


def _problem(error: yaml.MarkedYAMLError) -> str:
    said = {"but found another document": "a second document (`---`)", "second occurrence": "an anchor a second time"}
    problem = " ".join(str(error.problem).split())
    both = re.fullmatch("expected (?:the )?(.+?),? but (?:found|got) (.+)", problem)
    expected, got = both.groups() if both else ("", said.get(problem, problem.removeprefix("found ")))
    return f"expected YAML{f', here {expected}' if expected else ''}, got {shortened(got)}"


class _Values:
    """Makes plain values of nodes and collects what is wrong with them."""

    def __init__(self, where: str, written: int) -> None:
        self.where, self.findings, self._left = where, Findings(), written + MOST_REPEATED

    def of(self, node: yaml.Node) -> object:
        self._left -= 1
        if self._left < 0:
            raise ConfigError(f"{self.where}:{_line(node)}: expected aliases that stand for at most {MOST_REPEATED:,} "
                              "values, got more; write them out, or leave them out")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        kind = "seq" if isinstance(node, yaml.SequenceNode) else "map"
        if node.tag != TAG + kind:
            self._tagged(node)
        return [self.of(item) for item in node.value] if kind == "seq" else self._mapping(node)

    def _mapping(self, node: yaml.MappingNode) -> dict:
        own, merged, lines = {}, {}, {}
        for name, item in node.value:
            key = self._key(name)
            if key in lines:
                self._wrong(name, f"{shortened(str(name.value))}: expected each key once, got it again after line "
                                  f"{lines[key]}; remove one", "twice")
            lines[key] = _line(name)
            if name.tag == MERGE:
                merged = self._merged(item)
            else:
                own[key] = self.of(item)
        return {**merged, **own}

    def _merged(self, node: yaml.Node) -> dict:
        """What `<<` brings: the first of several mappings wins."""
        value, merged = self.of(node), {}
        for mapping in reversed(value if isinstance(value, list) else [value]):
            if not isinstance(mapping, dict):
                self._wrong(node, f"<<: expected a section or several, got {type(mapping).__name__}", "merge")
                return {}
            merged |= mapping
        return merged

    def _key(self, node: yaml.Node) -> object:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        self._wrong(node, "expected a plain key, got a list or a section as a key", "key")
        return None

    def _scalar(self, node: yaml.ScalarNode) -> object:
        kind, text = node.tag.removeprefix(TAG), node.value
        if UNWRITABLE.search(text):
            self._wrong(node, f"expected text, got {shortened(ascii(text))} with a character that no file can hold; "
                              "remove it", "character")
        elif kind in TEXT:
            return text
        elif kind == "null":
            return None
        elif kind == "bool" and text.lower() in yaml.SafeLoader.bool_values:
            return yaml.SafeLoader.bool_values[text.lower()]
        elif kind in ("int", "float"):
            return self._number(node, kind, text)
        else:
            self._tagged(node)
        return None

    def _number(self, node: yaml.ScalarNode, kind: str, text: str) -> float | None:
        if len(text) > MOST_DIGITS:
            self._wrong(node, f"expected a number of at most {MOST_DIGITS} digits, got one of {len(text):,}", "digits")
        elif kind == "int" and INTEGER.fullmatch(text):
            return int(text.replace("_", ""), 0)
        elif kind == "float" and FLOAT.fullmatch(text):
            return float(re.sub(r"_|\.(?=inf|nan)", "", text.lower()))
        else:
            self._wrong(node, f"expected a number that every reader of YAML takes for the same, got {text!r}; write it "
                              "without leading zeros and colons, or in quotes if it is text", "number")
        return None

    def _tagged(self, node: yaml.Node) -> None:
        tag = shortened(ascii(f"!!{node.tag.removeprefix(TAG)}" if node.tag.startswith(TAG) else node.tag))
        self._wrong(node, f"expected YAML without objects, got the tag {tag}; remove it", "tag")

    def _wrong(self, node: yaml.Node, line: str, kind: str) -> None:
        self.findings.problem(f"{self.where}:{_line(node)}: {line}", kind)


def shortened(text: str, most: int = 100) -> str:
    """The beginning of a text that may be of any length."""
    return text if len(text) <= most else f"{text[:most]}…"


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def _size(root: yaml.Node | None) -> int:
    """Values as written: those that aliases repeat count once."""
    nodes, seen = [root] if root else [], set()
    while nodes:
        node = nodes.pop()
        if id(node) not in seen:
            seen.add(id(node))
            nodes += ([] if isinstance(node, yaml.ScalarNode) else node.value if isinstance(node, yaml.SequenceNode)
                      else [part for pair in node.value for part in pair])
    return len(seen)
