import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mgral.params import read_config
from mgral.strategies import names
from tests.detection.weights import needs_weights

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
SCRIPTS = sorted(path for path in (ROOT / "benchmarks").glob("*.py") if "def main(" in path.read_text())


def test_every_benchmark_is_in_the_docs_and_says_how_it_is_run():
    docs = (ROOT / "docs" / "benchmarks.md").read_text()
    assert len(SCRIPTS) > 10
    for path in SCRIPTS:
        doc = ast.get_docstring(ast.parse(path.read_text()))
        assert f"python benchmarks/{path.name} " in doc
        assert "[--json]" in doc
        assert f"`{path.stem}" in docs


def test_the_settings_beside_them_are_valid():
    paths = sorted((ROOT / "benchmarks").glob("*.yaml"))
    assert [read_config(path).study.name for path in paths] == [path.stem for path in paths] == ["bccd"]


def test_the_evaluation_benchmark_ends_in_one_json_object():
    command = [sys.executable, "benchmarks/evaluation.py", "--images", "20", "--classes", "3", "--repeats", "1"]
    table = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True,
                           check=True).stdout.splitlines()
    found = json.loads(table[-1])
    assert set(found) == {"name", "ratio", "goal", "raw"}
    assert found["name"] == "evaluation"
    assert found["raw"]["largest_difference"] < 1e-9
    assert table[0].startswith("ours, from boxes in memory")
    assert found["goal"] == 10


@needs_weights
def test_the_benchmark_of_frozen_stages_compares_losses_before_it_measures():
    sizes = {"images": 12, "steps": 12, "repeats": 1, "threads": 1}
    command = [sys.executable, "benchmarks/frozen.py", *(f"--{name}={size}" for name, size in sizes.items())]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["name"], found["goal"], set(found)) == ("frozen", 2, {"name", "ratio", "goal", "raw"})
    assert found["raw"]["loss_difference"] < 1e-3
    assert found["raw"]["kept_mib"] > 0.1
    assert found["ratio"] > 0


def test_the_search_agrees_with_its_reference_and_ends_in_one_json_object():
    command = [sys.executable, "benchmarks/search.py", "--pool", "60", "--budget", "6", "--batches", "4",
               "--iterations", "2", "--threads", "1", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert (found["name"], set(found)) == ("search", {"name", "ratio", "goal", "raw"})
    assert found["raw"]["differences"]["scores"] < 1e-5
    assert found["ratio"] > 0


def test_the_estimator_benchmark_compares_before_it_measures():
    sizes = {"pool": 600, "batches": 40, "records": 30, "batch": 50, "sample": 10, "repeats": 1}
    command = [sys.executable, "benchmarks/estimator.py", *(f"--{name}={size}" for name, size in sizes.items())]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["name"], found["goal"]) == ("estimator", 50)
    estimators = {"inverse_distance", "ridge", "gp", "ensemble"}
    assert set(found["raw"]["plain"]) == set(found["raw"]["kept"]) == estimators
    assert set(found["raw"]["largest_difference"]) == {"description", *estimators}
    assert found["ratio"] == min(found["raw"]["plain"].values())


def test_the_cost_of_choosing_is_that_of_every_strategy(tmp_path):
    settings = {"data": {"format": "synthetic", "labelled": 16,
                         "synthetic": {"pool": 56, "reward": 8, "test": 8, "image_size": 32, "duplicates": 0.35,
                                       "empty": 0.15}},
                "detector": {"image_size": 32}, "training": {"steps": 4, "batch_size": 4},
                "semisup": {"steps": 2, "labelled_per_step": 2, "unlabelled_per_step": 2},
                "search": {"iterations": 2, "agent": {"batches_per_iteration": 4}},
                "table": {"records": 4, "repeats": 0, "at_once": 1}, "study": {"budget": 6}}
    params = tmp_path / "params.yaml"
    params.write_text(json.dumps(settings))
    command = [sys.executable, "benchmarks/selection_cost.py", "--params", str(params), "--json"]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert (found["name"], found["goal"]) == ("selection_cost", 1)
    raw = found["raw"]
    assert set(raw["choosing_s"]) == set(names())
    assert raw["processor"]
    assert (raw["labelled"], raw["budget"]) == (16, 6)
    assert 6 <= raw["pool"] <= 40
    assert set(raw["shared_s"]) == {"content", "near_duplicates"}
    spent = raw["choosing_s"]["mgral"]
    whole = spent["fit"] + spent["select"] + sum(raw["shared_s"].values())
    assert found["ratio"] == pytest.approx(raw["training_s"] / whole, abs=0.01)
    assert spent["fit"] > raw["choosing_s"]["random"]["fit"]
    assert spent["select"] > raw["choosing_s"]["random"]["select"], "the search is run whatever the table is worth"


def test_the_scaling_benchmark_goes_from_embeddings_to_a_batch():
    command = [sys.executable, "benchmarks/scaling.py", "--images", "700", "--shortlist", "200", "--budget", "20",
               "--records", "8", "--iterations", "2", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert (found["name"], found["goal"]) == ("scaling", 1)
    (size,) = found["raw"]
    counts = {"images": 700, "labelled": 70, "shortlist": 200, "budget": 20, "records": 8}
    assert {name: size[name] for name in counts} == counts
    assert list(size["seconds"]) == ["import", "open", "shortlist", "design", "representation", "fit", "search",
                                     "controls"]
    assert sum(size["seconds"].values()) <= size["total_seconds"] + 0.1
    assert 0 < size["anonymous_mb"] <= size["peak_mb"]


def test_the_reading_benchmark_counts_before_it_compares():
    command = [sys.executable, "benchmarks/reading.py", "--images", "300", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert (found["name"], found["goal"]) == ("reading", 1)
    sides = [found["raw"][name] for name in ("reference", "cold", "warm")]
    assert [side["counts"]["images"] for side in sides] == [300] * 3
    assert found["raw"]["cold"]["counts"]["boxes"] == found["raw"]["reference"]["counts"]["boxes"] > 1800
    assert found["ratio"] == round(sides[0]["seconds"] / sides[1]["seconds"], 2)
    plain = [found["raw"]["folder"][name] for name in ("reference", "cold", "warm")]
    assert [side["counts"] for side in plain] == [{"images": 300, "boxes": 0}] * 3
    assert all(side["peak_mb"] > 10 and side["cpu"] > 0 for side in sides + plain)
