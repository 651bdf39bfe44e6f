"""Where a study stands, in words, by its files alone."""

from pathlib import Path

import pytest

from mgral.annotation.changes import Changes
from mgral.data.dataset import Boxes, Dataset, ImageInfo
from mgral.errors import DataError, StateError
from mgral.files import md5, write_json
from mgral.report.standing import in_words, next_step
from mgral.study.labels import Import, keep
from mgral.study.results import Choice, ChoiceRecord, CycleResult, SearchResult
from mgral.study.sent import Place, place_of
from mgral.study.status import standing
from mgral.study.waiting import WaitingRun
from mgral.study.workspace import Workspace

NAMES = ("a.jpg", "b.jpg")


@pytest.fixture
def space(tmp_path) -> Workspace:
    return Workspace(tmp_path, "s", 0)


def chosen(space: Workspace, cycle: int, handed_out: bool = True) -> None:
    path = space.handed_out("random", cycle) if handed_out else space.choice("random", cycle)
    ChoiceRecord(Choice(NAMES, "by hand"), None, None, {}).write(path)


def labelled(space: Workspace, cycle: int, names=NAMES) -> None:
    images = {name: ImageInfo(name, name, 32, 32) for name in NAMES}
    dataset = Dataset(Path("nowhere"), ("ant",), (1,), images, {})
    read = Import(0, "2026-11-02T10:00:00+00:00", "back.json", "coco", len(names), 3, Changes(1, 0, 0, 0, 2), 90.0, 2,
                  3)
    keep(space.batch("random", cycle), dataset, {name: Boxes.of() for name in names}, read)


def done(space: Workspace, cycle: int, reached: float, search: SearchResult | None = None) -> None:
    write_json(space.snapshot("random", cycle - 1), {"cycle": cycle - 1})
    trained_on = md5(space.snapshot("random", cycle - 1))
    CycleResult(cycle, 60, reached, 0.5, {}, Choice(NAMES, "by hand"), "", search=search, trained_on=trained_on).write(
        space.cycle("random", cycle) / "result.json")


def said(space: Workspace) -> tuple[list[str], str]:
    at = standing(space, "random", 2)
    return list(in_words(space, at)), next_step([at], [space], [""])


def test_nothing_was_run_yet(space):
    assert said(space) == (["random, seed 0: 0 of 2 cycles done"], "mgral run")


def test_what_waits_and_where_it_is(space):
    chosen(space, 1)
    lines, after = said(space)
    assert lines[1] == f"  cycle 1: WAITING for annotations of 2 images; {space.batch('random', 1)}"
    assert after == "mgral import --cycle 1 FILE"
    Place("http://h:8080", 7).write(place_of(space, "random", 1))
    WaitingRun("run-1", "random cycle 1", "http://h:4200/api", "key").write(space.waiting("random", 1))
    lines, after = said(space)
    assert lines[2:] == ["    in Label Studio: http://h:8080/projects/7",
                         "    Prefect's flow run random cycle 1 goes on then: http://h:4200/runs/flow-run/run-1"]
    assert after == "mgral pull --cycle 1"
    labelled(space, 1, NAMES[:1])
    assert "WAITING for annotations of 1 of 2 images" in said(space)[0][1]
    labelled(space, 1)
    lines, after = said(space)
    assert (lines[1], after) == ("  cycle 1: its 2 images are labelled; `mgral run` goes on", "mgral run")


def test_a_batch_that_nobody_was_asked_for(space):
    chosen(space, 1, handed_out=False)
    assert said(space)[0][1] == "  cycle 1: 2 images chosen; `mgral run` goes on"


def test_the_first_batch(space):
    ChoiceRecord(Choice(NAMES, "diversity"), None, None, {}).write(space.handed_out("", 0))
    lines, after = said(space)
    assert lines[1] == f"  first batch: WAITING for annotations of 2 images; {space.batch('', 0)}"
    assert after == "mgral import --cycle 0 FILE"


def test_what_was_foretold_beside_what_came_of_it(space):
    chosen(space, 1)
    labelled(space, 1)
    done(space, 1, 0.20, SearchResult(-0.5, -0.4, 0.03, None, 0, {"random": -0.7}))
    done(space, 2, 0.23)
    chosen(space, 2)
    write_json(space.snapshot("random", 2), {"cycle": 2})
    write_json(space.final, [{"strategy": "random", "seed": 0, "map": 0.19, "snapshot": "another"}])
    lines, after = said(space)
    assert lines[1:5] == [
        "  cycle 1: done, 60 labelled images: mAP 0.200; chose 2 (by hand)",
        "    labels: import 1, 2026-11-02 10:00 UTC, 2 images, 3 boxes; of the boxes that went out 1 kept, 0 moved, 0 "
        "relabelled, 0 deleted, 2 added",
        "    people worked 1.5 minutes on 2 images: 80 images and 120 boxes an hour",
        "    the table put the batch at -0.500 (a random batch at -0.700), its estimate at ± 0.030; the next detector "
        "gained +3.0 mAP points"]
    assert after == "mgral run", "the last detector was trained on other labels"
    now = md5(space.snapshot("random", 2))
    write_json(space.final, [{"strategy": "random", "seed": 0, "map": 0.19, "snapshot": now}])
    lines, after = said(space)
    assert lines[-2:] == ["    the next detector gained -4.0 mAP points", "  the last detector: mAP 0.190"]
    assert after == f"nothing: the study is finished, {space.report}"


def test_a_batch_that_waits_tells_already_what_the_one_before_was_worth(space):
    chosen(space, 1)
    done(space, 1, 0.20)
    chosen(space, 2)
    ChoiceRecord(Choice(NAMES, "by hand"), None, None, {}, 0.26).write(space.choice("random", 2))
    lines, _ = said(space)
    assert lines[2:] == ["    the next detector gained +6.0 mAP points",
                         "  cycle 2: WAITING for annotations of 2 images (its detector: mAP 0.260); "
                         f"{space.batch('random', 2)}"]


def test_labels_that_were_corrected_since(space):
    chosen(space, 1)
    done(space, 1, 0.2)
    write_json(space.snapshot("random", 0), {"cycle": "corrected"})
    lines, after = said(space)
    assert lines[2] == ("    built on labels that were corrected since: `mgral run` trains its detector anew, the "
                        "batch stays")
    assert after == "mgral run"


def test_the_next_of_several(space, tmp_path):
    chosen(space, 1)
    at, other = standing(space, "random", 2), standing(space, "coreset", 2)
    assert next_step([at, other], [space, space], ["", " --strategy coreset"]) == "mgral run", "the other can go on"
    late = Workspace(tmp_path, "s", 1)
    chosen(late, 2)
    waits = standing(late, "random", 2)
    assert next_step([waits], [late], [" --seed 1"], " --params p.yaml") == (
        "mgral import --params p.yaml --seed 1 --cycle 2 FILE")


@pytest.mark.parametrize(("damage", "fault", "kind"), [
    ("batch.json", "expected a batch as it was chosen", DataError),
    ("labels.json", "expected labels as `mgral import` wrote them", DataError),
    ("label-studio.json", "expected where the batch was sent", StateError)])
def test_a_damaged_file_is_one_line(space, damage, fault, kind):
    chosen(space, 1)
    labelled(space, 1, NAMES[:1])
    Path(space.batch("random", 1) / damage).write_text("{")
    with pytest.raises(kind, match=f"{damage}: {fault}"):
        said(space)


def test_a_damaged_result(space):
    chosen(space, 1)
    done(space, 1, 0.2)
    (space.cycle("random", 1) / "result.json").write_text("[]")
    with pytest.raises(DataError, match=r"result\.json: expected what mgral wrote, .*; restore the file"):
        said(space)
