"""A cycle's choice by MGRAL under every source: what is run, what is learned, what is said, and what is tracked."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest

from mgral.config import Config
from mgral.data.dataset import Boxes
from mgral.errors import MgralError
from mgral.experiments.store import open_table
from mgral.generators import finished
from mgral.lookup.aggregation import noise_of
from mgral.lookup.quality import Quality
from mgral.pool.content import FEWEST
from mgral.pool.shortlist import shortlist
from mgral.pool.statistics import uncertainty
from mgral.randomness import derived_seed
from mgral.search import strategy as searching
from mgral.strategies import chosen, get
from mgral.training.detectors import training_seed
from tasks.annotation import annotate_batch
from tasks.choice import _view, choose_batch
from tasks.detector import inspect_pool, train_detector
from tasks.job import Job
from tasks.opened import open_study
from tasks.prepare import prepare_data
from tasks.runs import experiment_params, open_tracker

SMALL = {
    "data": {"format": "synthetic", "labelled": 16,
             "synthetic": {"pool": 56, "reward": 8, "test": 8, "image_size": 32}},
    "detector": {"image_size": 32}, "training": {"steps": 6, "batch_size": 4},
    "pool": {"near_duplicates": "allow"},  # an untrained detector takes most scenes for copies of others
    "semisup": {"steps": 4, "labelled_per_step": 2, "unlabelled_per_step": 2},
    "search": {"iterations": 12, "check": False, "agent": {"batches_per_iteration": 4}},
    "study": {"name": "small", "budget": 6, "cycles": 2}}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@pytest.fixture
def progress(heard):
    return heard


def job(workdir: Path, strategy: str = "mgral", search: dict | None = None, true_gains: int = 0,
        method: str = "supervised", sections: dict | None = None, **table) -> Job:
    settings = {"records": 5, "repeats": 2, "at_once": 1, "source": "semisupervised", "fallback_cap": 0, **table}
    study = SMALL["study"] | {"true_gains": true_gains, "training": method}
    config = Config.model_validate({**SMALL, "table": settings, "search": {**SMALL["search"], **(search or {})},
                                    "study": study, **(sections or {})})
    return Job(config, workdir, None, strategy, 1, 0)


@dataclass
class Opened:
    """The first cycle of a job up to its choice, and what the strategy is shown."""

    job: Job
    trained: object
    inspected: object
    view: object


@pytest.fixture
def opened():
    """A function that opens a job; what it opened is closed at the end of the test."""
    with ExitStack() as stack:
        def open_job(wanted: Job) -> Opened:
            wanted.workspace.choice(wanted.strategy, 1).unlink(missing_ok=True)
            prepare_data(wanted)
            trained = train_detector(wanted, 0)
            inspected = inspect_pool(wanted, trained)
            view, _ = _view(wanted, open_study(wanted), get(wanted.strategy), trained, inspected, stack)
            return Opened(wanted, trained, inspected, view)

        yield open_job


def fitted(opened: Opened):
    return finished(searching.fit(opened.view))


def test_a_table_is_filled_once_and_says_what_it_is_worth(workdir, opened, progress):
    one = opened(job(workdir))
    first, again = fitted(one), fitted(one)
    assert [record.repeat for record in first.records] == [0] * 5 + [1] * 2
    assert (first.summary.new, again.summary.reused, again.summary.new) == (7, 7, 0)
    assert again.summary.verdict == first.summary.verdict
    assert "The reward varies by " in first.summary.verdict
    assert "(2 batches repeated)" in first.summary.verdict
    assert first.summary.figures()["records"] == 7
    assert first.records[5].figures != first.records[0].figures


def test_the_less_promising_half_stops_at_a_rung(workdir, opened, progress):
    progress.expect({"experiment": 7})
    records = fitted(opened(job(workdir, measurements=2, rungs=(1,)))).records
    short, whole = ([record for record in records if record.steps == steps] for steps in (2, 4))
    assert (len(short), len(whole)) == (2, 5)
    paused = {record.image_ids: record.figures["balanced_loss"] for record in short}
    went_on = {record.image_ids: record.curve[0]["balanced_loss"] for record in whole if record.repeat == 0}
    assert min(paused.values()) >= max(went_on.values())
    assert not list((workdir / "runs/cache/experiments").glob("*.pth")), "no checkpoint is left behind"
    assert progress.remaining()[0] == 0


def test_a_student_learns_the_batch_as_the_detector_of_all_labels_sees_it(workdir, opened, progress):
    one = opened(job(workdir, source="student", pseudo_label=0.01))
    found = fitted(one)
    setup, seen = found.runner.setup, one.view.inspection
    assert len(setup.labelled) == 8
    assert (setup.config.method, setup.config.labelled_per_step) == ("supervised", 4)
    image = found.pool[0]
    assert (setup.given[image].xyxy == seen.detections[seen.row[image]].above(0.01).xyxy).all()
    assert {record.labelled for record in found.records} == {8}
    assert found.summary.scope != fitted(opened(job(workdir))).summary.scope


def test_true_gains_are_set_beside_the_estimates_of_batches_that_are_no_records(workdir, opened, progress):
    found = fitted(opened(job(workdir, true_gains=4)))
    assert "between estimate and true gain in mAP on the test split, 4 held-out batches" in found.summary.verdict
    with open_table(f"sqlite:///{workdir / 'runs/table.db'}") as table:
        gains = table.records(origin="truth")
    assert [record.repeat for record in gains] == [0] * 4 + [1] * 4
    assert len({record.image_ids for record in gains}) == 4
    assert not {record.image_ids for record in gains} & {record.image_ids for record in found.records}
    assert {record.steps for record in gains} == {6}, "as the cycle's detector is trained"
    assert [record.seed for record in gains] == [training_seed(0, 22)] * 4 + [training_seed(0, 22, 1)] * 4
    assert found.summary.true.noise == noise_of(gains, "map")
    assert found.summary.figures()["spearman_true"] == found.summary.true.spearman


@pytest.mark.parametrize("method", ["supervised", "mean_teacher"])
def test_a_true_gain_is_what_the_next_cycles_detector_reaches(tmp_path, opened, progress, method):
    training = {"training": {"steps": 60, "batch_size": 8}, "data": SMALL["data"] | {"labelled": 30}}
    wanted = job(tmp_path, true_gains=1, sections=training, method=method)
    view = opened(wanted).view
    batch = tuple(sorted(view.pool))[::4][:6]
    measured = view.setup.true_runner().measure(batch, "truth")
    annotate_batch(wanted, batch)
    reached = train_detector(wanted, 1)
    assert reached.map > 0
    assert (measured.figures["map"], measured.figures["ap50"]) == (reached.map, reached.ap50)
    assert measured.per_class == reached.per_class


@pytest.mark.parametrize("method", ["supervised", "mean_teacher"])
def test_the_next_detector_may_learn_from_what_this_one_sees(workdir, opened, progress, method):
    view = opened(job(workdir, source="anew", pseudo_label=0.01, method=method)).view
    runner = view.setup.runner(view.inspection, view.pool)
    setup, image = runner.setup, view.pool[0]
    assert (setup.labels[image].xyxy == view.inspection.detections[view.inspection.row[image]].above(0.01).xyxy).all()
    assert (setup.truth.keys(), setup.labelled.keys()) == (view.setup.reward.keys(), {*view.labelled})
    assert set(setup.others) == {*view.pool, *view.labelled}
    found = runner.measure(view.pool[:6], "design")
    assert (found.steps, found.seed, found.labelled) == (6, training_seed(0, 22), 16)
    assert [point["step"] for point in found.curve] == [6]


def test_experiments_are_compared_where_what_decides_them_is_the_same(workdir, opened, progress):
    def scope(labels=None, **settings):
        view = opened(job(workdir, pseudo_label=0.01, **settings)).view
        return view.setup.runner(view.inspection, view.pool, labels).scope

    def nothing(ids):
        return dict.fromkeys(ids, Boxes.of())

    longer = {"training": SMALL["training"] | {"steps": 7}}
    scopes = [scope(source="anew"), scope(nothing, source="anew"), scope(source="anew", sections=longer),
              scope(source="student"), scope(nothing, source="student"), scope(source="semisupervised")]
    assert len(set(scopes)) == 6
    assert scope(source="anew") == scopes[0]
    assert scope(source="anew", sections={"semisup": SMALL["semisup"] | {"steps": 9}}) == scopes[0]


def test_a_tracked_experiment_says_what_it_trained(workdir):
    def params(origin, **table):
        return experiment_params(job(workdir, **table), origin)

    assert params("design")["semisup.method"] == "mean_teacher"
    assert params("design", source="student")["semisup.method"] == "supervised"
    for anew in (params("truth"), params("design", source="anew")):
        assert "semisup.method" not in anew
        assert anew["training.steps"] == 6


def test_too_few_experiments_are_one_clear_line(workdir, opened, progress, monkeypatch):
    def fill(*arguments):
        return (yield from whole(*arguments))[:3]

    whole, one = searching.fill, opened(job(workdir))
    monkeypatch.setattr(searching, "fill", fill)
    with pytest.raises(MgralError, match="expected at least 4 experiments to learn from, got 3: the others did not fit "
                                         "into memory, see above; lower table.at_once or detector.image_size"):
        fitted(one)
    monkeypatch.setattr(searching, "FEWEST", 6)
    with pytest.raises(MgralError, match="expected at least 6 different batches of 6 images to measure, got 5 of the "
                                         "40 images that can be chosen and look different; lower study.budget, or "):
        fitted(one)


def test_table_and_search_see_the_shortlist_which_is_made_once(workdir, opened, progress):
    one = opened(job(workdir, shortlist=20))
    view, setup, lines = one.view, one.view.setup, len(progress.notes)
    pool = setup.looked_at(view.inspection, view.pool, view.labelled)
    assert setup.looked_at(view.inspection, view.pool, view.labelled) == pool
    said = [line for line in progress.notes[lines:] if "shortlisted" in line]
    assert said == ["[mgral 1/2] 20 of 40 images shortlisted."]
    rows = shortlist(view.inspection.embedding, view.inspection.rows(view.labelled), 20, derived_seed(0, "shortlist"),
                     uncertainty(view.inspection), view.inspection.rows(view.pool))
    assert {*pool} < {*view.pool}, "and no image of the reward split, which is inspected too"
    assert pool == tuple(view.inspection.ids[row] for row in rows)
    found = fitted(one)
    assert found.pool == pool
    assert {image for record in found.records for image in record.image_ids} <= {*pool}
    whole = opened(job(workdir, shortlist=1000)).view
    assert whole.setup.looked_at(whole.inspection, whole.pool, whole.labelled) == whole.pool


def test_a_strategy_without_experiments_chooses_from_the_whole_pool(workdir, opened, progress):
    wanted = job(workdir, "balanced_entropy", shortlist=6)
    one = opened(wanted)
    assert one.view.setup is None
    found = choose_batch(wanted, one.trained, one.inspected)
    rng = np.random.default_rng(derived_seed(0, "balanced_entropy", 1))
    expected = chosen(get("balanced_entropy"), one.view, 6, rng)
    assert found.choice.ids == tuple(sorted(expected.ids))
    reasons = dict(zip(expected.ids, expected.reasons, strict=True))
    assert found.choice.reasons == tuple(reasons[image_id] for image_id in found.choice.ids)
    assert (found.table, found.search, set(found.seconds)) == (None, None, {"choose"})


def test_while_too_little_is_annotated_the_farthest_images_are_chosen(workdir, opened, progress, monkeypatch):
    monkeypatch.setattr("mgral.pool.content.FEWEST", 1000)
    wanted = job(workdir, "content")
    one = opened(wanted)
    assert one.view.content is None
    found = choose_batch(wanted, one.trained, one.inspected)
    rng = np.random.default_rng(derived_seed(0, "content", 1))
    assert found.choice.ids == tuple(sorted(chosen(get("coreset"), one.view, 6, rng).ids))
    assert (found.choice.origin, found.content) == ("coreset", None)
    assert any("coreset chooses instead of content." in line for line in progress.notes)
    assert (wanted.workspace.cycle("content", 1) / "content.png").stat().st_size > 0


def test_what_is_in_the_images_is_learned_and_drawn_whatever_strategy_chooses(workdir, opened, progress):
    wanted = job(workdir, "coreset")
    one = opened(wanted)
    found = choose_batch(wanted, one.trained, one.inspected)
    reward = open_study(wanted).splits.reward
    assert found.content.judged == (len(reward) if len(reward) >= FEWEST else len(reward) + len(one.view.labelled))
    assert found.content.verdict.startswith("What is expected in images explains")
    assert set(reward).isdisjoint(one.view.pool)
    assert choose_batch(wanted, one.trained, one.inspected).content == found.content


def test_only_a_strategy_that_needs_it_is_shown_the_truth(workdir, opened, progress):
    assert opened(job(workdir, "rare_first")).view.truth is not None
    assert opened(job(workdir, "coreset")).view.truth is None


@pytest.fixture
def condemned(monkeypatch):
    """Every table is declared unfit to guide a search."""
    monkeypatch.setattr(Quality, "reliable", property(lambda quality: False))


def test_where_the_table_cannot_guide_a_search_the_batch_is_that_of_the_heuristic(workdir, opened, progress, condemned):
    one = opened(job(workdir))
    progress.expect({"search": 12})
    before = len(open_table_records(workdir))
    found = choose_batch(one.job, one.trained, one.inspected)
    rng = np.random.default_rng(derived_seed(0, "content", 1))
    assert found.choice.ids == tuple(sorted(chosen(get("content"), one.view, 6, rng).ids))
    assert found.choice.origin == "content, as the table cannot guide a search"
    assert (found.search, found.table.reliable, found.table.records) == (None, False, 7)
    assert progress.remaining() == (0, True)
    assert len(open_table_records(workdir)) == before, "no experiment may be run"
    folder = one.job.workspace.cycle("mgral", 1)
    assert (folder / "search.csv").read_text().splitlines() == [
        "iteration,mean,best,baseline,entropy,gradient_norm,best_so_far"]
    assert (folder / "search.png").stat().st_size > 0


def open_table_records(workdir):
    with open_table(f"sqlite:///{workdir / 'runs/table.db'}") as table:
        return table.records()


@pytest.fixture
def searched(workdir, opened, progress):
    """A search of any table, with its check."""
    wanted = job(workdir, search={"trust": "always", "check": True})
    one = opened(wanted)
    progress.expect({"search": 12, "experiment": 8})
    return one, choose_batch(wanted, one.trained, one.inspected), progress


def test_a_search_is_checked_and_set_beside_its_controls(searched, workdir):
    one, found, progress = searched
    assert set(found.search.controls) == {"swap", "cross_entropy", "content", "best_record", "random"}
    checks = [record for record in open_table_records(workdir) if record.origin == "check"]
    assert [record.reward("balanced_loss") for record in checks] == [found.search.checked]
    assert progress.remaining()[0] == 0
    again = choose_batch(one.job, one.trained, one.inspected)
    assert (again.choice, again.table, again.search) == (found.choice, found.table, found.search)


def test_every_experiment_is_a_run_that_the_table_knows(searched, workdir):
    one, *_ = searched
    tracker = open_tracker(one.job)
    runs = mlflow.MlflowClient(tracker.uri).search_runs([tracker.experiment], "tags.`mgral.kind` = 'experiment'",
                                                        max_results=1000)
    scope = next(record.scope for record in open_table_records(workdir) if record.origin == "check")
    known = {record.mlflow_run_id: record for record in open_table_records(workdir)
             if record.scope == scope and record.mlflow_run_id}
    assert len(known) >= 8
    for run in (run for run in runs if run.info.run_id in known):
        record = known.pop(run.info.run_id)
        assert (run.data.params["semisup.method"], run.data.params["semisup.steps"]) == ("mean_teacher", "4")
        images = open_study(one.job).dataset.images
        assert images[record.image_ids[0]].file_name in run.data.tags["mlflow.note.content"]
        assert run.data.metrics["measured/map"] == record.figures["map"]
        assert run.data.metrics["reward"] == record.reward("balanced_loss")
    assert known == {}


def test_a_record_that_a_killed_process_did_not_log_is_logged_later(searched, workdir):
    one, *_ = searched
    with open_table(f"sqlite:///{workdir / 'runs/table.db'}") as table:
        fallback = next(record for record in table.records() if record.origin == "check")
        lost = replace(fallback, fingerprint="lost", mlflow_run_id=None, id=None, created_at=None)
        table.add(lost)
        assert [record.fingerprint for record in table.untracked(fallback.scope)] == ["lost"]
        one.job.workspace.choice("mgral", 1).unlink()
        choose_batch(one.job, one.trained, one.inspected)
        assert table.untracked(fallback.scope) == []


def outcome(checked):
    return searching.SearchOutcome(("far",), "greedy", 1.0, 1.0, 0.1, checked, {}, 0)


@pytest.mark.parametrize(("checked", "fallbacks", "taken"), [
    (0.7, [], "far"), (0.5, [], "good"), (0.5, [(("asked",), 0.65)], "asked"), (0.7, [(("far",), 0.7)], "far")])
def test_a_record_is_taken_where_it_was_measured_to_be_worth_more_than_the_check(checked, fallbacks, taken):
    from mgral.search.run import RECORD, after_check

    aggregated = SimpleNamespace(batches=(("bad",), ("good",), ("fair",), ("fair",)), groups=np.array([0, 1, 2, 2]),
                                 rewards=np.array([0.0, 0.6, 0.1, 0.9]))
    found = after_check(outcome(checked), aggregated, fallbacks)
    assert found.ids == (taken,)
    assert found.origin == ("greedy" if taken == "far" else RECORD)
    assert (found.value, found.checked) == (1.0, checked)


def test_a_search_that_was_interrupted_goes_on(workdir, opened, progress, monkeypatch):
    """Killed after its checkpoint, it ends as one never interrupted."""
    from mgral.search import run as running

    monkeypatch.setattr(running, "CHECKPOINT_EVERY", 5)
    wanted = job(workdir, search={"trust": "always", "iterations": 13})
    one = opened(wanted)
    undisturbed = choose_batch(wanted, one.trained, one.inspected)
    (receipt,) = [path for path in (workdir / "runs/cache/searches").glob("*.json")
                  if len(running._read(path).iterations) == 13]
    receipt.unlink()
    wanted.workspace.choice("mgral", 1).unlink()
    assert receipt.with_suffix(".pt").exists()
    progress.expect({"search": 13})
    again = choose_batch(wanted, one.trained, one.inspected)
    assert again.choice == undisturbed.choice
    assert again.search == undisturbed.search
    assert progress.remaining() == (0, True)
