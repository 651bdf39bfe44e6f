"""What a person has corrected is kept for good, whatever is computed again."""

import numpy as np
import pytest

from mgral.annotation.oracle import CorrectedOracle, SimulatedOracle
from mgral.data.dataset import Boxes
from mgral.errors import DataError
from mgral.study.corrections import keep_corrections, kept_corrections
from mgral.study.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work", "study", 0)


def boxes(x):
    return Boxes.of([(x, 3, 12, 20)], [1])


def test_corrections_add_up_and_the_latest_counts(toy, workspace):
    assert kept_corrections(workspace, toy) == {}
    keep_corrections(workspace, toy, {"i1": boxes(1), "i2": Boxes.of()})
    keep_corrections(workspace, toy, {"i1": boxes(2), "i4": boxes(4)})
    corrections = kept_corrections(workspace, toy)
    assert list(corrections) == ["i1", "i2", "i4"]
    assert [len(corrected) for corrected in corrections.values()] == [1, 0, 1]
    np.testing.assert_array_equal(corrections["i1"].xyxy, [(2, 3, 12, 20)])


def test_they_come_before_what_another_oracle_says(toy, workspace):
    keep_corrections(workspace, toy, {"i1": boxes(1)})
    oracle = CorrectedOracle(kept_corrections(workspace, toy), SimulatedOracle(toy))
    annotated = oracle.annotate(("i0", "i1"))
    assert list(annotated) == ["i0", "i1"]
    assert annotated["i0"] is toy.boxes["i0"]
    np.testing.assert_array_equal(annotated["i1"].xyxy, [(1, 3, 12, 20)])


def test_a_damaged_file_is_one_clear_line(toy, workspace):
    keep_corrections(workspace, toy, {"i1": boxes(1)})
    workspace.corrections.write_text("{")
    with pytest.raises(DataError, match=r"corrections\.json:1: expected JSON"):
        kept_corrections(workspace, toy)
    with pytest.raises(DataError, match=r"corrections\.json:1: expected JSON"):
        keep_corrections(workspace, toy, {"i2": boxes(1)})
    assert workspace.corrections.read_text() == "{"
