"""The first batch of a study in which nothing is labelled: chosen for diversity, by how the pictures look."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mgral.annotation.coco import export_batch, import_annotations, names_of_classes
from mgral.config import StudyConfig
from mgral.data.appearance import appearances
from mgral.data.dataset import Dataset, ImageId
from mgral.data.formats import cached
from mgral.errors import StateError
from mgral.files import read_json, write_json
from mgral.pool.neighbours import means, nearest
from mgral.progress import current
from mgral.randomness import derived_seed
from mgral.study.corrections import keep_corrections, with_classes
from mgral.study.preparation import Described
from mgral.study.results import Awaiting
from mgral.study.workspace import Workspace

BATCH = "preannotations.json"


def first_batch(study: StudyConfig, workspace: Workspace, described: Described) -> Awaiting:
    """Chooses the batch once, and writes it for people to label; `describe` has checked the budget."""
    path, dataset = workspace.first / "choice.json", described.dataset
    if not path.exists():
        ids = _chosen(study, workspace, dataset)
        export_batch(workspace.first / BATCH, dataset, ids, {}, info={"study": study.name, "cycle": 0})
        write_json(path, list(ids))  # last: where it stands, all of it stands
    ids = read_json(path)
    return Awaiting("the first batch", 0, len(ids), len(ids), workspace.first / BATCH)


def import_first(workspace: Workspace, described: Described, file: Path) -> None:
    """Takes the labels of the first batch, for good; its classes are those of the file.

    Raises:
        StateError: there is no such batch, or the study has begun.
        DataError: the file does not hold exactly this batch, or has faulty boxes; nothing is changed then.
    """
    path, dataset = workspace.first / "choice.json", described.dataset
    if not path.exists():
        raise StateError(f"{path}: expected a first batch that was chosen, got no file; the data set has labels, or "
                         "nothing was run yet: `mgral run`")
    if workspace.splits.exists():
        raise StateError(f"{workspace.splits}: expected a study that has not begun, got one that stands on the first "
                         f"batch; delete {workspace.seed_folder} but for corrections.json and first/ to begin anew")
    dataset = with_classes(dataset, names_of_classes(file))
    keep_corrections(workspace, dataset, import_annotations(file, dataset, read_json(path)))


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
