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

from tests.flows.conftest import finish, main_cycles, start


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
    "while a detector trains": any_file("runs/quick/seed-0/prepared/splits.json"),
    "after the second experiment": lambda workdir: experiments(workdir) >= 2,
    "while the agent searches": any_file("runs/cache/searches/*.pt"),
    "in the second cycle": lambda workdir: experiments(workdir) >= 10,
    "between the strategies": any_file("runs/quick/seed-0/random/1/result.json"),
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
    assert re.findall(r"\[mgral 1/2\] the batch chosen before stays: (\d+) images", killed.said) == ["12"]
    assert re.findall(r"\[mgral 1/2\] reused (\d+), run (\d+)", quick.said) == [("0", "7")]


def test_no_half_written_file_is_left(killed):
    assert subprocess.run(["find", str(killed.workdir), "-name", "*.part.pth"], capture_output=True, text=True,
                          check=True).stdout == ""


def test_every_figure_of_the_results_is_there(quick):
    cycles = main_cycles(quick)
    assert [cycle["labelled"] for cycle in cycles] == [24, 36]
    assert [run["strategy"] for run in quick.results["runs"]] == ["mgral", "random"]
    assert [run["final"]["labelled"] for run in quick.results["runs"]] == [48, 48]
    chosen = [cycle["choice"]["ids"] for cycle in cycles]
    for cycle, ids in zip(cycles, chosen, strict=True):
        assert len(ids) == len(set(ids)) == len(cycle["choice"]["reasons"]) == 12
        assert cycle["table"]["records"] == 7 + cycle["search"]["fallbacks"]
        assert -1 <= cycle["table"]["spearman"] <= 1
        assert cycle["table"]["loo_r2"] <= 1
        assert set(cycle["search"]["controls"]) == {"swap", "cross_entropy", "content", "best_record",
                                                    "random"}
        assert 0 <= cycle["map"] <= cycle["ap50"] <= 1
        assert set(cycle["seconds"]) == {"train", "test", "inspect", "experiments", "search", "controls", "annotate"}
    assert not set(chosen[0]) & set(chosen[1])


def test_everything_lies_under_the_working_directory_and_is_announced(quick):
    for name in ("report/table.md", "report/learning_curve.png", "seed-0/mgral/1/batch.html",
                 "seed-0/mgral/2/preannotations.json"):
        assert (quick.workdir / "runs" / "quick" / name).stat().st_size > 0
    assert "mlflow ui --host 127.0.0.1" in quick.said
    assert "One seed" in quick.said
