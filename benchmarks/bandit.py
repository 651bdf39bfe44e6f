"""How well a search finds an optimum that is known: the shipped settings and the paper's, iteration by iteration.

    python benchmarks/bandit.py [--seeds 3] [--paper 1920] [--json]

200 images of 256 numbers, batches of 20, a batch worth the mean of its images: worths are either linear in 16 hidden
factors of the embedding (`smooth`) or have nothing to do with it (`arbitrary`: every image must be learnt by heart).
Figures are shares of the optimum's lead over a random batch. The shipped settings value 60 × 32 batches; the paper's
one an iteration (its learning rate and printed baseline), `--paper` iterations, by default as many batches in all, and
on the smooth task only. The last line is one JSON object; `ratio` is the least final choice of the shipped settings on
the smooth task.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from harness import benchmark_parser, hardware, print_line

from mgral.config import AgentConfig, SearchConfig
from mgral.search.agent import Agent

GOAL = 0.98
POOL, BUDGET, FACTORS = 200, 20, 16
PAPER = {"batches_per_iteration": 1, "lr": 3.5e-4, "baseline": "paper", "entropy_weight": 0.0}
VARIANTS = {"shipped": {}, "no entropy": {"entropy_weight": 0.0}, "ema": {"baseline": "ema"}}


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--paper", type=int, default=1920)
    options = parser.parse_args()
    found: dict[str, dict[str, dict]] = {}
    for task, variants in {"smooth": {**VARIANTS, "paper": PAPER}, "arbitrary": VARIANTS}.items():
        for name, settings in variants.items():
            iterations = options.paper if name == "paper" else SearchConfig().iterations
            reached = summary(task, AgentConfig(**settings), iterations, options.seeds)
            found.setdefault(task, {})[name] = reached
            if not options.json:
                curve = ", ".join(f"{step}: {share:.3f}" for step, share in reached["mean"].items())
                print(f"{task:10}{name:12}mean at {curve}; final {reached['final']:.3f} ± "
                      f"{reached['standard_error']:.3f}", flush=True)
    ratio = min(found["smooth"]["shipped"]["finals"])
    print_line("bandit", ratio, GOAL, {**found, **hardware()})


def summary(task: str, config: AgentConfig, iterations: int, seeds: int) -> dict:
    runs = [solved(task, config, iterations, seed) for seed in range(seeds)]
    curve = np.mean([mean for mean, _ in runs], axis=0)
    finals = np.array([final for _, final in runs])
    steps = sorted({*(count for count in (10, 20, 40, 60, 240, 960) if count < len(curve)), len(curve)})
    return {"mean": {step: round(float(curve[step - 1]), 4) for step in steps}, "final": round(float(finals.mean()), 4),
            "standard_error": round(float(finals.std(ddof=1) / seeds**0.5), 4) if seeds > 1 else 0.0,
            "finals": finals.round(4).tolist()}


def solved(task: str, config: AgentConfig, iterations: int, seed: int) -> tuple[np.ndarray, float]:
    """Mean of the batches of each iteration, and the final choice; 0 is a random batch, 1 the optimum."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(POOL, FACTORS))
    embedding = factors @ rng.normal(size=(FACTORS, 256)) + 0.3 * rng.normal(size=(POOL, 256))
    worth = factors @ rng.normal(size=FACTORS) if task == "smooth" else rng.normal(size=POOL)
    low, high = worth.mean(), np.sort(worth)[-BUDGET:].mean()
    ids = [f"{row:03d}" for row in range(POOL)]
    share = dict(zip(ids, ((worth - low) / (high - low)).tolist(), strict=True))
    search = Agent(embedding, config).search(
        lambda batches: np.array([np.mean([share[image] for image in batch]) for batch in batches]), ids, BUDGET, seed)
    means = np.array([fact.mean for fact in search.until(iterations)])
    return means, search.candidates()[0].value


if __name__ == "__main__":
    main()
