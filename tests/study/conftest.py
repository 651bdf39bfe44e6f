"""Where a study of these tests lies."""

import pytest

from mgral.study.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work", "s", 0)
