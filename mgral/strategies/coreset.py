"""Core-set: the images that are farthest from all that is labelled or chosen, one after the other."""

from __future__ import annotations

import numpy as np

from mgral.arrays import copied
from mgral.pool.neighbours import nearest
from mgral.strategies.strategy import Need, PoolView, Selection, Strategy


def score(view: PoolView) -> np.ndarray:
    """Distance (N,) to the nearest labelled image."""
    points, covered = _points(view, list(view.pool))
    return nearest(points, covered)[0].astype(float) if len(covered) else np.zeros(len(points))


def select(view: PoolView, budget: int, rng: np.random.Generator) -> Selection:
    """The greedy k-centre choice; equals are settled by chance."""
    ids = sorted(view.pool)
    ids = [ids[row] for row in rng.permutation(len(ids))]
    points, covered = _points(view, ids)
    rows, distances = k_centre(points, covered, budget)
    reasons = [f"unlike all labelled and chosen images (distance {distance:.2f})" for distance in distances]
    if not len(covered):  # nothing to be far from: the first is drawn by chance
        distances[0], reasons[0] = 0.0, "the first, drawn by chance as nothing is labelled"
    return Selection(tuple(ids[row] for row in rows), tuple(distances.tolist()), tuple(reasons))


def k_centre(points: np.ndarray, covered: np.ndarray, budget: int,
             barred: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Greedy k-centre: rows (budget,) of points (N, d), always the one farthest from covered (n, d) and chosen ones,
    and how far each was. Rows of `barred` (N,) that are minus infinity are left out. Memory O(N).

    Source: Sener and Savarese, Active Learning for Convolutional Neural Networks: A Core-Set Approach (2018), algorithm
    1, without its robust refinement.
    """
    barred = np.zeros(len(points)) if barred is None else barred.copy()
    distance = nearest(points, covered)[0] if len(covered) else np.full(len(points), np.inf)
    rows, distances = [], []
    for _ in range(budget):
        row = int((distance + barred).argmax())
        rows.append(row)
        distances.append(float(distance[row]))
        barred[row] = -np.inf
        distance = np.minimum(distance, np.linalg.norm(points - points[row], axis=1))
    return np.array(rows), np.array(distances)


def _points(view: PoolView, ids: list[str]) -> tuple[np.ndarray, np.ndarray]:
    inspection = view.inspection
    labelled = sorted(image_id for image_id in view.labelled if image_id in inspection.row)
    return (copied(inspection.embedding, inspection.rows(ids)),
            copied(inspection.embedding, inspection.rows(labelled)))


STRATEGY = Strategy("coreset", "covers what the embedding shows: greedy k-centre", select, "Sener and Savarese 2018",
                    frozenset({Need.EMBEDDINGS}), score)
