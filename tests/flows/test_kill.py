"""A run that is killed again and again ends where an undisturbed one ends, and does nothing twice."""

import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.flows.conftest import finish, start


def experiments(workdir: Path) -> int:
    path = workdir / "runs" / "table.db"
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute("select count(*) from experiment").fetchone()[0]
    except sqlite3.OperationalError:  # not made yet
        return 0


def any_file(pattern: str) -> Callable[[Path], bool]:
    return lambda workdir: any(workdir.glob(pattern))


POINTS = {
    "while a detector trains": any_file("runs/cache/detectors/*.part.pth"),
    "after the second experiment": lambda workdir: experiments(workdir) >= 2,
    "while the agent searches": any_file("runs/cache/searches/*.pt"),
    "in the second cycle": lambda workdir: experiments(workdir) >= 10,
    "between the strategies": any_file("runs/quick/random/1/result.json"),
}


def kill_when(reached: Callable[[Path], bool], workdir: Path) -> None:
    process = start(workdir)
    deadline = time.monotonic() + 300
    while not reached(workdir):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "the point was never reached"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def without_times(results: dict) -> dict:
    """Seconds differ; nothing else may."""
    if isinstance(results, dict):
        return {key: without_times(value) for key, value in results.items() if key != "seconds"}
    return [without_times(one) for one in results] if isinstance(results, list) else results


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("killed")
    for reached in POINTS.values():
        kill_when(reached, workdir)
    return finish(workdir)


def test_the_outcome_is_that_of_an_undisturbed_run(killed, quick):
    assert without_times(killed.results) == without_times(quick.results)


def test_every_experiment_was_run_once(killed, quick):
    assert experiments(killed.workdir) == experiments(quick.workdir)
    runs = "select count(*), count(distinct t.value) from runs r join tags t on t.run_uuid = r.run_uuid " \
           "where t.key = 'mgral.key'"
    counts = []
    for one in (killed, quick):
        with closing(sqlite3.connect(one.workdir / "mlruns" / "mlflow.db")) as connection:
            counts.append(connection.execute(runs).fetchone())
    assert counts[0] == counts[1]
    assert counts[0][0] == counts[0][1]


def test_it_says_what_it_reused(killed, quick):
    assert re.findall(r"\[mgral 1/2\] reused (\d+), run (\d+)", killed.said) == [("7", "0")]
    assert re.findall(r"\[mgral 1/2\] reused (\d+), run (\d+)", quick.said) == [("0", "7")]


def test_no_half_written_file_is_left(killed):
    assert subprocess.run(["find", str(killed.workdir), "-name", "*.part.pth"], capture_output=True, text=True,
                          check=True).stdout == ""


def test_every_figure_of_the_results_is_there(quick):
    cycles = quick.results["cycles"]
    assert [one["labelled"] for one in cycles] == [24, 36]
    assert quick.results["final"]["labelled"] == quick.results["baselines"]["random"]["final"]["labelled"] == 48
    for one in cycles:
        assert len(one["chosen"]) == len(set(one["chosen"])) == 12
        assert one["records"] == 7 + one["fallbacks"]
        assert -1 <= one["spearman"] <= 1
        assert one["loo_r2"] <= 1
        assert 0 <= one["map"] <= one["ap50"] <= 1
        assert set(one["seconds"]) == {"train", "test", "inspect", "experiments", "search", "controls",
                                       "annotate"}
    assert not set(cycles[0]["chosen"]) & set(cycles[1]["chosen"])


def test_everything_lies_under_the_working_directory_and_is_announced(quick):
    for name in ("report/table.md", "report/learning_curve.png", "mgral/1/chosen.jpg", "mgral/2/preannotations.json"):
        assert (quick.workdir / "runs" / "quick" / name).stat().st_size > 0
    assert "mlflow ui --host 127.0.0.1" in quick.said
    assert "One seed" in quick.said
