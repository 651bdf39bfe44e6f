"""A cycle's table under every source and design: what is run, what is learned, what is said."""

from dataclasses import replace
from pathlib import Path

import pytest

import tasks.source
import tasks.table
from mgral.config import Config
from mgral.errors import ConfigError
from mgral.inspection import Inspection
from mgral.lookup.store import open_table
from mgral.study.opened import Job, open_study
from mgral.study.progress import Progress, current
from mgral.study.snapshot import take_snapshot
from tasks.detector import inspect_images, train_detector
from tasks.prepare import prepare_data
from tasks.source import divided, open_source
from tasks.table import fill_table

SMALL = {
    "data": {"labelled": 16, "synthetic": {"pool": 56, "reward": 8, "test": 8, "image_size": 32}},
    "detector": {"image_size": 32}, "training": {"steps": 6, "batch_size": 4},
    "semisup": {"steps": 4, "labelled_per_step": 2, "unlabelled_per_step": 2},
    "study": {"name": "small", "budget": 6, "cycles": 2, "true_gains": 0}}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@pytest.fixture
def progress():
    class Listening(Progress):
        def __init__(self):
            super().__init__()
            self.notes = []

        def note(self, line):
            self.notes.append(line)

    made = Listening()
    token = current.set(made)
    yield made
    current.reset(token)


def job(workdir: Path, true_gains: int = 0, cycle: int = 1, **table) -> Job:
    settings = {"records": 5, "repeats": 2, "at_once": 1, "source": "semisupervised", **table}
    study = SMALL["study"] | {"true_gains": true_gains}
    config = Config.model_validate({**SMALL, "table": settings, "study": study})
    return Job(config, workdir, None, "mgral", cycle)


def filled(one: Job):
    prepare_data(one)
    trained = train_detector(one, one.cycle - 1)
    view, _ = inspect_images(one, trained)
    table = fill_table(one, trained, view)
    with open_table(f"sqlite:///{one.workspace.table}") as opened:
        return trained, view, table, [opened.find(name) for name in table.fingerprints], opened


def test_repeats_are_the_first_batches_with_another_seed(workdir, progress):
    _, _, table, records, _ = filled(job(workdir))
    assert [one.repeat for one in records] == [0] * 5 + [1] * 2
    assert [one.image_ids for one in records[5:]] == [one.image_ids for one in records[:2]]
    assert len({one.seed for one in records[:5]}) == 1, "chance must not tell the batches of a table apart"
    assert {one.seed for one in records[5:]} != {records[0].seed}
    assert records[5].balanced_loss != records[0].balanced_loss
    assert "between batches and by" in table.verdict
    assert "(2 batches repeated)" in table.verdict
    again = filled(job(workdir))[2]
    assert (again.reused, again.new, again.verdict) == (7, 0, table.verdict)


def test_the_less_promising_half_stops_at_a_rung(workdir, progress):
    one = job(workdir, measurements=2, rungs=(1,))
    progress.expect({"experiment": 7})
    _, _, _, records, _ = filled(one)
    short, whole = [row for row in records if row.steps == 2], [row for row in records if row.steps == 4]
    assert (len(short), len(whole)) == (2, 5)
    assert [len(row.curve) for row in whole] == [2] * 5
    paused = {row.image_ids: row.balanced_loss for row in short}
    went_on = {row.image_ids: row.curve[0]["balanced_loss"] for row in whole if row.repeat == 0}
    assert min(paused.values()) >= max(went_on.values())
    assert not list((workdir / "runs/cache/experiments").glob("*.pth")), "no checkpoint is left behind"
    assert progress.remaining()[0] == 0


def test_a_student_learns_the_batch_as_the_detector_of_all_labels_sees_it(workdir, progress):
    one = job(workdir, source="student", pseudo_label=0.01)
    trained, view, table, records, _ = filled(one)
    source = open_source(one, trained, Inspection.load(view))
    assert len(source.known) == 8
    assert source.config.method == "supervised"
    assert source.config.labelled_per_step == 4
    seen = Inspection.load(view)
    image = source.pool[0]
    assert (source.given[image].xyxy == seen.detections[seen.row[image]].above(0.01).xyxy).all()
    assert {row.labelled for row in records} == {8}
    assert table.scope != filled(job(workdir))[2].scope


def test_labelled_images_are_played_as_a_pool_with_their_own_boxes(workdir, progress):
    one = job(workdir, source="labelled", fallback_cap=0, representation=("histogram", "uncertainty", "diversity"))
    trained, view, _, records, _ = filled(one)
    _, known = divided(one, Inspection.load(view))
    source = open_source(one, trained, Inspection.load(view))
    assert sorted([*source.known, *source.pool]) == sorted(known)
    assert all(set(row.image_ids) <= set(source.pool) for row in records)
    assert {len(row.image_ids) for row in records} == {4}
    assert set(source.given) == set(source.pool)


def test_too_few_labelled_images_to_play_with(workdir, progress, monkeypatch):
    one = job(workdir, source="labelled", fallback_cap=0, representation=("histogram",))
    monkeypatch.setattr(tasks.source, "FEWEST_PLAYED", 9)
    with pytest.raises(ConfigError, match="expected at least 18 labelled images to play a pool with half of them, got "
                                          "16; take another source"):
        filled(one)


def test_a_sequential_design_spreads_half_and_then_chooses(workdir, progress):
    spread = [row.image_ids for row in filled(job(workdir, records=10))[3] if row.repeat == 0]
    chosen = [row.image_ids for row in filled(job(workdir, records=10, design="sequential"))[3] if row.repeat == 0]
    assert chosen[:5] == spread[:5]
    assert len(set(chosen)) == 10
    assert not set(chosen[5:]) & set(spread[5:])


def test_true_gains_are_set_beside_the_estimates_of_batches_that_are_no_records(workdir, progress):
    one = job(workdir, true_gains=4)
    trained, _, table, records, _ = filled(one)
    assert "between estimate and true gain in mAP on the test split, 4 held-out batches" in table.verdict
    with open_table(f"sqlite:///{one.workspace.table}") as opened:
        gains = opened.records(origin="truth")
    assert len(gains) == 4
    assert not {row.image_ids for row in gains} & {row.image_ids for row in records}
    assert {row.steps for row in gains} == {16}
    assert trained.fingerprint  # the cycle's own detector is what they start from
    assert [name for name in table.fingerprints if name in {row.fingerprint for row in gains}] == []


def test_records_of_the_cycle_before_are_learned_from_where_they_help(workdir, progress, monkeypatch):
    first = job(workdir, history=True)
    _, view, _, records, _ = filled(first)
    pool, _ = divided(first, Inspection.load(view))
    study = open_study(first)
    boxes = {image: study.dataset.boxes[image] for image in pool[:6]}
    take_snapshot(study.workspace, "mgral", 1, study.dataset, study.source, boxes)
    taught = []
    whole = tasks.table.lessons
    monkeypatch.setattr(tasks.table, "lessons", lambda *given: taught.append(given) or whole(*given))
    second = replace(first, cycle=2)
    filled(second)
    (_, now), earlier = taught[-1][1], taught[-1][2]
    assert len(earlier) == 1
    described, settled = earlier[0]
    assert set(settled.batches) >= {row.image_ids for row in records}
    assert described.shares.shape[1] == taught[-1][1][0].shares.shape[1]
    assert len(now.batches) == 7
    assert not {row for batch in now.batches for row in batch} & set(boxes), "what is labelled is no longer chosen"
