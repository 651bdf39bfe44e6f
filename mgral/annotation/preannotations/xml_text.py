"""Text that may stand in XML: characters that it forbids are replaced, for a file name or class may hold any."""

from __future__ import annotations

import re

FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def legal(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", text)
