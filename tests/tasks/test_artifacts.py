"""Keys as Prefect takes them."""

import pytest

from tasks.artifacts import _key


@pytest.mark.parametrize(("name", "key"), [
    ("cycle-mgral-1", "cycle-mgral-1"), ("cycle-./My.py-1", "cycle-my-py-1"),
    ("records balanced_entropy cycle 1", "records-balanced-entropy-cycle-1")])
def test_keys_hold_small_letters_digits_and_dashes(name, key):
    assert _key(name) == key
