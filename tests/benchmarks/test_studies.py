"""The studies behind docs/results, on settings so small that their figures mean nothing."""

import json

import numpy as np
import pytest

from mgral.config import Config
from tests.conftest import ROOT

TINY = {
    "data": {"labelled": 16, "synthetic": {"pool": 56, "reward": 8, "test": 8, "image_size": 32}},
    "detector": {"image_size": 32}, "training": {"steps": 4, "batch_size": 4},
    "semisup": {"steps": 4, "labelled_per_step": 2, "unlabelled_per_step": 2},
    "search": {"iterations": 3, "batches_per_iteration": 4}, "table": {"fallback_cap": 0},
    "study": {"name": "tiny", "budget": 6}}


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """The scripts, and the measurements of one seed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import agent
        import reward
        import reward_records as records

        for name, value in {"RECORDS": 5, "TWICE": 2, "HELD_OUT": 3, "TRUE_STEPS": 4, "LONG": 2}.items():
            patch.setattr(records, name, value)
        folder = tmp_path_factory.mktemp("studies")
        stage = records.staged(Config.model_validate(TINY), None, folder)
        said = []
        records.run(records.measurements(stage), folder / "0.jsonl", said.append)
        records.run(records.measurements(stage), folder / "0.jsonl", said.append)
        yield records, reward, agent, stage, folder, said


def test_every_measurement_is_made_once(studies):
    *_, folder, said = studies
    lines = [json.loads(line) for line in (folder / "0.jsonl").read_text().splitlines()]
    assert len(said) == len(set(said)) == len(lines)
    assert {one["key"].rsplit("/", 2)[0] for one in lines} >= {
        "truth", "direct", "semisupervised/random", "semisupervised/spread", "student/spread", "student, long/spread",
        "labelled/spread", "long/spread"}


def test_the_reward_study_reads_them(studies):
    _, reward, _, stage, folder, _ = studies
    found = reward.Measurements(folder / "0.jsonl")
    assert found.true_gain().shape == (3,)
    rows = reward.signal(found)
    again = found.values("truth", "loss", 1)
    first = found.values("truth", "loss", 0)
    row = next(one for one in rows if (one["table"], one["reward"], one["average"]) == ("truth", "loss", 1))
    assert row["runs"] == pytest.approx(np.sqrt(((first - again) ** 2).mean() / 2))
    names = {one["by"] for one in reward.direct(stage, found)}
    assert {"another run with true labels", "reward soft_ap", "entropy of detections"} <= names
    ends = [one for one in reward.lengths(found) if one["share"] == 1]
    assert all(one["spearman"] in (0.0, pytest.approx(1.0)) for one in ends)
    assert len(ends) == 5


def test_tables_of_equal_cost_are_set_against_whole_trainings(studies):
    _, reward, _, stage, folder, _ = studies
    ways = {"24 whole": (5, (), 1), "two seeds": (3, (), 2), "stopped": (5, (2,), 1)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reward, "WAYS", ways)
        patch.setattr(reward, "DRAWS", 2)
        rows = reward.spent(stage, reward.Measurements(folder / "0.jsonl"), stage.config.table)
    # Semi-supervised batches were not all measured twice.
    assert [(one["source"], one["spent on"]) for one in rows if one["estimator"] == "gp"] == [
        *(("semisupervised", name) for name in ("24 whole", "stopped")), *(("student", name) for name in ways)]
    assert all(one["gain"] == 0 for one in rows if one["spent on"] == "24 whole")


def test_the_next_cycle_learns_with_and_without_the_records_of_the_first(studies):
    records, _, _, stage, folder, _ = studies
    import history

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"RECORDS": 5, "SIZES": (4, 5), "HELD_OUT": 3}.items():
            patch.setattr(history, name, value)
        path = folder / "history.jsonl"
        records.run(history.tables(stage, "first"), path, lambda key: None)
        table = history.settled(history.Measurements(path), "first/records", stage)
        second = records.advanced(stage, table.batches[0], folder / "second")
        assert {*second.splits.labelled} == {*stage.splits.labelled, *table.batches[0]}
        records.run(history.tables(second, "second"), path, lambda key: None)
        rows = history.compared(stage, second, history.Measurements(path))
        found = history.summary([{"seed": 0, **one} for one in rows])
    assert [(one["records"], one["earlier"]) for one in found] == [(4, False), (4, True), (5, False), (5, True)]
    assert all(one["weight"] == 0 for one in rows if not one["earlier"])
    assert all(one["loo_r2"] >= other["loo_r2"] - 1e-9 for one, other in zip(rows[1::2], rows[::2], strict=True))


def test_the_agent_study_sets_every_searcher_beside_random(studies):
    _, _, agent, stage, _, _ = studies
    patched = {**agent.PAPER, "iterations": 3}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agent, "PAPER", patched)
        found = agent.searched(stage, 5, None)
    agents = {"agent", "agent, caution 1", "agent, polished", "agent, paper"}
    assert set(found["gain"]) == set(found["value"]) == {
        *agents, *(f"{name}, checked" for name in agents), "swap", "random", "cross_entropy", "balanced_entropy",
        "best_record", "measured_best", "measured_best of more", "rare_first"}
    for name in agents:
        kept = found["measured"][name] >= found["measured"]["best_record"]
        assert found["value"][f"{name}, checked"] == found["value"][name] or not kept
    assert found["gain"]["random"] == 0
    assert found["value"]["swap"] >= max(found["value"][name] for name in ("balanced_entropy", "best_record"))
    table = agent.summary([{"seed": 0, **found}, {"seed": 1, **found}])
    assert "| balanced_entropy |" in table
    assert "± 0.00" in table
