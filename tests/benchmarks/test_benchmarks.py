import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def test_the_evaluation_benchmark_ends_in_one_json_object():
    command = [sys.executable, "benchmarks/evaluation.py", "--images", "20", "--classes", "3", "--repeats", "1"]
    done = subprocess.run([*command, "--json"], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert set(found) == {"name", "ratio", "goal", "raw"}
    assert found["name"] == "evaluation"
    assert found["raw"]["largest_difference"] < 1e-9
    table = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True,
                           check=True).stdout.splitlines()
    assert table[0].startswith("ours, from boxes in memory")
    assert json.loads(table[-1])["goal"] == 10


@pytest.mark.parametrize(("name", "options"), [
    ("search", []), ("search_segments", ["--segments", "7", "--seeds", "2", "--quality-pool", "45"])])
def test_the_searches_agree_with_their_reference_and_end_in_one_json_object(name, options):
    command = [sys.executable, f"benchmarks/{name}.py", "--pool", "60", "--budget", "6", "--batches", "4",
               "--iterations", "2", "--threads", "1", "--json", *options]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert (found["name"], set(found)) == (name, {"name", "ratio", "goal", "raw"})
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
