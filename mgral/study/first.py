"""The first batch of a study in which nothing is labelled: chosen for diversity, by how the pictures look."""

from __future__ import annotations

import numpy as np

from mgral.annotation.coco import export_batch
from mgral.config import StudyConfig
from mgral.data.appearance import appearances
from mgral.data.dataset import Dataset, ImageId
from mgral.data.formats import cached
from mgral.pool.neighbours import means, nearest
from mgral.progress import current
from mgral.randomness import derived_seed
from mgral.study.batches import PREANNOTATIONS, batch_files, mark
from mgral.study.preparation import Described
from mgral.study.results import Awaiting, Choice, ChoiceRecord
from mgral.study.workspace import Workspace


def first_batch(study: StudyConfig, workspace: Workspace, described: Described) -> Awaiting:
    """Chooses the batch once, and writes it for people to label; `describe` has checked the budget."""
    record, dataset = workspace.handed_out("", 0), described.dataset
    if not record.exists():
        ids = _chosen(study, workspace, dataset)
        mark(workspace)
        export_batch(record.with_name(PREANNOTATIONS), dataset, ids, {}, info={"study": study.name, "cycle": 0})
        ChoiceRecord(Choice(ids, "diversity"), None, None, {}).write(record)  # last: where it stands, all of it stands
    ids = batch_files(workspace, "", 0).choice().ids
    missing = sum(image_id not in dataset.boxes for image_id in ids)
    return Awaiting("the first batch", 0, len(ids), missing, record.with_name(PREANNOTATIONS),
                    workspace.first / "batch.html")


def _chosen(study: StudyConfig, workspace: Workspace, dataset: Dataset) -> tuple[ImageId, ...]:
    ids = sorted(dataset.images)
    cache = cached(workspace.heads, dataset.root, "thumbnails")
    points = appearances(dataset.root, ids, cache, dataset.white, current.get().report("looking at images"))
    points = points.astype(np.float32)
    return tuple(sorted(ids[row] for row in typical(points, study.budget, derived_seed(workspace.seed, "first batch"))))


def typical(points: np.ndarray, count: int, seed: int) -> list[int]:
    """Rows of `count` points (N, d), the one in the middle of each cluster: diverse, and no outliers, which a greedy
    cover would begin with.

    Source: Hacohen et al., Active Learning on a Budget (2022), where a point in a dense place stands for its cluster;
    here the point nearest to the cluster's mean.
    """
    rows: dict[int, None] = {}
    while len(rows) < count:
        left = np.setdiff1d(np.arange(len(points)), list(rows))
        centres = means(points[left], count - len(rows), seed)
        rows.update(dict.fromkeys(left[nearest(centres, points[left])[1]].tolist()))
    return list(rows)[:count]
