"""The lookup table's estimates: all candidate batches at once against plain numpy, batch by batch.

    python benchmarks/estimator.py [--pool 15551] [--batches 10000] [--records 1000] [--batch 1000] [--json]

A pool at the size of VOC, made up. Candidate batches are described (all four blocks) and estimated by every estimator,
fitted beforehand on the records. The reference takes one batch after the other: it describes it from what the detector
saw in its images (class scores, detections) and from what is fitted to the pool (principal components, cells), and
estimates it by the fitted estimators' formulas as they are written. It is run on `--sample` of the batches and its time
scaled. `kept` in `raw` are the ratios to a better reference, which also goes batch by batch but keeps what it needs of
every image. All figures are compared first, relative to the deviation of the rewards.

`ratio` is that of describing and estimating with the estimator that gains least; seconds are medians of alternating
repeats, the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from harness import benchmark_parser, hardware, print_line, timed
from scipy.linalg import solve_triangular
from scipy.spatial.distance import cdist

from mgral.config import TableConfig
from mgral.data.dataset import ImageId
from mgral.lookup.estimator import Estimator, make_estimator
from mgral.lookup.estimator.gaussian_process import CONSTANT
from mgral.lookup.representation import Representation
from mgral.pool.inspection import EMBEDDING, Detections, Inspection
from mgral.pool.neighbours import clusters
from mgral.pool.statistics import class_mass, location_entropy

GOAL = 50
BLOCKS = ("mean", "histogram", "uncertainty", "diversity")
LOCATIONS, CLASSES = 50, 20
NAMES = ("inverse_distance", "ridge", "gp", "ensemble")
LEAST_AGREEMENT = {"description": 1e-5, "inverse_distance": 1e-5, "ridge": 1e-5, "gp": 1e-5, "ensemble": 1e-4}
"""In deviations of columns and rewards; faiss finds the nearest labelled image, and the ensemble works, in float32."""

Values = tuple[float, float]


def main() -> None:
    options = arguments()
    rng = np.random.default_rng(0)
    seen = pool(options.pool, rng)
    labelled, ids = seen.ids[:options.pool // 16], seen.ids[options.pool // 16:]
    represent = Representation(BLOCKS, seen, ids, labelled, options.batch, seed=0)
    records, candidates = (drawn(ids, count, options.batch, rng) for count in (options.records, options.batches))
    described = represent(records)
    rewards = np.tanh(described.rows[:, 0]) + described.rows.sum(axis=1) + 0.3 * rng.normal(size=options.records)
    estimators, fitting = {}, {}
    for name in NAMES:
        estimator = make_estimator(TableConfig(estimator=name), represent, seed=0)
        estimators[name], fitting[name] = timed(lambda unfitted=estimator: unfitted.fit(described, rewards))
    plain = Plain(represent, estimators, seen, labelled, options.batch)
    kept = Kept(represent, estimators, seen, labelled, options.batch)
    sample = candidates[:options.sample]
    differences = compared(represent, estimators, plain, sample, rewards.std())
    compared(represent, estimators, kept, sample, rewards.std())
    seconds: dict[str, list[dict[str, float]]] = {"ours": [], "plain": [], "kept": []}
    for _ in range(options.repeats):
        seconds["ours"].append(ours(represent, estimators, candidates)[1])
        for name, reference in (("plain", plain), ("kept", kept)):
            taken = reference(sample)[1]
            seconds[name].append({part: value * len(candidates) / len(sample) for part, value in taken.items()})
    report(options, seconds, differences, fitting)


def arguments() -> argparse.Namespace:
    parser = benchmark_parser(__doc__)
    for name, count in (("pool", 15_551), ("batches", 10_000), ("records", 1000), ("batch", 1000), ("sample", 100),
                        ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=count)
    return parser.parse_args()


def pool(size: int, rng: np.random.Generator) -> Inspection:
    """Images in clusters, a few objects each."""
    cell = rng.integers(CLASSES, size=size)
    embedding = 2 * rng.normal(size=(CLASSES, EMBEDDING))[cell] + rng.normal(size=(size, EMBEDDING))
    detections = [Detections(np.zeros((4, 4), np.float32), np.sort(rng.random(4, dtype=np.float32))[::-1],
                             rng.choice([kind, *range(CLASSES)], 4)) for kind in cell]
    scores = rng.random((size, LOCATIONS, CLASSES), dtype=np.float32) ** 4
    return Inspection(tuple(f"{row:06d}" for row in range(size)), embedding.astype(np.float32), scores,
                      tuple(detections))


def drawn(ids: Sequence[ImageId], count: int, size: int, rng: np.random.Generator) -> list[tuple[ImageId, ...]]:
    """Batches that lean, each its own way, to one end of the pool or the other."""
    place = np.linspace(-1, 1, len(ids))
    rows = [np.argpartition(-rng.normal() * place - rng.gumbel(size=len(ids)), size - 1)[:size] for _ in range(count)]
    return [tuple(ids[row] for row in part) for part in rows]


def ours(represent: Representation, estimators: dict[str, Estimator], batches: list) -> tuple[dict, dict[str, float]]:
    """What is said of the batches and estimated by each, and the seconds."""
    found, seconds = {}, {}
    found["description"], seconds["description"] = timed(lambda: represent(batches))
    for name, estimator in estimators.items():
        estimate, seconds[name] = timed(lambda fitted=estimator: fitted.predict(found["description"]))
        found[name] = np.column_stack([estimate.value, estimate.deviation])
    found["description"] = found["description"].rows
    return found, seconds


class Plain:
    """Batch by batch, formula by formula."""

    def __init__(self, represent: Representation, estimators: dict[str, Estimator], seen: Inspection,
                 labelled: Sequence[ImageId], budget: int) -> None:
        self.row, self.estimators = seen.row, estimators
        self.seen, self.components = seen, represent._components
        self.known = self.components[seen.rows(labelled)]
        self.there = 1 + class_mass(seen.of(labelled)).sum(axis=0)
        self.cell = clusters(self.components, budget, 0)
        self.centre, self.scale = represent._centre, represent._scale
        network = estimators["ensemble"]
        self.images = network.images.numpy()
        self.network = {name: [part.numpy() for part in getattr(network, name)] for name in ("image", "batch")}
        self.level, self.breadth = (part.numpy().reshape(network.members, -1)
                                    for part in (network.level, network.breadth))

    def __call__(self, batches: list[tuple[ImageId, ...]]) -> tuple[dict, dict[str, float]]:
        found, seconds = {name: [] for name in ("description", *NAMES)}, dict.fromkeys(("description", *NAMES), 0.0)
        for batch in batches:
            row, seconds_taken = timed(lambda batch=batch: self.describe(batch))
            found["description"].append(row)
            seconds["description"] += seconds_taken
            for name in NAMES:
                work: Callable = getattr(self, name)
                value, seconds_taken = timed(lambda work=work, row=row, batch=batch: work(row, batch))
                found[name].append(value)
                seconds[name] += seconds_taken
        return {name: np.array(values) for name, values in found.items()}, seconds

    def describe(self, batch: tuple[ImageId, ...]) -> np.ndarray:
        rows = [self.row[image_id] for image_id in batch]
        points = self.components[rows]
        mass, entropies, novelty = self.of_images(batch, points)
        diversity = [np.sqrt(2 * points.var(axis=0).sum()), len(set(self.cell[rows])) / len(rows), novelty.mean()]
        columns = np.concatenate([points.mean(axis=0), np.log1p(mass.sum(axis=0) / self.there), entropies.mean(axis=0),
                                  diversity])
        return (columns - self.centre) / self.scale

    def of_images(self, batch: tuple[ImageId, ...], points: np.ndarray) -> tuple[np.ndarray, ...]:
        """Class mass, entropies and distance to the nearest labelled image, of each image of the batch."""
        part = self.seen.of(batch)
        entropy = location_entropy(part)
        whole = entropy.sum(axis=2)
        entropies = np.column_stack([whole.mean(axis=1), whole.max(axis=1), entropy.mean(axis=1)])
        return class_mass(part), entropies, cdist(points, self.known).min(axis=1)

    def inverse_distance(self, row: np.ndarray, _: tuple[ImageId, ...]) -> Values:
        fitted = self.estimators["inverse_distance"]
        distance = self.distances(row, "inverse_distance")
        near = np.argsort(distance)[:fitted.neighbours]
        weights = 1 / distance[near] / (1 / distance[near]).sum()
        value = weights @ fitted.rewards[near]
        return value, np.sqrt(weights @ (fitted.rewards[near] - value) ** 2)

    def ridge(self, row: np.ndarray, _: tuple[ImageId, ...]) -> Values:
        fitted, _ = self.estimators["ridge"], self.distances(row, "ridge")
        standard = (row - fitted.mean) / fitted.scale
        along = fitted.axes @ standard
        outside = max(standard @ standard - along @ along, 0.0)
        spread = 1 / fitted.total + (along**2 / fitted.variances).sum() + outside / fitted.penalty
        return fitted.offset + standard @ fitted.weights, np.sqrt(fitted.noise_variance * spread)

    def gp(self, row: np.ndarray, _: tuple[ImageId, ...]) -> Values:
        fitted, _ = self.estimators["gp"], self.distances(row, "gp")
        amplitude, length, linear = fitted.hyper[0], fitted.hyper[1], fitted.hyper[2:-1][fitted.block]
        point = (row - fitted.mean) / fitted.scale
        r = np.sqrt(5) * np.linalg.norm(fitted.points - point, axis=1) / length
        shared = CONSTANT + fitted.points @ (linear * point) + amplitude * (1 + r + r**2 / 3) * np.exp(-r)
        known = solve_triangular(fitted.factor, shared, lower=True)
        variance = CONSTANT + linear @ point**2 + amplitude - known @ known
        return fitted.offset + fitted.unit * (shared @ fitted.weights), fitted.unit * np.sqrt(variance)

    def ensemble(self, row: np.ndarray, batch: tuple[ImageId, ...]) -> Values:
        fitted, _ = self.estimators["ensemble"], self.distances(row, "ensemble")
        images = self.images[[self.row[image_id] for image_id in batch]]
        standard = ((row - fitted.centre) / fitted.scale).astype(np.float32)
        given = []
        for member in range(fitted.members):
            weights, bias = (part[member] for part in self.network["image"])
            seen = (np.maximum(images @ weights + bias, 0).mean(axis=0) - self.level[member]) / self.breadth[member]
            first, middle, second, last = (part[member] for part in self.network["batch"])
            hidden = np.maximum(np.concatenate([seen, standard]) @ first + middle, 0)
            given.append((hidden @ second + last)[0, 0])
        return fitted.offset + fitted.unit * np.mean(given), fitted.unit * np.std(given, ddof=1)

    def distances(self, row: np.ndarray, name: str) -> np.ndarray:
        """To every record: each estimator says how near the nearest is."""
        return np.linalg.norm(self.estimators[name].records.rows - row, axis=1)


class Kept(Plain):
    """Batch by batch too, but what it needs of images is worked out once for the whole pool, and not counted."""

    def __init__(self, represent: Representation, estimators: dict[str, Estimator], seen: Inspection,
                 labelled: Sequence[ImageId], budget: int) -> None:
        super().__init__(represent, estimators, seen, labelled, budget)
        self.mass, self.entropies, self.novelty = super().of_images(seen.ids, self.components)

    def of_images(self, batch: tuple[ImageId, ...], _: np.ndarray) -> tuple[np.ndarray, ...]:
        rows = [self.row[image_id] for image_id in batch]
        return self.mass[rows], self.entropies[rows], self.novelty[rows]


def compared(represent: Representation, estimators: dict[str, Estimator], plain: Plain, sample: list,
             unit: float) -> dict[str, float]:
    """The largest difference of each part."""
    mine, theirs = ours(represent, estimators, sample)[0], plain(sample)[0]
    found = {name: float(np.abs(mine[name] - theirs[name]).max()) / (1.0 if name == "description" else unit)
             for name in mine}
    for name, difference in found.items():
        if not difference <= LEAST_AGREEMENT[name]:
            raise SystemExit(f"estimator: expected {name} within {LEAST_AGREEMENT[name]} of plain numpy, got "
                             f"{difference} apart")
    return found


def report(options: argparse.Namespace, seconds: dict, differences: dict[str, float], fitting: dict) -> None:
    medians = {side: {part: round(float(np.median([run[part] for run in runs])), 3) for part in ("description", *NAMES)}
               for side, runs in seconds.items()}
    ratios = {side: {name: gain(seconds[side], seconds["ours"], name) for name in NAMES} for side in ("plain", "kept")}
    raw = {f"{side}_s": values for side, values in medians.items()} | ratios
    raw |= {"fit_s": {name: round(value, 3) for name, value in fitting.items()}, "largest_difference": differences}
    raw |= {name: getattr(options, name) for name in ("pool", "batches", "records", "batch", "sample")} | hardware()
    ratio = min(ratios["plain"].values())
    if not options.json:
        print(f"{'':20}{'ours':>10}{'plain':>10}{'kept':>10}  seconds")
        for part in ("description", *NAMES):
            print(f"{part:20}" + "".join(f"{medians[side][part]:10.2f}" for side in ("ours", "plain", "kept")))
        for side, values in ratios.items():
            print(f"described and estimated, ours against {side}: "
                  + ", ".join(f"{name} {value}" for name, value in values.items()))
        print(f"ratio {ratio} (goal {GOAL})")
    print_line("estimator", ratio, GOAL, raw)


def gain(theirs: list[dict[str, float]], ours: list[dict[str, float]], name: str) -> float:
    """The median ratio of describing and estimating by one estimator."""
    return round(float(np.median([(other["description"] + other[name]) / (mine["description"] + mine[name])
                                  for other, mine in zip(theirs, ours, strict=True)])), 1)


if __name__ == "__main__":
    main()
