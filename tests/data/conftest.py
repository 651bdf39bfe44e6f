import pytest

from mgral.config import DataConfig
from tests.data.sets import SETS


@pytest.fixture(params=SETS)
def any_set(request, tmp_path):
    """The settings and the folder of a data set, in every format."""
    return DataConfig(format=request.param), SETS[request.param](tmp_path / "set")
