"""Text of files that others wrote: which encoding it is in, and what is said of a file that is not text."""

from __future__ import annotations

import codecs
import re
import stat
from pathlib import Path

from mgral.findings import Findings

LARGEST_TEXT = 2**31
"""Bytes of an annotation file."""
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
         (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
"""Byte order marks, the longer ones before those that they begin with."""
WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "euc_kr": "cp949", "shift_jis": "cp932"}
"""Encodings that files declare while they use a larger one that contains it, as browsers read them."""
ARCHIVES = ((b"\x1f\x8b", "a gzip archive"), (b"PK\x03\x04", "a zip archive"), (b"\xfd7zXZ", "an xz archive"),
            (b"7z\xbc\xaf", "a 7z archive"), (b"Rar!", "a rar archive"))
NO_ENCODINGS = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "unicode_escape",
                          "raw_unicode_escape"})
"""Python's codecs that are none of text in files."""
FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML has no way to write."""
DECLARED = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")


def text_of(path: Path, what: str, findings: Findings, root: Path | None = None, xml: bool = False) -> str | None:
    """A file's text, or None and one more problem.

    It is UTF-8 unless a byte order mark says otherwise or, of `xml`, its declaration. A link that leads out of `root`
    is refused: what is wrong with a file is quoted, and it may be anybody's.
    """
    try:
        content = _bytes(path, root)
        encoding = _encoding(content, xml)
        return content.decode(encoding)
    except FileNotFoundError:
        findings.problem(f"{path}: expected {what}, got nothing there; check data.format and the path", f"no {what}")
    except UnicodeDecodeError as error:
        findings.problem(f"{path}: {_undecodable(error, content, encoding)}", "encoding")
    except LookupError as error:
        findings.problem(f"{path}: expected text in a known encoding, got {error}; save the file as UTF-8", "encoding")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        findings.problem(f"{path}: expected {what}, got {reason}; check the path and its permissions",
                         f"unreadable {what}")
    return None


def _bytes(path: Path, root: Path | None) -> bytes:
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise OSError(0, "something that is no file")
    if root is not None and path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        raise OSError(0, f"a link that leads out of {root}")
    if about.st_size > LARGEST_TEXT:
        raise OSError(0, f"{about.st_size} bytes")
    return path.read_bytes()


def _encoding(content: bytes, xml: bool) -> str:
    """Raises LookupError for a declared encoding that nobody knows."""
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return encoding
    if not xml:
        return "utf-8"
    for start, encoding in ((b"<\0\0\0", "utf-32-le"), (b"\0\0\0<", "utf-32-be"), (b"<\0", "utf-16-le"),
                            (b"\0<", "utf-16-be")):
        if content.startswith(start):
            return encoding
    declared = DECLARED.match(content)
    if not declared:
        return "utf-8"
    name = codecs.lookup(declared[1].decode()).name
    if name in NO_ENCODINGS:
        raise LookupError(f"the encoding {name!r}")
    # A declaration that can be read as bytes is not in UTF-16, whatever it says: Windows tools write that.
    return "utf-8" if name.startswith(("utf-16", "utf-32", "utf-7")) else WIDER.get(name, name)


def _undecodable(error: UnicodeDecodeError, content: bytes, encoding: str) -> str:
    packed = next((kind for start, kind in ARCHIVES if content.startswith(start)), None)
    if packed:
        return f"expected text, got {packed}; unpack it"
    got = f"got byte {content[error.start]:#04x} at position {error.start}"
    if encoding.startswith("utf-8"):
        return f"expected UTF-8 text, {got} (likely {likely_encoding(content)}); save the file as UTF-8"
    return f"expected text in {encoding}, as the file says it is, {got}; save the file as UTF-8"


def likely_encoding(content: bytes) -> str:
    """What a text that is not UTF-8 is likely in, as a hint: nobody can know."""
    runs = re.findall(rb"[\x80-\xff]+", content)
    if runs and all(len(run) % 2 == 0 for run in runs):
        try:
            content.decode("gb18030")
        except UnicodeDecodeError:
            pass
        else:
            return "gb18030 or latin-1"
    return "cp1252, Windows' latin-1" if re.search(rb"[\x80-\x9f]", content) else "latin-1"


def legal(text: str) -> str:
    """Text that may stand in XML: characters that it forbids are replaced, for a file name or class may hold any."""
    return FORBIDDEN.sub("\ufffd", text)


def is_text(name: str) -> bool:
    """Whether a name can be written: JSON may hold one half of a character that takes two, file systems any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
