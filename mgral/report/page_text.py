"""Anybody's text in HTML: whatever files and classes are called, it is text, and legible."""

from __future__ import annotations

import unicodedata
from html import escape

_TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def html_text(text: str) -> str:
    """The text as HTML shows it, in an attribute too. Spelt out is what steers a terminal, breaks a line, turns the
    direction of what follows, or is no text at all (bytes of a file name that are no UTF-8)."""
    if text.isprintable():
        return escape(text)
    return escape("".join(mark.encode("unicode_escape").decode() if _steers(mark) else mark for mark in text))


def _steers(mark: str) -> bool:
    return (unicodedata.category(mark) in ("Cc", "Cs", "Cn", "Zl", "Zp")
            or unicodedata.bidirectional(mark) in _TURNING)
