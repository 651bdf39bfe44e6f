"""The list of stages: what each needs and makes, and what it costs."""

import pytest
import yaml

from mgral.config import Config, TableConfig
from mgral.data.splits import Splits
from mgral.study.plan import choosing, dvc_yaml, experiments, stages, work


@pytest.fixture(autouse=True)
def own_strategy(tmp_path, monkeypatch):
    """The file of a strategy, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own/entropy.py").write_text("def select(view, budget, rng):\n    return view.pool[:budget]\n")


def config(**sections) -> Config:
    study = {"strategies": ("mgral", "own/entropy.py"), "seeds": (3, 5), "cycles": 2} | sections.pop("study", {})
    return Config.model_validate({"study": study, **sections})


def by_name(planned):
    return {stage.name: stage for stage in planned}


def test_every_cycle_of_every_strategy_and_seed_is_a_stage():
    assert [stage.name for stage in stages(config())] == [
        "prepare-seed-3", "mgral-seed-3-1", "mgral-seed-3-2", "entropy-seed-3-1", "entropy-seed-3-2",
        "prepare-seed-5", "mgral-seed-5-1", "mgral-seed-5-2", "entropy-seed-5-1", "entropy-seed-5-2", "report"]
    assert [stage.name for stage in stages(config(study={"seeds": (3,), "cycles": 1}))] == [
        "prepare", "mgral-1", "entropy-1", "report"]


def test_what_a_stage_reads_of_the_study_an_earlier_one_makes():
    outputs = set()
    for stage in stages(config()):
        read = {path for path in stage.deps if path.parts[0] == "runs"}
        assert read <= outputs
        assert not outputs & {*stage.outs, *stage.metrics, *stage.plots}
        outputs |= {*stage.outs, *stage.metrics, *stage.plots}


def test_data_detector_strategy_and_code_are_dependencies():
    planned = by_name(stages(config(data={"format": "voc", "root": "my/data"}, detector={
        "config": "my.py", "weights": "torchvision://resnet50"}), ("mgral",)))
    assert [str(path) for path in planned["prepare-seed-3"].deps] == ["mgral", "${data.root}", "${detector.config}"]
    assert "own/entropy.py" in map(str, planned["entropy-seed-5-1"].deps)
    assert planned["entropy-seed-5-1"].command == (
        "python -m flows.cli cycle --strategy own/entropy.py --seed 5 --cycle 1")


def test_only_settings_that_the_file_holds_are_named():
    assert by_name(stages(config()))["mgral-seed-3-1"].params == ()
    planned = by_name(stages(config(table={}, semisup={}, device="cpu", study={"budget": 5, "name": "s"})))
    assert planned["mgral-seed-3-1"].params == ("device", "semisup", "study.budget", "table")
    assert planned["entropy-seed-3-1"].params == ("device", "study.budget")
    assert "semisup" in by_name(stages(config(semisup={}, study={"training": "stac"})))["entropy-seed-3-1"].params


SECTIONS = {"device": "cpu", "data": {}, "detector": {}, "training": {}, "semisup": {}, "table": {}, "search": {},
            "study": {"training": "stac", "budget": 5, "name": "s", "true_gains": 1}}


@pytest.mark.parametrize("left_out", [*SECTIONS, "study.training", "study.budget", "study.name", "study.true_gains"])
def test_dvc_is_told_of_nothing_that_the_file_lacks(left_out):
    """DVC fails at a stage whose settings are missing, after all the stages before it."""
    section, _, setting = left_out.partition(".")
    given = {name: value for name, value in SECTIONS.items() if setting or name != section}
    if setting:
        given["study"] = {name: value for name, value in given["study"].items() if name != setting}
    named = {name for stage in stages(Config.model_validate(given)) for name in stage.params}
    there = {*given, *(f"study.{name}" for name in given.get("study", {}))}
    assert named
    assert named <= there
    whole = {name for stage in stages(Config.model_validate(SECTIONS)) for name in stage.params}
    assert {name for name in whole - named if name.partition(".")[0] != section} == set()


def test_the_name_of_the_study_is_left_to_dvc_where_params_yaml_has_one():
    assert "runs/demo/report/metrics.json" in dvc_yaml(config())
    text = dvc_yaml(config(study={"name": "other"}))
    assert "runs/${study.name}/report/metrics.json" in text
    curves = yaml.safe_load(text)["plots"][0]["learning curves"]
    assert curves["y"] == {f"runs/${{study.name}}/report/curves/{name}.csv": "map" for name in ("mgral", "entropy")}


@pytest.mark.parametrize(("records", "repeats", "count"), [(10, 3, 13), (4, 9, 8)])
def test_no_batch_is_repeated_that_was_not_designed(records, repeats, count):
    assert experiments(TableConfig(records=records, repeats=repeats)) == count


def test_work_is_counted_by_kind():
    settings = config(training={"steps": 10}, table={"records": 4, "repeats": 9}, search={"iterations": 7},
                      study={"seeds": (3,)})
    planned, splits = by_name(stages(settings)), Splits(("a",), ("b", "c"), (), ("d", "e", "f"))
    assert work(settings, splits, [planned["entropy-1"]]) == {"train": 10, "test": 3, "inspect": 3}
    assert work(settings, splits, [planned["mgral-1"]]) == {
        "train": 20, "test": 3, "inspect": 3, "experiment": 9, "search": 7, "true gain": 0}
    assert choosing(config(study={"true_gains": 5}))["true gain"] == 10, "two trainings each"
    assert choosing(config(table={"source": "anew"}))["train"] == 0, "it has no detector of its own to start from"
    assert work(settings, splits, [planned["report"]]) == {"train": 20, "test": 6}
    assert work(settings, splits, planned.values()).total() == sum(
        work(settings, splits, [stage]).total() for stage in planned.values())
