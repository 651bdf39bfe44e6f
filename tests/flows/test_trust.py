"""What a cycle does with a table that cannot guide a search."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from mgral.inspection import Inspection
from mgral.report.summary import remarks
from mgral.strategies import PoolView, choose
from mgral.study.fingerprint import derived_seed
from mgral.study.progress import Progress, current
from tests.conftest import ROOT

ORIGIN = "balanced_entropy, as the table cannot guide a search"


@pytest.fixture(scope="module")
def condemned(quick, tmp_path_factory):
    """The first cycle of the quick study, its table declared unfit and `search.trust` left at `auto`."""
    from flows.arguments import job_of
    from mgral.study.opened import open_study
    from tasks.bookkeeping import record_cycle
    from tasks.detector import inspect_images, train_detector
    from tasks.prepare import prepare_data
    from tasks.search import search_images
    from tasks.source import divided
    from tasks.table import fill_table

    folder = tmp_path_factory.mktemp("condemned")
    shutil.copytree(quick.workdir, folder / "work")
    params = folder / "params.yaml"
    params.write_text((ROOT / "examples/quick.yaml").read_text().replace(", trust: always", ""))
    job = job_of(params, folder / "work", None, "mgral", 1)
    assert job.config.search.trust == "auto"
    progress = Progress()
    progress.expect({"search": 20})
    token = current.set(progress)
    prepare_data(job)
    trained = train_detector(job, 0)
    view, _ = inspect_images(job, trained)
    filled = replace(fill_table(job, trained, view), guides=False)
    before = open_study(job).workspace.table.read_bytes()
    choice = search_images(job, trained, view, filled)
    result = record_cycle(job, trained, filled, choice, "snapshot", {})
    assert open_study(job).workspace.table.read_bytes() == before, "no experiment may be run"
    current.reset(token)
    return job, result, progress, divided(job, Inspection.load(view)), Inspection.load(view)


def test_the_batch_is_that_of_the_heuristic(condemned):
    job, result, _, (pool, known), seen = condemned
    rng = np.random.default_rng(derived_seed(job.config.seed, "balanced_entropy", 1))
    assert result.chosen == tuple(sorted(choose("balanced_entropy", PoolView(pool, known, seen), 12, rng)))
    assert (result.origin, result.value, result.fallbacks, result.records) == (ORIGIN, None, 0, 7)
    assert result.controls == {}


def test_it_says_so(condemned):
    job, result, *_ = condemned
    (line,) = remarks(result)
    assert line.endswith(f"No search was run: the batch is that of {ORIGIN}.")
    folder = job.workspace.cycle("mgral", 1)
    assert (folder / "search.csv").read_text().splitlines() == [
        "iteration,mean,best,baseline,entropy,gradient_norm,best_so_far"]
    assert (folder / "search.png").stat().st_size > 0


def test_mlflow_has_it(condemned):
    import mlflow

    job, *_ = condemned
    client = mlflow.MlflowClient(f"sqlite:///{job.workspace.mlruns / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("quick").experiment_id
    runs = client.search_runs([experiment], f"tags.`mgral.origin` = '{ORIGIN}'")
    assert [one.data.params["search.trust"] for one in runs] == ["auto"]


def test_mlflow_has_the_controls_of_a_search(quick):
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{quick.workdir / 'mlruns/mlflow.db'}")
    experiment = client.get_experiment_by_name("quick").experiment_id
    runs = client.search_runs([experiment], "tags.`mgral.kind` = 'cycle' and tags.`mgral.strategy` = 'mgral'")
    logged = sorted((one.data.metrics["search/value"], one.data.metrics["search/control/swap"]) for one in runs)
    assert logged == sorted((one["value"], one["controls"]["swap"]) for one in quick.results["cycles"])


def test_no_search_is_left_to_be_done(condemned):
    assert condemned[2].remaining() == (0, True)


def test_a_search_that_was_run_says_what_its_batch_and_those_of_its_controls_are_worth(quick):
    for one in quick.results["cycles"]:
        assert set(one["controls"]) == {"swap", "cross_entropy", "balanced_entropy", "best_record", "random"}
        start = max(one["controls"][name] for name in ("balanced_entropy", "best_record"))
        assert one["controls"]["swap"] >= start - 1e-9  # products of other shapes round otherwise
        line = f"mgral {one['cycle']}: estimated worth of its batch: agent {one['value']:.3f}; "
        assert sum(said.startswith(line) for said in quick.said.splitlines()) == 1
        assert one["origin"] in ("greedy", "sampled")
        assert np.isfinite(one["value"])
