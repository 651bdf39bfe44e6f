"""The studies behind docs/results, on settings so small that their figures mean nothing."""

import json

import numpy as np
import pytest

from mgral.config import Config
from mgral.data.dataset import Boxes
from mgral.inspection import Detections
from mgral.lookup.estimator import Estimate
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

        for name, value in {"RECORDS": 6, "TWICE": 2, "HELD_OUT": 3, "TRUE_STEPS": 4, "LONG": 2}.items():
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


def test_the_tables_of_two_seeds_are_means(studies):
    _, reward, _, stage, folder, _ = studies
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"REPRESENTATIONS": {"histogram": ("histogram",), "default": reward.DEFAULT,
                                                "without": reward.DEFAULT[1:]},
                            "ESTIMATORS": ("gp",), "DRAWS": 2, "SIZES": (6,), "RESAMPLES": 3,
                            "WAYS": {"24 whole": (5, (), 1)}}.items():
            patch.setattr(reward, name, value)
        found = reward.tables(stage, reward.Measurements(folder / "0.jsonl"), stage.config.table)
        other = {name: [{**row, **({"true": row["true"] - 1, "error": 0.0} if "true" in row else {})} for row in rows]
                 for name, rows in found.items()}
        text = reward.summary({name: [{"seed": 0, **row} for row in found[name]]
                               + [{"seed": 1, **row} for row in other[name]] for name in found})
    assert set(text) == {"signal", "direct", "estimates", "of each seed", "representations", "rounds", "spent",
                         "deviations", "lengths"}
    row = next(one for one in found["estimates"] if (
        one["source"], one["reward"], one["representation"], one["whitening"], one["estimator"]) == (
        "student", "balanced_loss", "default", "columns", "gp"))
    cell = f"{row['loo_r2']:.2f} / {row['true'] - 0.5:.2f} ± {row['error'] / 2:.2f} |"
    assert any(line.startswith("| student | spread | balanced_loss") and line.endswith(cell)
               for line in text["estimates"].splitlines())
    assert {(one["source"], one["records"]) for one in found["rounds"]} == {("semisupervised", 6), ("student", 6)}


def test_rounds_take_what_the_estimator_is_least_sure_of(studies):
    _, reward, *_ = studies
    seen = []

    class Ignorant:
        """Knows the batches that it was taught, and is the less sure of others the farther they are."""

        def __init__(self, kept):
            self.known = np.array(kept, dtype=float)

        def predict(self, described):
            distance = np.abs(described[:, None] - self.known).min(axis=1)
            return Estimate(np.zeros(len(described)), distance, distance)

        def add(self, described, rewards):
            self.known = np.append(self.known, described)
            return self

    def taught(kept):
        seen.append(list(kept))
        return Ignorant(kept)

    batches = [(str(row),) for row in range(12)]
    kept = reward.in_rounds(lambda ones: np.array([float(one[0]) for one in ones]), batches, [5, 4, 6, *range(4),
                            *range(7, 12)], 6, taught)
    assert kept[:3] == [5, 4, 6]
    assert seen == [[5, 4, 6]]
    assert sorted(kept[3:5]) == [0, 11]
    assert len(set(kept)) == 6


def test_right_boxes_are_counted_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import teacher
    truth = Boxes.of([(0, 0, 10, 10), (20, 20, 30, 30)], [0, 1])
    found = Detections(np.array([(0, 0, 10, 9), (0, 0, 10, 10), (20, 20, 30, 30), (50, 50, 60, 60)], np.float32),
                       np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.array([0, 0, 0, 1]))
    assert teacher.matched(found, truth) == (1, 4, 2)
    assert teacher.matched(found, Boxes.of([], [])) == (0, 4, 0)
    assert teacher.matched(found.above(0.95), truth) == (0, 0, 2)


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
