"""The table of a comparison, its verdicts and its picture."""

import numpy as np

from mgral.comparison.partial_labels import Trial, TrialResult
from mgral.report.semisup import draw_comparison, table_markdown, verdicts


def results(gaps, noise=0.0):
    rng = np.random.default_rng(0)
    trials = {}
    for fold in range(5):
        base = 0.2 + 0.05 * rng.standard_normal()
        for method, gap in gaps.items():
            value = base + gap + noise * rng.standard_normal()
            trials[Trial(method, 0.1, fold, ())] = TrialResult(value, value, (), 1.0)
    return trials


def test_a_gap_is_judged_on_paired_folds(tmp_path):
    """Folds differ by 5 points, methods by 3: only the paired difference shows it."""
    lines = verdicts(results({"supervised": 0.0, "mean_teacher": 0.03}, 0.002))
    assert len(lines) == 1
    assert "10 % labelled: mean_teacher is above supervised: +3." in lines[0]
    assert "level with" in verdicts(results({"supervised": 0.0, "mean_teacher": 0.001}, 0.05))[0]
    assert "below" in verdicts(results({"supervised": 0.0, "mean_teacher": -0.03}, 0.002))[0]


def test_table_and_picture(tmp_path):
    compared = results({"supervised": 0.0, "mean_teacher": 0.1})
    values = [100 * result.map for trial, result in compared.items() if trial.method == "supervised"]
    assert f"| supervised | {np.mean(values):.2f} ± {np.std(values, ddof=1):.2f} |" in table_markdown(compared)
    draw_comparison(tmp_path / "picture.png", compared)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
