"""From the embeddings of a large pool to a chosen batch: seconds by part and peak memory, a process a size.

    python benchmarks/scaling.py [--images 10000 100000 1000000] [--threads 1] [--json]

The pool is made up: images of 500 kinds, few of them common, a quarter near-copies, in 256 dimensions with noise; class
scores of 50 locations × 20 classes and a few detections each. Drawing it is not timed. An experiment's reward is
simulated too, since trainings cost the same whatever the pool: the growth of each kind over what is labelled,
log(1 + new / (1 + labelled)), averaged over the kinds, with noise. Timed is all the rest of a cycle's choice, through
the functions that a run uses. The last line is one JSON object; `ratio` is ten minutes over the largest size's time.

Memory: `anonymous_mb` is the peak of what a process has for itself, `file_mb` that of mapped files, which the system
drops when it needs room (libraries are among them), `peak_mb` the largest resident size as `getrusage` has it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from harness import benchmark_parser, print_line

if TYPE_CHECKING:  # what imports cost is measured
    from mgral.lookup.reward import TableReward
    from mgral.strategies import PoolView

GOAL_SECONDS = 600
KINDS, CLASSES, LOCATIONS, DIMENSIONS = 500, 20, 50, 256
BLOCK = 20_000
EVERY = 0.02
"""Seconds from one look at the memory to the next."""


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--shortlist", type=int, default=12_000)
    parser.add_argument("--budget", type=int, default=1_000)
    parser.add_argument("--labelled", type=int, default=5_000, help="at most; never more than a tenth of the images")
    parser.add_argument("--records", type=int, default=40)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--fallbacks", type=int, default=0, help="most experiments that the search may ask for")
    parser.add_argument("--threads", type=int, default=1, help="of torch and BLAS; a run of mgral has one")
    parser.add_argument("--folder", type=Path, help="where the pool is written; a temporary folder when absent")
    parser.add_argument("--step", choices=("draw", "choose"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        (draw if options.step == "draw" else choose)(options)
        return
    found = []
    for images in options.images:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            found.append(measured(images, Path(folder), str(options.threads)))
        if not options.json:
            print(line(found[-1]), flush=True)
    largest = max(found, key=lambda size: size["images"])["total_seconds"]
    print_line("scaling", round(GOAL_SECONDS / largest, 2), 1, found)


def measured(images: int, folder: Path, threads: str) -> dict:
    """Draws a pool and chooses from it, in a process each."""
    command = [sys.executable, *sys.argv, "--images", str(images), "--folder", str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": threads, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([*command, "--step", "draw"], check=True, env=environment)
    process = subprocess.Popen([*command, "--step", "choose"], env=environment, stdout=subprocess.PIPE)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"scaling: expected the choice to end well, got exit status {process.returncode}")
    return json.loads(said) | {"peak_mb": round(usage.ru_maxrss / 1024), "load": round(os.getloadavg()[0], 1)}


def draw(options: argparse.Namespace) -> None:
    """Writes the pool's inspection block by block, and beside it the kind of each image."""
    from mgral.pool.inspection import DetectionSequence, Inspection, write_inspection

    (images,), rng = options.images, np.random.default_rng(0)
    centres = rng.normal(size=(KINDS, DIMENSIONS)).astype(np.float32)
    common = rng.dirichlet(np.full(KINDS, 0.5))
    kinds = rng.choice(KINDS, images, p=common)
    copies = np.flatnonzero(rng.random(images) < 0.25)
    kinds[copies] = kinds[np.maximum(copies - 1, 0)]

    def part(start: int) -> Inspection:
        kind = kinds[start:start + BLOCK]
        size = len(kind)
        embedding = centres[kind] + 0.6 * rng.standard_normal((size, DIMENSIONS), dtype=np.float32)
        near = copies[(copies > start) & (copies < start + size)] - start
        embedding[near] = embedding[near - 1] + 0.01 * rng.standard_normal((len(near), DIMENSIONS), dtype=np.float32)
        scores = rng.random((size, LOCATIONS, CLASSES), dtype=np.float32) ** 8
        scores[np.arange(size), 0, kind % CLASSES] = rng.random(size, dtype=np.float32)
        counts = rng.integers(1, 9, size)
        labels = np.where(rng.random(counts.sum()) < 0.8, np.repeat(kind, counts) % CLASSES,
                          rng.integers(CLASSES, size=counts.sum()))
        found = DetectionSequence(counts, np.zeros((counts.sum(), 4), np.float32),
                                  rng.random(counts.sum(), dtype=np.float32), labels)
        return Inspection(tuple(f"{row:09d}" for row in range(start, start + size)), embedding, scores, found)

    write_inspection(options.folder / "seen", map(part, range(0, images, BLOCK)))
    np.save(options.folder / "kinds.npy", kinds)


def choose(options: argparse.Namespace) -> None:
    """Everything from the inspection on disk to the batch; prints the figures as JSON."""
    memory, begun = Memory(), time.perf_counter()
    seconds: dict[str, float] = {}
    with part("import", seconds):
        import torch

        from mgral.config import SearchConfig
        from mgral.lookup import design, estimator, quality, representation, reward  # noqa: F401 - timed here
        from mgral.pool.inspection import Inspection
        from mgral.pool.shortlist import shortlist
        from mgral.pool.statistics import uncertainty
        from mgral.search.agent import Agent
        from mgral.search.controls import compare
        from mgral.search.optimiser import Candidate
        from mgral.strategies import PoolView, balanced_entropy, chosen
    torch.set_num_threads(options.threads)
    searching, budget = SearchConfig(iterations=options.iterations), options.budget
    with part("open", seconds):
        seen = Inspection.load(options.folder / "seen")
        rows = np.random.default_rng(1).permutation(len(seen.ids))[:min(options.labelled, len(seen.ids) // 10)]
        labelled = tuple(seen.ids[row] for row in np.sort(rows))
    truth = Truth(np.load(options.folder / "kinds.npy"), rows)
    with part("shortlist", seconds):
        size = min(options.shortlist, len(seen.ids) - len(labelled))
        pool = tuple(seen.ids[row] for row in shortlist(seen.embedding, rows, size, 0, uncertainty(seen)))
    view = PoolView(pool, labelled, seen)
    batches, found, loo_r2 = filled(view, truth, options, searching.risk_aversion, seconds)
    with part("search", seconds):
        search = Agent(seen.of(pool).embedding, searching.agent).search(found, pool, budget, 0)
        for _ in search.until(searching.iterations):
            pass
        batch = search.candidates()[0].ids
    with part("controls", seconds):
        heuristic = chosen(balanced_entropy.STRATEGY, view, budget, np.random.default_rng(0)).ids
        compare(found.estimate, pool, Candidate(tuple(sorted(heuristic)), 0.0, "balanced_entropy"), batches,
                search.queries, 0)
    total = time.perf_counter() - begun
    print(json.dumps({
        "images": len(seen.ids), "labelled": len(labelled), "shortlist": len(pool), "budget": len(set(batch)),
        "records": len(batches), "iterations": searching.iterations, "batches": searching.agent.batches_per_iteration,
        "fallbacks": len(found.fallbacks), "threads": options.threads, "total_seconds": round(total, 1),
        "seconds": {name: round(value, 2) for name, value in seconds.items()}, **memory.peaks(),
        "loo_r2": round(loo_r2, 2),
        "simulated_reward": worth(view, truth, rows, batch, heuristic)}))


def filled(view: PoolView, truth: Truth, options: argparse.Namespace, risk_aversion: float,
           seconds: dict[str, float]) -> tuple[list, TableReward, float]:
    """A table of simulated experiments: its batches, what the search maximises, and its leave-one-out R²."""
    from mgral.config import TableConfig
    from mgral.lookup.design import design_batches
    from mgral.lookup.estimator import make_estimator
    from mgral.lookup.quality import assess
    from mgral.lookup.representation import Representation
    from mgral.lookup.reward import TableReward

    seen, budget = view.inspection, options.budget
    table = TableConfig(records=options.records, shortlist=options.shortlist, estimator="ridge")
    with part("design", seconds):
        batches = design_batches(table.design, table.records, seen, view.pool, view.labelled, budget, 0)
    rewards = np.array([truth(seen.rows(batch)) for batch in batches])
    rewards += np.random.default_rng(2).normal(scale=0.2 * rewards.std(), size=len(rewards))
    with part("representation", seconds):
        represent = Representation(table.representation, seen, view.pool, view.labelled, budget, 0)
        described = represent(batches)
    with part("fit", seconds):
        quality = assess(make_estimator(table, represent, 0), described, rewards)
        reward = TableReward(represent, make_estimator(table, represent, 0).fit(described, rewards),
                             lambda batch: truth(seen.rows(batch)), options.fallbacks,
                             max(1, options.iterations // (options.fallbacks + 1)), risk_aversion)
    return batches, reward, quality.loo_r2


def worth(view: PoolView, truth: Truth, labelled: np.ndarray, batch: Sequence, heuristic: Sequence) -> dict[str, float]:
    """Simulated rewards of the batches, and the mean of random ones."""
    seen, budget, rng = view.inspection, len(batch), np.random.default_rng(3)
    free = np.setdiff1d(np.arange(len(seen.ids)), labelled)
    drawn = {"random_of_shortlist": seen.rows(view.pool), "random_of_pool": free}
    found = {"agent": truth(seen.rows(batch)), "heuristic": truth(seen.rows(heuristic)),
             **{name: float(np.mean([truth(rng.choice(rows, budget, replace=False)) for _ in range(20)]))
                for name, rows in drawn.items()}}
    return {name: round(value, 4) for name, value in found.items()}


class Truth:
    """The simulated reward of a batch, given by rows."""

    def __init__(self, kinds: np.ndarray, labelled: np.ndarray) -> None:
        self.kinds, self.there = kinds, 1 + np.bincount(kinds[labelled], minlength=KINDS)

    def __call__(self, rows: np.ndarray) -> float:
        return float(np.log1p(np.bincount(self.kinds[rows], minlength=KINDS) / self.there).mean())


class Memory:
    """Watches this process's memory from a thread of its own (Linux)."""

    def __init__(self) -> None:
        self.peak = {"RssAnon": 0, "RssFile": 0}
        threading.Thread(target=self._watch, daemon=True).start()

    def peaks(self) -> dict[str, int]:
        return {"anonymous_mb": self.peak["RssAnon"] // 1024, "file_mb": self.peak["RssFile"] // 1024}

    def _watch(self) -> None:
        while True:
            for line in Path("/proc/self/status").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in self.peak:
                    self.peak[name] = max(self.peak[name], int(value.split()[0]))
            time.sleep(EVERY)


@contextmanager
def part(name: str, seconds: dict[str, float]) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def line(found: dict) -> str:
    parts = ", ".join(f"{name} {value:.1f}" for name, value in found["seconds"].items())
    return (f"{found['images']:>9,} images: {found['total_seconds']:.1f} s ({parts}); {found['anonymous_mb']:,} MB, "
            f"mapped files {found['file_mb']:,} MB, peak together {found['peak_mb']:,} MB; load {found['load']}")


if __name__ == "__main__":
    main()
