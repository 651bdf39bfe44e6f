"""What a table is worth, in truth and in words."""

import numpy as np
import pytest

from mgral.experiments.record import Record
from mgral.lookup.aggregation import noise_of
from mgral.lookup.summary import TrueGains

BATCHES = [("a",), ("b",), ("c",)]


def trained(batch, repeat, value):
    return Record(fingerprint=f"{batch}{repeat}", scope="s", study="demo", strategy="mgral", cycle=1, snapshot="x",
                  origin="truth", image_ids=batch, seed=repeat, labelled=9, figures={"map": value}, per_class={},
                  seconds=1.0, steps=10, code="c", repeat=repeat)


def test_true_gains_are_means_over_trainings_with_their_noise():
    reached = {0: (0.1, 0.2, 0.3), 1: (0.4, 0.3, 0.5)}  # means .25, .25, .40: a tie
    records = [trained(batch, repeat, value) for repeat in (1, 0)
               for batch, value in zip(BATCHES, reached[repeat], strict=True)]
    found = TrueGains.of(records, BATCHES, np.array([1.0, 2.0, 3.0]))
    assert found.spearman == pytest.approx(0.866, abs=1e-3)
    assert (found.batches, found.trainings) == (3, 2)
    # The second seed lies .2 higher; what is left is .05, -.05 and 0 to either side of the batches' means.
    assert found.noise.runs == pytest.approx(0.1 / 2**0.5)
    assert found.noise == noise_of(records, "map")
    assert str(found) == ("Spearman 0.87 between estimate and true gain in mAP on the test split, 3 held-out batches "
                          "of 2 trainings each; mAP varies by 0.0707 between batches and by 0.0707 from training to "
                          "training.")
    assert set(found.figures()) == {"spearman_true", "true_deviation_runs", "true_deviation_batches"}


def test_the_noise_of_a_single_batch_is_not_known():
    found = TrueGains.of([trained(("a",), 0, 0.1), trained(("a",), 1, 0.2)], BATCHES[:1], np.array([1.0]))
    assert found.noise is None
    assert str(found).endswith("1 held-out batches of 2 trainings each.")
    assert set(found.figures()) == {"spearman_true"}
