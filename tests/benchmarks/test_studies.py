"""The studies behind docs/results, on settings so small that their figures mean nothing."""

import numpy as np
import pytest

from mgral.config import Config
from mgral.data.dataset import Boxes
from mgral.pool.inspection import Detections
from tests.conftest import ROOT

TINY = {
    "data": {"format": "synthetic", "labelled": 16,
             "synthetic": {"pool": 56, "reward": 8, "test": 8, "image_size": 32, "duplicates": 0.35,
                           "empty": 0.15}},
    "detector": {"image_size": 32}, "training": {"steps": 4, "batch_size": 4},
    "semisup": {"steps": 4, "labelled_per_step": 2, "unlabelled_per_step": 2},
    "search": {"iterations": 3, "agent": {"batches_per_iteration": 4}},
    "pool": {"near_duplicates": "allow"}, "table": {"at_once": 1},
    "study": {"name": "tiny", "budget": 6}}
RECORDS = 5


@pytest.fixture(scope="module")
def scripts():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import agent
        import reward
        import reward_records
        import stage
        import teacher

        patch.setattr(agent, "PAPER", agent.PAPER.model_copy(update={"iterations": 3}))
        patch.setattr(reward_records, "LONG", 2)
        patch.setattr(reward_records, "MEASUREMENTS", 2)
        patch.setattr(reward, "RESAMPLES", 3)
        yield {"agent": agent, "reward": reward, "records": reward_records, "stage": stage, "teacher": teacher}


@pytest.fixture(scope="module")
def view(scripts, tmp_path_factory):
    """One seed's cycle up to its choice."""
    with scripts["stage"].staged(Config.model_validate(TINY), None, tmp_path_factory.mktemp("studies"), 0) as opened:
        yield opened


@pytest.fixture(scope="module")
def measured(scripts, view):
    """Its experiments, whole."""
    planned = scripts["records"].series(view, RECORDS, held_out=3)
    for series in planned.values():
        series.measure()
    return planned


def test_every_measurement_is_made_once(scripts, view, measured):
    before = len(view.setup.table.records())
    assert before == sum(len(batches) for series in measured.values() for batches in series.batches)
    again = scripts["records"].series(view, RECORDS, held_out=3)
    for name, series in again.items():
        series.measure()
        assert [record.image_ids for record in series.found()] == measured[name].batches[0]
        assert series.runner.new == 0
    assert len(view.setup.table.records()) == before
    held, designed = (set(measured[name].batches[0]) for name in ("truth", "student/spread"))
    assert not held & designed


def test_the_reward_study_reads_them(scripts, view, measured):
    reward = scripts["reward"]
    found = reward.Measurements(measured)
    assert found.true_gain().shape == (3,)
    rows = reward.signal(found)
    first, again = (found.values("truth", "loss", repeat) for repeat in (0, 1))
    row = next(row for row in rows if (row["table"], row["reward"]) == ("truth", "loss"))
    assert row["runs"] == pytest.approx(np.sqrt(((first - again) ** 2).mean() / 2))
    names = {row["by"] for row in reward.direct(view, found)}
    assert {"another run with true labels", "student soft_ap", "anew map", "entropy of detections"} <= names
    ends = [row for row in reward.lengths(found.records("long/spread")) if row["share"] == 1]
    assert all(row["spearman"] in (0.0, pytest.approx(1.0)) for row in ends)
    assert len(ends) == 5


def test_tables_of_equal_cost_are_set_against_whole_trainings(scripts, view, measured, monkeypatch):
    reward = scripts["reward"]
    ways = {"24 whole": (5, (), 1), "two seeds": (3, (), 2), "stopped": (5, (1,), 1)}
    monkeypatch.setattr(reward, "WAYS", ways)
    monkeypatch.setattr(reward, "DRAWS", 2)
    rows = reward.spent(view, reward.Measurements(measured), view.setup.config)
    # Semi-supervised batches were not all measured twice.
    assert [(row["source"], row["spent on"]) for row in rows if row["estimator"] == "gp"] == [
        *(("semisupervised", name) for name in ("24 whole", "stopped")), *(("student", name) for name in ways)]
    assert all(row["gain"] == 0 for row in rows if row["spent on"] == "24 whole")


def test_the_worse_half_stops_at_a_rung(scripts, measured):
    records = measured["student/spread"].found()
    kept = scripts["reward"].stopped(records, (1,))
    steps = [record.steps for record in kept]
    assert (len(kept), steps) == (RECORDS, [2] * 2 + [4] * 3)
    figures = {record.image_ids: record.curve[0]["balanced_loss"] for record in records}
    assert max(figures[record.image_ids] for record in kept[2:]) <= min(
        record.figures["balanced_loss"] for record in kept[:2])


def test_the_tables_of_two_seeds_are_means(scripts, view, measured, monkeypatch):
    reward = scripts["reward"]
    default = ", ".join(reward.DEFAULT)
    for name, value in {"REPRESENTATIONS": {"histogram": ("histogram",), default: reward.DEFAULT},
                        "ESTIMATORS": ("gp",), "DRAWS": 2, "WAYS": {"24 whole": (5, (), 1)}}.items():
        monkeypatch.setattr(reward, name, value)
    found = reward.tables(view, reward.Measurements(measured))
    other = {name: [{**row, **({"true": row["true"] - 1, "error": 0.0} if "true" in row else {})} for row in rows]
             for name, rows in found.items()}
    text = reward.summary({name: [{"seed": 0, **row} for row in found[name]]
                           + [{"seed": 1, **row} for row in other[name]] for name in found})
    assert set(text) == {"signal", "direct", "estimates", "of each seed", "representations", "spent", "deviations",
                         "lengths"}
    row = next(row for row in found["estimates"] if reward.SHIPPED.items() <= row.items())
    cell = f"{row['loo_r2']:.2f} / {row['true'] - 0.5:.2f} ± {row['error'] / 2:.2f} |"
    assert any(line.startswith("| student | spread | balanced_loss") and line.endswith(cell)
               for line in text["estimates"].splitlines())


def test_right_boxes_are_counted_once(scripts):
    matched = scripts["teacher"].matched
    truth = Boxes.of([(0, 0, 10, 10), (20, 20, 30, 30)], [0, 1])
    found = Detections(np.array([(0, 0, 10, 9), (0, 0, 10, 10), (20, 20, 30, 30), (50, 50, 60, 60)], np.float32),
                       np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.array([0, 0, 0, 1]))
    assert matched(found, truth) == (1, 4, 2)
    assert matched(found, Boxes.of([], [])) == (0, 4, 0)
    assert matched(found.above(0.95), truth) == (0, 0, 2)


def test_the_agent_study_sets_every_searcher_beside_random(scripts, view):
    agent = scripts["agent"]
    found = agent.searched(view, 5)
    agents = {"agent", "agent, risk aversion 1", "agent, paper"}
    assert set(found["gain"]) == set(found["value"]) == {
        *agents, *(f"{name}, checked" for name in agents), "swap", "random", "cross_entropy", "content",
        "best_record", "measured_best", "measured_best of more", "rare_first"}
    runner = agent.filled(view, 5).runner
    for name in agents:
        # The better of the search's batch and the table's best, as measured.
        worth = {which: runner.measure(found["chosen"][which], "check").reward("balanced_loss")
                 for which in (name, "measured_best", f"{name}, checked")}
        assert worth[f"{name}, checked"] == max(worth[name], worth["measured_best"])
    assert found["gain"]["random"] == 0
    assert found["value"]["swap"] >= max(found["value"][name] for name in ("content", "best_record"))
    truths = view.setup.table.records(view.setup.true_runner().scope, "truth")
    assert {record.repeat for record in truths if record.image_ids in found["chosen"].values()} == {0, 1}
    reached = [record.figures["map"] for record in truths if record.image_ids == found["chosen"]["swap"]]
    random = np.mean(reached) - found["gain"]["swap"]
    assert found["gain"]["rare_first"] == pytest.approx(np.mean([
        record.figures["map"] for record in truths if record.image_ids == found["chosen"]["rare_first"]]) - random)
    table = agent.summary([{"seed": 0, **found}, {"seed": 1, **found}])
    assert "| content |" in table
    assert "± 0.00" in table
