import numpy as np
import pytest

from mgral.experiments.record import Record
from mgral.lookup.aggregation import aggregate, noise_of


def record(name, curve, repeat=0):
    """A training whose loss was measured every 10 steps."""
    measured = tuple({"step": 10 * (place + 1), "loss": loss, "map": 1 - loss} for place, loss in enumerate(curve))
    return Record(fingerprint=f"{name}/{repeat}/{len(curve)}", scope="s", study="demo", strategy="mgral", cycle=1,
                  snapshot="x", origin="design", image_ids=(name,), seed=0, labelled=9,
                  figures={"map": 1 - curve[-1], "loss": curve[-1]}, per_class={}, seconds=1.0, steps=10 * len(curve),
                  code="c", curve=measured, repeat=repeat)


def test_a_stopped_training_counts_with_the_end_that_its_rung_predicts():
    rng = np.random.default_rng(0)
    early = rng.uniform(1, 2, 400)
    late = 0.5 * early + 1 + rng.normal(0, 0.1, 400)
    whole = [record(f"w{row}", [first, 9.0, 9.0, last]) for row, (first, last) in enumerate(zip(early, late,
                                                                                              strict=True))]
    again = [record(f"w{row}", [1.0, 9.0, 9.0, late[row] + gap], repeat=1)
             for row, gap in enumerate(rng.normal(0, 0.05 * 2**0.5, 200))]
    shift = np.mean([second.curve[-1]["loss"] - first.curve[-1]["loss"]
                     for first, second in zip(whole, again, strict=False)])
    paused = [record("stopped", [1.4]), record("w0", [early[0]])]
    known = aggregate([*whole[:200], *again, *whole[200:], *paused], "loss")
    assert len(known.batches) == 601  # w0's pause is part of its whole training
    assert known.batches[-1] == ("stopped",)
    # 200 repeats start at 1.0 and end elsewhere: the line is theirs as well
    x = -np.concatenate([early[:200], np.ones(200), early[200:]])
    y = known.rewards[:600].copy()
    y[200:400] -= shift  # the line is fitted to rewards as they were measured
    slope, level = np.polyfit(x, y, 1)
    assert known.rewards[-1] == pytest.approx(level - slope * 1.4)
    residual = ((y - level - slope * x) ** 2).sum() / 598
    assert known.noise[-1] == pytest.approx(residual / noise_of(whole[:200] + again, "loss").runs ** 2)
    assert (known.noise[:600] == 1).all()
    assert known.groups[0] == known.groups[200]
    assert len(set(known.groups)) == 401


def test_noise_from_run_to_run_is_told_from_that_between_batches():
    rng = np.random.default_rng(1)
    worth = rng.normal(5, 0.3, 2000)
    runs = [[record(str(row), [value + error], repeat) for row, (value, error) in enumerate(zip(worth, errors,
                                                                                              strict=True))]
            for repeat, errors in enumerate(rng.normal(0, 0.1, (2, 2000)) + [[0.0], [5.0]])]
    noise = noise_of([*runs[0], *runs[1][:1500]], "loss")
    assert noise.repeated == 1500
    assert noise.runs == pytest.approx(0.1, rel=0.05)
    assert noise.batches == pytest.approx(0.3, rel=0.05)
    assert noise_of(runs[0], "loss") is None
    assert "(1500 batches repeated)" in str(noise)
    known = aggregate([*runs[0], *runs[1]], "loss")
    assert known.rewards[2000:].mean() == pytest.approx(known.rewards[:2000].mean()), "the seed's effect is off"


def test_batches_all_alike_leave_nothing_between_them():
    same = [record(name, [1.0], repeat) for name in "abc" for repeat in range(2)]
    noise = noise_of(same, "loss")
    assert (noise.runs, noise.batches) == (0.0, 0.0)


def test_stopped_trainings_need_whole_ones():
    with pytest.raises(ValueError, match="expected at least 3 whole trainings to judge the others by, got 2"):
        aggregate([record("a", [1.0] * 4), record("b", [2.0] * 4), record("c", [1.0])], "loss")
