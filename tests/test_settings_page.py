"""docs/settings.md is what mgral/config/ says."""

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGE = runpy.run_path(str(DOCS / "settings.py"))["page"]()


def test_the_page_is_what_the_script_writes():
    assert (DOCS / "settings.md").read_text(encoding="utf-8") == PAGE, "type `python docs/settings.py`"


@pytest.mark.parametrize("line", [line for line in PAGE.splitlines() if line.startswith("| `")])
def test_every_setting_says_what_it_means(line):
    assert line.split(" | ")[2].strip(" |"), line
