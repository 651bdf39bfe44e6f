import pytest

from mgral.generators import finished


def measuring(fault: bool = False):
    yield 1
    yield 2
    if fault:
        raise ValueError("no third")
    return "done"


def test_what_is_yielded_is_kept_in_order_and_the_result_returned():
    kept = []
    assert finished(measuring(), kept.append) == finished(measuring()) == "done"
    assert kept == [1, 2]


def test_what_was_yielded_before_a_fault_is_kept():
    kept = []
    with pytest.raises(ValueError, match="no third"):
        finished(measuring(fault=True), kept.append)
    assert kept == [1, 2]
