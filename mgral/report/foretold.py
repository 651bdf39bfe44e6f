"""What was thought of a batch, beside what came of it."""

from __future__ import annotations

from mgral.study.results import SearchResult


def foretold(search: SearchResult | None, gain: float | None) -> str | None:
    """What the table of experiments thought of a batch beside what the next detector gained (mAP, a fraction)."""
    gained = None if gain is None else f"the next detector gained {round(100 * gain, 1) + 0.0:+.1f} mAP points"
    if search is None:
        return gained
    usual = f" (a random batch at {search.controls['random']:.3f})" if "random" in search.controls else ""
    thought = f"the table put the batch at {search.value:.3f}{usual}, its estimate at ± {search.deviation:.3f}"
    return f"{thought}; {gained}" if gained else thought
