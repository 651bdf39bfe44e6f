"""An iteration of the search that reads the pool in segments, against nn.LSTMCell cell by cell over the whole pool.

    python benchmarks/search_segments.py [--pool 15551] [--budget 1000] [--segments 64] [--iterations 10] [--repeats 1]
                                         [--seeds 10] [--quality-pool 1200] [--threads 2] [--json]

Speed is that of `benchmarks/search.py`, whose reference this is; scores, log-probabilities and gradients are compared
with the same reference run segment by segment. Segments change the agent: what that costs is measured on searches of
60 iterations over `--quality-pool` images (budget a fifteenth), exact and in as many segments, with `--seeds` draws of
pool, table and weights: the estimate of the final choice, paired by seed. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time

from search import Case, hardware, np, torch

GOAL = 30
ITERATIONS = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pool", type=int, default=15551)
    parser.add_argument("--budget", type=int, default=1000)
    parser.add_argument("--batches", type=int, default=32)
    parser.add_argument("--segments", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--quality-pool", type=int, default=1200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    case = Case(options.pool, options.budget, options.batches, 0, options.segments)
    differences = case.compared()
    begun = time.process_time()
    ours = case.seconds(options.iterations)
    spent = (time.process_time() - begun) / (1 + len(ours))
    reference = [case.reference.iterate() for _ in range(options.repeats)]
    ratio = round(float(np.median(reference) / np.median(ours)), 2)
    found = quality(options)
    raw = {"ours_s": round(float(np.median(ours)), 4), "ours_cpu_s": round(spent, 4),
           "reference_s": round(float(np.median(reference)), 3), **case.parts(), "differences": differences, **found,
           "pool": options.pool, "budget": options.budget, "batches": options.batches, "segments": options.segments,
           "threads": options.threads, **hardware()}
    if not options.json:
        print(f"{'ours, an iteration in segments':40}{raw['ours_s']:9.3f} s")
        print(f"{'nn.LSTMCell, an iteration':40}{raw['reference_s']:9.3f} s")
        print(f"ratio {ratio} (goal {GOAL}); differences {differences}")
        print(f"final choice, segments less exact: {found['gain']} ± {found['standard_error']} deviations of a random "
              f"batch's estimate, over {options.seeds} seeds: "
              f"{'no worse' if found['no_worse'] else 'worse'} than exact by more than the standard error")
    print(json.dumps({"name": "search_segments", "ratio": ratio, "goal": GOAL, "raw": raw}))


def quality(options: argparse.Namespace) -> dict[str, float | bool | list[float]]:
    """By how much the final choices of searches in segments are estimated above those of exact searches.

    In standard deviations of the estimate among random batches, since each seed has a table of its own.
    """
    exact, cut = (np.array([final(options, seed, segments) for seed in range(options.seeds)])
                  for segments in (1, options.segments))
    gain = cut - exact
    error = float(gain.std(ddof=1) / len(gain)**0.5)
    return {"exact": exact.round(3).tolist(), "in_segments": cut.round(3).tolist(),
            "gain": round(float(gain.mean()), 3), "standard_error": round(error, 3),
            "no_worse": bool(gain.mean() >= -error)}


def final(options: argparse.Namespace, seed: int, segments: int) -> float:
    pool = options.quality_pool
    case = Case(pool, pool // 15, options.batches, seed, segments, ITERATIONS)
    rng = np.random.default_rng(seed)
    drawn = case.reward.estimate([tuple(sorted(rng.choice(case.ids, pool // 15, replace=False).tolist()))
                                  for _ in range(256)])
    for _ in case.search:
        pass
    return float((case.search.choose().value - drawn.mean()) / drawn.std())


if __name__ == "__main__":
    main()
