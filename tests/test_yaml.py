"""YAML of people: plain values come out, or one line each that says where and what is wrong."""

import os
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mgral.errors import ConfigError
from mgral.yaml import MOST_BYTES, decode, parse, read_document, read_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{row}: &a{row} [{', '.join([f'*a{row - 1}'] * 9)}]\n" for row in range(1, 9))
SECTIONS = "a0: &a0 {x: 1}\n" + "".join(
    f"a{row}: &a{row} {{{', '.join(f'k{key}: *a{row - 1}' for key in range(9))}}}\n" for row in range(1, 9))
MERGED = "a0: &a0 {x: 1}\n" + "".join(
    f"a{row}: &a{row} {{y{row}: 1, <<: [{', '.join([f'*a{row - 1}'] * 9)}]}}\n" for row in range(1, 9))


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read_yaml(text, "f.yaml")
    assert all(problem.isprintable() and len(problem) < 400 for problem in caught.value.problems)
    return caught.value.problems


def test_plain_values_come_out_as_written():
    text = ("a: 1\nb: [-0x1F, 1_000, 0b11, .5, -1.5e-3, .INF, 1.]\nc: {yes: no, ~: null, 3: '3'}\n"
            "d: 2024-13-45\ne: !!str 5\n'=': =\n")
    assert read_yaml(text, "f.yaml") == {
        "a": 1, "b": [-31, 1000, 3, 0.5, -0.0015, float("inf"), 1.0], "c": {True: False, None: None, 3: "3"},
        "d": "2024-13-45", "e": "5", "=": "="}
    assert read_yaml("", "f.yaml") is None


def test_aliases_and_merged_sections_are_understood():
    text = "base: &b {x: 1, y: 2}\nlist: [&v 7, *v]\nnew: {<<: *b, y: 3}\nfirst: {<<: [{x: 5}, *b]}\n"
    value = read_yaml(text, "f.yaml")
    assert value == yaml.safe_load(text)
    assert value["new"] == {"x": 1, "y": 3}


@pytest.mark.parametrize("text", [BOMB, SECTIONS, MERGED], ids=["lists", "sections", "merged"])
def test_aliases_that_stand_for_too_much_are_refused_at_once(text):
    started = time.monotonic()
    assert problems(text)[0].endswith(
        "expected aliases that stand for at most 10,000 values, got more; write them out, or leave them out")
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(("text", "line"), [("a: &a [*a]", 1), ("a: &a\n  b: {c: *a}", 2), ("&a {x: 1,\n<<: *a}", 2)])
def test_an_alias_within_itself_is_refused(text, line):
    assert problems(text) == (f"f.yaml:{line}: expected aliases of other values, got *a within itself",)


@pytest.mark.parametrize("text", ["[" * 4000, "{a: " * 2000, "- " * 2000, "? " * 2000, "{" * 4000,
                                  "".join(f"{' ' * depth}a:\n" for depth in range(90))])
def test_lists_in_lists_without_end_are_refused_at_once(text):
    started = time.monotonic()
    assert problems(text)[0].endswith("expected at most 50 levels of lists and sections, got more")
    assert time.monotonic() - started < 1


def test_more_values_than_a_file_of_settings_has_are_refused(monkeypatch):
    monkeypatch.setattr("mgral.yaml.MOST_VALUES", 2000)
    assert read_yaml("[" + "1," * 1999 + "]", "f.yaml") == [1] * 1999
    assert problems("[" + "1," * 1999 + "\n1]") == ("f.yaml:2: expected at most 2,000 values, got more",)


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "f" * 5000, "1" + ":59" * 2000, "1" + "0" * 5000 + ".0",
                                    "-" + "1_" * 2000])
def test_numbers_of_thousands_of_digits_are_refused(number):
    assert problems(f"a: 1\nb: {number}") == (
        f"f.yaml:2: expected a number of at most 100 digits, got one of {len(number):,}",)


@pytest.mark.parametrize("number", ["010", "-007", "1:30", "1:30.5", "0x_", "!!int abc", "!!float 1:2"])
def test_numbers_that_readers_take_differently_are_refused(number):
    word = number.rpartition(" ")[2]
    assert problems(f"a: {number}") == (
        f"f.yaml:1: expected a number that every reader of YAML takes for the same, got {word!r}; write it without "
        "leading zeros and colons, or in quotes if it is text",)


@pytest.mark.parametrize(("text", "lines"), [
    ("a: 1\nb: 2\na: 3", ["f.yaml:3: a: expected each key once, got it again after line 1; remove one"]),
    ("a: {x: 1, y: 2,\n  'x': 3}", ["f.yaml:2: x: expected each key once, got it again after line 1; remove one"]),
    ("a:\n- {x: 1, x: 1}\nb: 1\nb: 1\n", [
        "f.yaml:2: x: expected each key once, got it again after line 2; remove one",
        "f.yaml:4: b: expected each key once, got it again after line 3; remove one"]),
    ("1: a\n0x1: b", ["f.yaml:2: 0x1: expected each key once, got it again after line 1; remove one"]),
    ("a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a", [
        "f.yaml:4: <<: expected each key once, got it again after line 3; remove one"])])
def test_a_key_given_twice_is_named_with_its_line(text, lines):
    assert list(problems(text)) == lines


def test_a_thousand_keys_given_twice_are_counted():
    lines = problems("".join(f"k{row}: 1\n" for row in range(1000)) * 2)
    assert len(lines) == 3
    assert lines[-1].endswith("remove one (and 997 more like this)")


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!!python/name:os.system", "!!binary", "!!set",
                                 "!!omap", "!mine", "!!bool", "!<tag:example.org,2000:x>", "!!timestamp2"])
@pytest.mark.parametrize("value", ["[a]", "{a: 1}", "word"])
def test_tags_of_objects_are_refused(tag, value):
    assert problems(f"a: {tag} {value}")[0].startswith("f.yaml:1: expected YAML without objects, got the tag '")


@pytest.mark.parametrize(("text", "line"), [
    ("? [a]\n: b", "f.yaml:1: expected a plain key, got a list or a section as a key"),
    ("a:\n  {b: 1}: c", "f.yaml:2: expected a plain key, got a list or a section as a key"),
    ("a: {<<: [1]}", "f.yaml:1: <<: expected a section or several, got int"),
    ('a: "x\\0y"', "f.yaml:1: expected text, got 'x\\x00y' with a character that no file can hold; remove it"),
    ('"\\ud800": 1', "f.yaml:1: expected text, got '\\ud800' with a character that no file can hold; remove it"),
    ("a: 1\nb: \x07", "f.yaml:2: expected text, got the character U+0007; remove it"),
    ('a:\n "\\U00110000"', "f.yaml:2: expected YAML, got the number of a character or version that does not exist"),
    ("%YAML " + "9" * 5000 + ".1\n---\na",
     "f.yaml:1: expected YAML, got the number of a character or version that does not exist"),
    ("a: 1\n---\nb: 2", "f.yaml:2: expected YAML, got a second document (`---`)"),
    ("a: &x 1\nb: &x 2", "f.yaml:2: expected YAML, got an anchor a second time"),
    ("a: *x", "f.yaml:1: expected YAML, got undefined alias 'x'"),
    ("a:\n\t- b", "f.yaml:2: expected YAML, got character '\\t' that cannot start any token"),
    ("a: [1\nb: 2", "f.yaml:2: expected YAML, here ',' or ']', got ':'"),
    ("a: [1", "f.yaml:1: expected YAML, here ',' or ']', got '<stream end>'")])
def test_what_is_no_plain_yaml_is_one_line(text, line):
    assert problems(text) == (line,)


def test_where_a_value_stands_and_how_it_is_spelled():
    document = parse("a: 1\nnames:\n- cat\n- no\nb: {c:\n  0x10}\n", "f.yaml")
    assert [document.line(keys) for keys in ((), ("a",), ("names", 1), ("b", "c"), ("b", "d"), ("names", 7))] == [
        1, 1, 4, 5, 5, 2]
    assert [document.written(keys) for keys in (("names", 1), ("b", "c"), ("b",), ("d",))] == ["no", "0x10", None, None]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_files_that_say_their_encoding_are_read(tmp_path, encoding):
    path = tmp_path / "f.yaml"
    path.write_text("a: Käfer\n", encoding=encoding)
    assert read_document(path, "settings").value == {"a": "Käfer"}


@pytest.mark.parametrize(("content", "fault"), [
    ("a: 1\nb: Käfer".encode("latin-1"), ":2: expected text in UTF-8, got the byte 0xe4; save the file as UTF-8"),
    ("a: 1".encode("utf-16-le"), ":1: expected text in UTF-8, got a NUL character, as in binary files and UTF-16"),
    ("a: 1".encode("utf-16")[:-1], ":1: expected text in UTF-16-LE, got the byte 0x31; save the file as UTF-8"),
    (b"\x89PNG\r\n\x1a\n" + bytes(90), ":1: expected text in UTF-8, got the byte 0x89; save the file as UTF-8"),
    (b"a: 1\nb: \0", ":2: expected text in UTF-8, got a NUL character"),
    (b"#" * (MOST_BYTES + 1), ": expected settings of at most 1,000,000 bytes, got more")])
def test_files_that_are_no_text_are_refused(tmp_path, content, fault):
    path = tmp_path / "f.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_document(path, "settings")
    assert str(caught.value).startswith(f"{path}{fault}")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("name", "got"), [
    ("folder", "a folder"), ("pipe", "a pipe or a device"), ("/dev/zero", "a pipe or a device"),
    ("gone", "No such file or directory"), ("n" * 300, "File name too long"), ("a\0b", "embedded null byte"),
    ("loop", "Too many levels of symbolic links")])
def test_what_is_no_file_is_named(tmp_path, name, got):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ConfigError, match=f"expected settings, got {got}"):
        read_document(tmp_path / Path(name), "settings")


def said(work, *inputs) -> tuple[str, ...]:
    """What is found wrong with the input, if anything."""
    try:
        work(*inputs, "f.yaml")
    except ConfigError as error:
        return error.problems
    return ()


SIGNS = st.text(st.sampled_from("a1:-?,[]{}&*!|>%@`'\"#~<=.\\\n\t 0xe_+"), max_size=200)


@given(SIGNS)
def test_any_text_of_signs_is_a_value_or_one_line_each(text):
    assert all(line.isprintable() for line in said(read_yaml, text))


@given(st.binary(max_size=60))
def test_any_bytes_are_text_or_one_line(content):
    lines = said(decode, content)
    assert len(lines) < 2
    assert all(line.isprintable() for line in lines)


@settings(deadline=None)
@given(SIGNS.map(lambda unit: (unit * 3000)[:3000]))
def test_no_text_of_a_few_kilobytes_takes_a_second(text):
    started = time.process_time()
    assert all(line.isprintable() for line in said(read_yaml, text))
    assert time.process_time() - started < 1


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS


@settings(deadline=None)
@given(st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
    WORDS | st.integers(), inner, max_size=4), max_leaves=20))
def test_what_was_written_as_yaml_comes_back(value):
    assert read_yaml(yaml.safe_dump(value), "f.yaml") == value
