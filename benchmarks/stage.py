"""A first cycle up to its choice, made and kept as a run makes it: what the studies of rewards and searches work on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from mgral.config import Config
from mgral.experiments.runner import Provenance
from mgral.experiments.store import open_table
from mgral.files import canonical_json, sha256
from mgral.fingerprint import fingerprint
from mgral.pool.content import fit_content
from mgral.pool.inspection import Inspection, write_inspection
from mgral.search.setup import Setup
from mgral.strategies import PoolView, distinct_only
from mgral.study.preparation import Prepared, open_images, prepare
from mgral.study.snapshot import version
from mgral.study.workspace import Workspace
from mgral.training.detectors import Detectors, inspected


@contextmanager
def staged(config: Config, data: Path | None, folder: Path, seed: int) -> Iterator[PoolView]:
    """The pool as the cycle's detector sees it, true boxes included, with experiments on it as `setup`.

    Draws, splits, trains and inspects; what lies in the folder already is read. Each seed draws scenes or splits of
    its own.
    """
    workspace = Workspace(folder, config.study.name, seed)
    prepared = prepare(config, workspace, data)
    splits, snapshot = prepared.splits, version(workspace, config.study.strategies[0], 0)
    detectors = _detectors(config, prepared, workspace)
    name = fingerprint("detector", snapshot, _hash(prepared), config.detector, config.training, seed,
                       canonical_json([config.study.training, config.semisup.used()]))
    truth = prepared.dataset.boxes
    known, reward, test, pool = ({image_id: truth[image_id] for image_id in ids} for ids in (
        splits.labelled, splits.reward, splits.test, splits.pool))
    detectors.train(name, known, splits.labelled + splits.pool)
    seen = _inspection(detectors, name, workspace, tuple(sorted(splits.labelled + splits.pool + splits.reward)))
    with open_table(f"sqlite:///{workspace.table}") as table:
        setup = Setup(config.table, config.search, config.semisup, detectors, name, table,
                      Provenance(config.study.name, "mgral", 1, snapshot, seed), config.study.budget, _hash(prepared),
                      known, reward, workspace.cache, pool_truth=pool, test=test)
        view = PoolView(splits.pool, splits.labelled, seen, detectors.classes, truth, setup, annotated=known,
                        content=fit_content(seen, known | reward, detectors.classes, known),
                        near_duplicates=config.pool.near_duplicates)
        yield distinct_only(view, config.study.budget)


def _detectors(config: Config, prepared: Prepared, workspace: Workspace) -> Detectors:
    images = open_images(prepared.dataset, config.detector.image_size, workspace.images)
    store = images.with_views(config.training.views)
    return Detectors(config.detector, config.training, config.semisup, config.study.training, prepared.dataset.classes,
                     store, "cpu", workspace.seed, workspace.cache / "detectors")


def _inspection(detectors: Detectors, name: str, workspace: Workspace, ids: tuple[str, ...]) -> Inspection:
    path = workspace.cached("inspections", fingerprint("inspection", name, ids), "")
    if not path.exists():
        write_inspection(path, inspected(detectors.open(name), detectors.store, ids, "inspecting the pool", "inspect"))
    return Inspection.load(path)


def _hash(prepared: Prepared) -> str:
    return sha256(canonical_json(asdict(prepared.splits)))
