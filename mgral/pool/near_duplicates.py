"""Images that look like another one: a budget spent on them buys the same labels twice.

The one place that says what a near-duplicate is; the pool that strategies, table and search see is thinned here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mgral.arrays import copied
from mgral.data.dataset import ImageId
from mgral.pool.inspection import BLOCK, Inspection
from mgral.pool.neighbours import Neighbours, means, nearest

NEAR = 0.25
"""Images closer than this share of the root-mean-square distance between two images are near-duplicates."""
CELL = 2048
"""Images that are compared with one another at once."""
SAMPLE = 64
"""Images a cluster that the clusters are found from."""


def distinct(inspection: Inspection, pool: Sequence[ImageId], labelled: Sequence[ImageId],
             at_least: int) -> tuple[ImageId, ...]:
    """The images of the pool, sorted, of which none looks like a labelled one or like an earlier one of them.

    Of images closer than `NEAR` times the root-mean-square distance between two inspected images the first by id is
    kept. If fewer than `at_least` are left, those that are farthest from all that is kept come back. Labelled images
    that were not inspected do not count; where the embedding says nothing, all images are kept.

    More than `CELL` images are compared within clusters of about so many: time O(N · `CELL` · d), memory one cluster
    and O(N) numbers. Two that look alike and lie on either side of a border between clusters are then both kept.
    """
    ids, known = sorted(pool), [image_id for image_id in labelled if image_id in inspection.row]
    near = near_distance(inspection.embedding)
    if not ids or not near > 0:
        return tuple(ids)
    rows, covered = inspection.rows(ids), copied(inspection.embedding, inspection.rows(known))
    kept, apart = np.zeros(len(ids), dtype=bool), np.full(len(ids), np.inf)
    for cell in _cells(inspection.embedding, rows):
        points = copied(inspection.embedding, rows[cell])
        free = np.ones(len(cell), dtype=bool) if not known else nearest(points, covered)[0] >= near
        leaders = np.flatnonzero(free)[_leaders(points[free], near)]
        kept[cell[leaders]] = True
        others = np.concatenate([covered, points[leaders]])
        if len(others):
            apart[cell] = nearest(points, others)[0]
    missing = min(at_least, len(ids)) - int(kept.sum())
    if missing > 0:
        kept[np.argsort(np.where(kept, np.inf, -apart), kind="stable")[:missing]] = True
    return tuple(ids[row] for row in np.flatnonzero(kept))


def near_distance(embedding: np.ndarray) -> float:
    """Below which two of these images (N, d) are near-duplicates."""
    # The mean squared distance of two points is twice that of one from the mean.
    return float(NEAR * (2 * np.var(embedding, axis=0, dtype=float).sum()) ** 0.5) if embedding.size else 0.0


def _cells(embedding: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Positions among `rows`, ascending, cluster by cluster; a cluster far above its share comes in parts."""
    count = -(-len(rows) // CELL)
    place = np.zeros(len(rows), dtype=np.int32)
    if count > 1:
        sample = rows[np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE * count)).astype(np.int64)]
        centres = Neighbours(means(copied(embedding, sample), count, 0), len(rows))
        for start in range(0, len(rows), BLOCK):
            place[start:start + BLOCK] = centres(copied(embedding, rows[start:start + BLOCK]))[1]
    for cell in np.split(np.argsort(place, kind="stable"), np.cumsum(np.bincount(place, minlength=count))[:-1]):
        for start in range(0, len(cell), 2 * CELL):
            yield cell[start:start + 2 * CELL]


def _leaders(points: np.ndarray, near: float) -> np.ndarray:
    """Rows of the points (n, d) that are kept: in their order all that no kept one is near to."""
    points = points - points.mean(axis=0) if len(points) else points
    squares = np.einsum("nd,nd->n", points, points)
    alike = squares[:, None] + squares - 2 * (points @ points.T) < near**2
    barred, kept = np.zeros(len(points), dtype=bool), []
    for row in range(len(points)):
        if not barred[row]:
            kept.append(row)
            barred |= alike[row]
    return np.array(kept, dtype=np.int64)
