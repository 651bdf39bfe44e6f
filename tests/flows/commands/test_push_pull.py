"""`mgral push` and `mgral pull` as they are typed, with a server that answers as Label Studio does."""

import json
import sys
from pathlib import Path

import pytest

from flows import cli
from flows.commands import pull
from mgral.study.results import Choice, ChoiceRecord
from tests.fake_label_studio import LEGACY, bad, running
from tests.waiting import STRATEGY, Waiting, classes_of


@pytest.fixture
def fake():
    with running() as started:
        yield started


@pytest.fixture
def waiting(tmp_path, monkeypatch) -> Waiting:
    monkeypatch.chdir(tmp_path)
    return Waiting(tmp_path)


@pytest.fixture
def mgral(monkeypatch, capsys):
    """Gives a command as somebody types it; what it printed, its exit status and what it complained of come back."""
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", LEGACY)

    def typed(*words: str) -> tuple[str, int, str]:
        monkeypatch.setattr(sys, "argv", ["mgral", *words])
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = end.code
        said = capsys.readouterr()
        assert LEGACY not in said.out + said.err
        return said.out, status, said.err.splitlines()[-1] if status else said.err

    return typed


@pytest.fixture
def taken(monkeypatch) -> list:
    """The files that were handed on to be imported, and with which options."""
    files = []
    monkeypatch.setattr(pull, "take", lambda job, options, file: files.append((file, options)))
    return files


def test_there_and_back(fake, waiting, mgral, taken):
    said, status, _ = mgral("push", "--label-studio", f"{fake.url}/")
    assert (said, status) == (f"16 sent\n  for annotators: {fake.url}/projects/1\n  next: mgral pull --cycle 1\n", 0)
    assert fake.projects[1]["title"] == "s random cycle 1"
    place = waiting.space.batch(STRATEGY, 1) / "label-studio.json"
    assert json.loads(place.read_text()) == {"url": fake.url, "project": 1}
    for image_id in waiting.ids[:-3]:
        task = next(task for task in fake.tasks.values() if task["data"]["path"] == image_id)
        fake.annotate(image_id, result=[region for entry in task["predictions"] for region in entry["result"]])
    fake.annotate(waiting.ids[-3], was_cancelled=True)
    next(task for task in fake.tasks.values() if task["data"]["path"] == waiting.ids[-2])["drafts"] = [{"result": []}]
    said, status, _ = mgral("push", "--label-studio", fake.url)
    assert said.startswith("16 of 16 images were there, none sent; 13 finished, 1 skipped\n")
    said, status, fault = mgral("pull")
    assert (said, status) == (f"13 of 16 finished (1 skipped, 1 begun and not submitted): {fake.url}/projects/1\n", 2)
    assert fault == (f"mgral: {fake.url}/projects/1: expected all 16 images to be finished, got 13; finish the other "
                     "3, or take what is there: --partial")
    assert taken == []
    said, status, _ = mgral("pull", "--partial", "--accept-empty")
    (file, options), = taken
    assert (options.partial, options.accept_empty) == (True, True)
    assert file == Path("runs/s/seed-0/pulled/random-1.json")
    returned = waiting.returned(file)
    assert set(returned.boxes) == set(waiting.ids[:-3])
    for image_id, boxes in returned.boxes.items():
        assert boxes.xyxy == pytest.approx(waiting.truth.boxes[image_id].xyxy, abs=0.02)
        assert classes_of(returned, image_id) == classes_of(waiting.truth, image_id)


def test_what_is_finished_is_taken_without_more_words(fake, waiting, mgral, taken):
    mgral("push", "--label-studio", fake.url)
    for image_id in waiting.ids:
        fake.annotate(image_id)
    assert mgral("pull")[:2] == (f"16 of 16 finished: {fake.url}/projects/1\n", 0)


def test_a_server_that_has_moved(fake, waiting, mgral, taken):
    mgral("push", "--label-studio", fake.url)
    place = waiting.space.batch(STRATEGY, 1) / "label-studio.json"
    place.write_text(place.read_text().replace(fake.url, "http://before.invalid"))
    _, status, fault = mgral("push", "--label-studio", fake.url)
    assert (status, "expected the batch to be sent to one server" in fault) == (2, True)
    said, _, _ = mgral("pull", "--label-studio", fake.url, "--partial")
    assert said.startswith(f"0 of 16 finished: {fake.url}/projects/1\n")


def test_a_push_that_could_not_say_where_it_was_is_found_again(fake, waiting, mgral):
    fake.wrong["POST /api/projects/1/import"] = [bad(500, "no room")]
    _, status, fault = mgral("push", "--label-studio", fake.url)
    assert (status, "no room" in fault) == (2, True)
    (waiting.space.batch(STRATEGY, 1) / "label-studio.json").unlink()
    assert mgral("push", "--label-studio", fake.url)[1] == 0
    assert (len(fake.projects), len(fake.tasks)) == (1, 16)


def test_a_project_that_is_gone(fake, waiting, mgral, taken):
    mgral("push", "--label-studio", fake.url)
    fake.tasks.clear()
    _, status, fault = mgral("pull")
    assert (status, "expected the tasks of this batch, got 0 of other images" in fault) == (2, True)
    fake.projects.clear()
    for command in (("push", "--label-studio", fake.url), ("pull",)):
        _, status, fault = mgral(*command)
        assert status == 2
        assert "projects/1: expected the project of this batch, got none that the token's user may see" in fault
        assert f"delete {waiting.space.batch(STRATEGY, 1).relative_to(waiting.space.root)}" in fault.replace(
            f"{waiting.space.root}/", "")


def test_what_is_missing_is_named(fake, waiting, mgral, monkeypatch):
    _, _, fault = mgral("pull")
    assert fault.endswith("`mgral push` first, or fetch batches/ from who has pushed it")
    _, _, fault = mgral("push", "--label-studio", fake.url, "--cycle", "2")
    assert "expected the batch of cycle 2, got no file; run cycle 2 of random first: `mgral run`" in fault
    (waiting.space.batch(STRATEGY, 1) / "label-studio.json").write_text('{"url": 3}')
    _, _, fault = mgral("pull")
    assert "expected where the batch was sent, as `mgral push` wrote it, got" in fault
    monkeypatch.delenv("LABEL_STUDIO_API_KEY")
    _, _, fault = mgral("push", "--label-studio", fake.url)
    assert "LABEL_STUDIO_API_KEY: expected a token of Label Studio in this environment variable, got none" in fault
    assert fake.asked == []


def test_the_first_batch_has_no_boxes(fake, waiting, mgral):
    (waiting.people.folder / "labels.json").unlink()
    text = (waiting.space.root / "params.yaml").read_text().replace("format: coco", "format: images")
    (waiting.space.root / "params.yaml").write_text(text)
    from mgral.annotation.coco import export_batch
    from mgral.data.dataset import Dataset

    bare = Dataset(waiting.truth.root, (), (), waiting.truth.images, {})
    export_batch(waiting.space.batch("", 0) / "preannotations.json", bare, waiting.ids[:5], {})
    ChoiceRecord(Choice(waiting.ids[:5], "diversity"), None, None, {}).write(waiting.space.handed_out("", 0))
    said, status, fault = mgral("push", "--label-studio", fake.url, "--cycle", "0")
    assert status == 0, fault
    assert said == f"5 sent\n  for annotators: {fake.url}/projects/1\n  next: mgral pull --cycle 0\n"
    assert fake.projects[1]["title"] == "s first batch"
    assert 'value="object"' in fake.projects[1]["label_config"]
    assert [task["predictions"] for task in fake.tasks.values()] == [[]] * 5
