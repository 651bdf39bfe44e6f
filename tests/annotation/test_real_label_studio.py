"""`mgral push` and `mgral pull` with a real Label Studio."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from mgral.annotation.label_studio_server import Addressed, Served, Server, Uploaded
from mgral.errors import StateError
from mgral.params import read_config
from mgral.study.sent import Place, place_of
from tasks.label_studio import pull_batch, push_batch
from tasks.opened import Job
from tests.conftest import ROOT
from tests.real_label_studio import LEGACY, PROGRAM, Studio, running
from tests.waiting import STRATEGY, Waiting, classes_of

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="no Label Studio: type `make label-studio`")


@pytest.fixture(scope="module")
def studio(tmp_path_factory) -> Iterator[Studio]:
    with running(tmp_path_factory.mktemp("studio")) as started:
        yield started


def job_of(waiting: Waiting) -> Job:
    root = waiting.space.root
    return Job(read_config(root / "params.yaml"), root, waiting.people.folder, STRATEGY, 1, 0)


def assert_same(found: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, atol=0.02)


@pytest.mark.parametrize("way", ["uploaded", "served"])
def test_what_people_do_comes_back(studio, tmp_path, way):
    (studio.root / way).mkdir()
    waiting = Waiting(tmp_path if way == "uploaded" else studio.root / way, batch=12, study=way)
    job, token = job_of(waiting), studio.token if way == "uploaded" else LEGACY
    pictures = Uploaded() if way == "uploaded" else Served(studio.root)
    pushed = push_batch(job, studio.url, token, pictures)
    assert (pushed.images, pushed.sent.new) == (12, 12)
    tasks = studio.tasks(int(pushed.page.rpartition("/")[2]))
    for image_id, task in tasks.items():
        shown = studio.client.get(task["data"]["image"])
        assert shown.content == (waiting.people.folder / image_id).read_bytes()
    wanted = {image_id: waiting.truth.boxes[image_id] for image_id in waiting.ids}
    full = [image_id for image_id in waiting.ids if len(wanted[image_id]) > 1]
    changed, deleted, added, unfinished, skipped, emptied = full[:6]
    finished = [image_id for image_id in waiting.ids if image_id not in (unfinished, skipped)]
    regions = {image_id: [region for entry in task["predictions"] for region in entry["result"]]
               for image_id, task in tasks.items()}
    size = 64
    regions[changed][0]["value"] |= {"x": 25, "y": 50, "width": 12.5, "height": 25}
    regions[deleted].pop(0)
    regions[added].append({**regions[added][0], "id": "by-hand", "value": {
        "x": 0, "y": 0, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["beetle"]}})
    regions[emptied] = []
    for image_id in finished:
        studio.annotate(tasks[image_id], result=regions[image_id])
    studio.annotate(tasks[unfinished], "drafts", result=regions[unfinished])
    studio.annotate(tasks[skipped], result=regions[skipped], was_cancelled=True)

    pulled = pull_batch(job, None, token)
    assert pulled.standing.in_words() == "10 of 12 finished (1 skipped, 1 begun and not submitted)"
    back = waiting.returned(pulled.file)
    returned = back.boxes
    assert set(returned) == set(finished)
    assert_same(returned[changed].xyxy[0], np.array([0.25, 0.5, 0.375, 0.75]) * size)
    assert_same(returned[changed].xyxy[1:], wanted[changed].xyxy[1:])
    assert_same(returned[deleted].xyxy, wanted[deleted].xyxy[1:])
    assert_same(returned[added].xyxy, [*wanted[added].xyxy, [0, 0, size / 2, size / 2]])
    assert classes_of(back, added) == [*classes_of(waiting.truth, added), "beetle"]
    assert len(returned[emptied]) == 0
    for image_id in set(finished) - {changed, deleted, added, emptied}:
        assert_same(returned[image_id].xyxy, wanted[image_id].xyxy)
        assert classes_of(back, image_id) == classes_of(waiting.truth, image_id)
    again = push_batch(job, studio.url, token, pictures).sent
    assert (again.before, again.new, again.finished, again.skipped) == (12, 0, 10, 1)


def test_a_push_that_is_killed_goes_on_and_sends_no_image_twice(studio, tmp_path):
    waiting = Waiting(tmp_path, batch=72)
    command = [sys.executable, "-m", "flows.cli", "push", "--label-studio", studio.url, "--workdir", str(tmp_path),
               "--params", str(tmp_path / "params.yaml"), "--data", str(waiting.people.folder)]
    environment = os.environ | {"LABEL_STUDIO_API_KEY": studio.token}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    place = place_of(waiting.space, STRATEGY, 1)
    number = 0
    while process.poll() is None and len(studio.tasks(number) if number else ()) < 20:
        if not number and place.exists():
            number = Place.read(place).project
        time.sleep(0.02)
    process.kill()
    process.communicate()
    there = len(studio.tasks(number))
    assert 20 <= there < 72, "the push was not killed half way"
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"{there} of 72 images were there, {72 - there} sent; 0 finished"), done.stderr
    assert Counter(studio.tasks(number).keys()) == Counter(waiting.ids)


def test_what_the_server_refuses(studio, tmp_path):
    waiting = Waiting(tmp_path, batch=4)
    job = job_of(waiting)
    with pytest.raises(StateError, match=r"401 \(Invalid token.\); .* legacy token that is of no user here"):
        push_batch(job, studio.url, "f" * 40, Uploaded())
    with pytest.raises(StateError, match=r"401 \(Token is invalid\); .* personal access token that this server does"):
        push_batch(job, studio.url, studio.token[:-4] + "aaaa", Uploaded())
    for token in (LEGACY, studio.token):
        with pytest.raises(StateError, match="give the address of Label Studio's own first page"):
            push_batch(job, f"{studio.url}/projects/1/data", token, Uploaded())
    with pytest.raises(StateError, match=r"expected the server to show its folder .*, got 400 \(Absolute local path"):
        push_batch(job, studio.url, LEGACY, Served(tmp_path))
    with pytest.raises(StateError, match="got no header Access-Control-Allow-Origin|expected a picture, got 404"):
        push_batch(job, studio.url, LEGACY, Addressed(f"{studio.url}/static"))
    assert push_batch(job, studio.url, LEGACY, Uploaded()).sent.new == 4
    number = Place.read(place_of(waiting.space, STRATEGY, 1)).project
    studio.client.delete(f"/api/projects/{number}/").raise_for_status()
    with pytest.raises(StateError, match="expected the project of this batch, got none that the token's user may"):
        pull_batch(job, None, LEGACY)
    with Server(studio.url, LEGACY) as asked, pytest.raises(StateError, match="an export, got 404; .*somebody deleted"):
        asked.json("GET", f"/api/projects/{number}/export", "an export")


def test_an_organisation_without_legacy_tokens(studio):
    settings = {"legacy_api_tokens_enabled": False, "api_tokens_enabled": True, "api_token_ttl_days": 30}
    studio.client.post("/api/jwt/settings", json=settings).raise_for_status()
    with pytest.raises(StateError, match="holds a legacy token, which this server does not take: make one in Label St"):
        Server(studio.url, LEGACY).__enter__()
    with Server(studio.url, studio.token) as asked:
        asked.json("GET", "/api/projects/", "projects")
