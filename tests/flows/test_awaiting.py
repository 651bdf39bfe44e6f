"""A flow run that waits for people: when it is suspended, what it asks for, what becomes of what is typed."""

import logging
from contextlib import nullcontext
from types import SimpleNamespace
from uuid import uuid4

import pytest
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import Pause
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Completed, Failed, Running, Suspended

from flows import awaiting, cycle_runs, study
from flows.awaiting import Labels, described, resume_awaiting, when_labelled
from mgral.annotation.acceptance import Accept
from mgral.config import Config, StudyConfig
from mgral.errors import DataError
from mgral.study.results import Awaiting
from mgral.study.waiting import WaitingRun, waiting_runs
from tasks.opened import Job


@pytest.fixture
def job(tmp_path):
    config = Config(study=StudyConfig(name="s", strategies=("random", "coreset"), cycles=2))
    return Job(config, tmp_path, None, "random", 1, 0)


@pytest.fixture
def path(job):
    return job.workspace.waiting("random", 1)


@pytest.fixture
def run(monkeypatch, job):
    """A flow run of a deployment, with what was typed last in `typed`; `asked` holds (key, description) of each time
    that it was suspended."""
    made = SimpleNamespace(id=uuid4(), name="random cycle 1", deployment_id=uuid4(), parent_task_run_id=None,
                           empirical_policy=SimpleNamespace(pause_keys=set()), typed=None, asked=[])

    def suspend(form, key, timeout):
        made.asked.append((key, form._description))
        made.empirical_policy.pause_keys.add(key)
        raise Pause(state=Suspended())

    monkeypatch.setattr(awaiting, "_this_run", lambda: made)
    monkeypatch.setattr(awaiting, "get_run_logger", lambda: logging.getLogger("test"))
    monkeypatch.setattr(awaiting, "suspend_flow_run", suspend)
    monkeypatch.setattr(Labels, "load", lambda keyset: made.typed)
    with temporary_settings({PREFECT_API_URL: "http://h:4200/api"}):
        yield made


@pytest.fixture
def batch(job):
    """Work that waits for the labels of a batch until it is `labelled`."""
    waits = Awaiting("random, cycle 1", 1, 5, 3, job.workdir / "out" / "batch.json", job.workdir / "batch.html")

    def work():
        work.times += 1
        return "done" if work.labelled else waits

    work.labelled, work.times = False, 0
    return work


@pytest.fixture
def taken(monkeypatch, batch):
    """What was imported; a file called whole.json holds all labels, any other has a fault."""
    files = []

    def take(job, file, accept):
        files.append((job.cycle, file.name, accept))
        if file.name != "whole.json":
            raise DataError(f"{file.name}: expected `all`, got some", "a second fault")
        batch.labelled = True
        return SimpleNamespace(lines=("taken",))

    monkeypatch.setattr(awaiting, "take_labels", take)
    return files


def assert_suspends(job, batch):
    with pytest.raises(Pause):
        when_labelled(job, batch)


def test_it_is_suspended_and_says_which_run_waits(job, run, batch, path):
    assert_suspends(job, batch)
    waiting = WaitingRun.read(path)
    assert (waiting.flow_run, waiting.name, waiting.api) == (str(run.id), "random cycle 1", "http://h:4200/api")
    assert waiting.page == f"http://h:4200/runs/flow-run/{run.id}"
    assert [key for key, _ in run.asked] == [waiting.key]


def test_labels_that_are_there_when_it_goes_on_end_the_wait(job, run, batch, path):
    assert_suspends(job, batch)
    batch.labelled = True
    assert (when_labelled(job, batch), path.exists(), len(run.asked)) == ("done", False, 1)


def test_a_file_with_a_fault_suspends_it_again_with_the_reason(job, run, batch, path, taken):
    assert_suspends(job, batch)
    run.typed = Labels(file=" some.json\n", accept_empty=True)
    assert_suspends(job, batch)
    (first, _), (second, text) = run.asked
    assert first != second, "what is typed next is not what was typed before"
    assert text.startswith("**Not taken, and nothing was changed:**\n\n- `some.json: expected all, got some`\n"
                           "- `a second fault`\n")
    run.typed = Labels(file="whole.json")
    assert (when_labelled(job, batch), path.exists()) == ("done", False)
    assert taken == [(1, "some.json", Accept(empty=True)), (1, "whole.json", Accept())]


@pytest.mark.parametrize("typed", ["-", " ", ""])
def test_labels_that_are_still_missing_suspend_it_again(job, run, batch, taken, typed):
    assert_suspends(job, batch)
    run.typed = Labels(file=typed)
    assert_suspends(job, batch)
    assert "labels of 3 images are still missing" in run.asked[1][1]
    assert taken == []


def test_what_was_typed_is_told_once(job, run, batch, monkeypatch, taken):
    """A file with a part of the labels is taken, and then the rest is asked for."""
    part = SimpleNamespace(lines=("a part",))
    monkeypatch.setattr(awaiting, "take_labels", lambda job, file, accept: taken.append(accept) or part)
    assert_suspends(job, batch)
    run.typed = Labels(file="part.json", partial=True, accept_unchanged=True)
    assert_suspends(job, batch)
    assert (taken, len(run.asked)) == ([Accept(partial=True, unchanged=True)], 2)


def test_a_run_that_begins_anew_asks_anew(job, run, batch, taken):
    """Prefect forgets suspensions where a run that crashed is run again; its keys cannot be used twice."""
    assert_suspends(job, batch)
    run.typed = Labels(file="whole.json")
    run.empirical_policy.pause_keys.clear()
    assert_suspends(job, batch)
    assert (len({key for key, _ in run.asked}), taken) == (2, [])


@pytest.mark.parametrize("of", [{"deployment_id": None}, {"parent_task_run_id": uuid4()}])
def test_a_run_that_prefect_cannot_start_again_ends_with_what_it_waits_for(job, run, batch, path, of):
    vars(run).update(of)
    assert (when_labelled(job, batch).missing, run.asked, path.exists()) == (3, [], False)


@pytest.mark.parametrize(("state", "suspended"), [(Suspended(), False), (Cancelled(), True), (None, True)])
def test_one_run_waits_for_a_batch(job, run, batch, path, monkeypatch, state, suspended):
    """Another that waits already is left to it; one that is cancelled or gone is not."""
    other = None if state is None else SimpleNamespace(state=state)
    monkeypatch.setattr(awaiting, "get_client", lambda sync_client: nullcontext())
    monkeypatch.setattr(awaiting, "_read", lambda client, waiting: other)
    WaitingRun(str(uuid4()), "another", "http://h/api", "k").write(path)
    if suspended:
        assert_suspends(job, batch)
    else:
        assert isinstance(when_labelled(job, batch), Awaiting)
    assert (WaitingRun.read(path).name == "another") is not suspended


def test_what_is_asked_for_names_the_batch_and_the_command(job, tmp_path):
    waits = Awaiting("coreset, cycle 1", 1, 5, 5, tmp_path / "out" / "batch.json",
                     tmp_path / "batch.html", " --strategy coreset")
    text = described(job, waits)
    assert "**Label 5 images** (coreset, cycle 1)" in text
    assert f"`{tmp_path / 'out'}`" in text
    assert f"`mgral import --workdir {tmp_path} --strategy coreset --cycle 1 FILE`" in text


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"flow_run": 1}', '{"flow_run": "a", "name": "b", "api": "c"}',
                                     '{"flow_run": 1, "name": "b", "api": "c", "key": "d"}', "[" * 100_000])
def test_a_damaged_file_names_no_run(path, content):
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert WaitingRun.read(path) is None


def test_all_strategies_wait_for_the_first_batch(job, path):
    for strategy in ("random", "coreset"):
        for cycle in (0, 1, 10):
            WaitingRun("id", f"{strategy} {cycle}", "http://h/api", "k").write(job.workspace.waiting(strategy, cycle))
    found = {cycle: [run.name for _, run in waiting_runs(job.workspace, "random", cycle)] for cycle in (0, 1, 2)}
    assert found == {0: ["coreset 0", "random 0"], 1: ["random 1"], 2: []}


@pytest.fixture
def server(monkeypatch, path):
    """A server that knows one run, in `state`, and answers those who resume it with `answers`, one after another."""
    made = SimpleNamespace(state=Suspended(), answers=[None], resumed=[])

    def resume(run, run_input):
        made.resumed.append(run_input)
        reason = made.answers.pop(0)
        return SimpleNamespace(status=SetStateStatus.REJECT if reason else SetStateStatus.ACCEPT,
                               details=SimpleNamespace(reason=reason))

    made.resume_flow_run = resume
    made.read_flow_run = lambda run: SimpleNamespace(id=run, name="random cycle 1", state=made.state)
    monkeypatch.setattr(awaiting, "_hasty_client", lambda: nullcontext(made))
    monkeypatch.setattr(awaiting.time, "sleep", lambda seconds: None)
    WaitingRun(str(uuid4()), "random cycle 1", "http://h/api", "k").write(path)
    return made


def test_a_run_that_was_suspended_a_moment_ago_is_asked_again(job, server):
    server.answers = ["Run input schema not found.", "Run input schema not found.", None]
    assert resume_awaiting(job) == ["flow run random cycle 1 goes on"]
    assert server.resumed == [Labels(file="-").model_dump()] * 3


def test_a_run_that_is_not_resumed_is_said(job, server, path, monkeypatch):
    server.state = Running()
    assert resume_awaiting(job) == ["flow run random cycle 1 goes on already (Running)"]
    server.state, server.answers = Suspended(), ["no"]
    assert resume_awaiting(job)[0].startswith("flow run random cycle 1 was not resumed: no; resume it on its page, ")
    server.answers = ["Run input schema not found."]
    monkeypatch.setattr(awaiting, "PATIENCE", -1)
    assert "was not resumed: Run input schema not found.; " in resume_awaiting(job)[0]
    server.state = Cancelled()
    assert resume_awaiting(job) == [
        "flow run random cycle 1 waits no longer (Cancelled); run the deployment again"]
    assert not path.exists()


@pytest.mark.parametrize(("address", "fault"), [
    (None, "got no address; give the command where `make up` was given, or set PREFECT_API_URL"),
    ("http://127.0.0.1:9/api", "to answer, got [Errno 111] Connection refused")])
def test_a_server_that_does_not_answer_changes_nothing(job, path, address, fault):
    WaitingRun(str(uuid4()), "random cycle 1", "http://h/api", "k").write(path)
    with temporary_settings({PREFECT_API_URL: address} if address else {}, restore_defaults={PREFECT_API_URL}):
        said = resume_awaiting(job)
    assert len(said) == 1
    assert fault in said[0]
    assert "with - for the file: http://h/runs/flow-run/" in said[0]
    assert path.exists(), "it may be resumed later"


def of_cycle(job, state, start, end=None, **changed):
    """A flow run of a cycle, as the server tells it."""
    given = {"params": "params.yaml", "workdir": str(job.workdir), "data": None, "strategy": "random", "seed": 0,
             "cycle": 1} | changed
    return SimpleNamespace(name="random cycle 1", state=state, parameters=given, start=start, end_time=end)


@pytest.fixture
def known(monkeypatch):
    """What the server knows of flow runs, the latest first; a study's run that began at 10; and which it started."""
    made = SimpleNamespace(runs=[], started=[])
    context = SimpleNamespace(flow_run=SimpleNamespace(created=10))
    monkeypatch.setattr(cycle_runs, "FlowRunContext", SimpleNamespace(get=lambda: context))
    monkeypatch.setattr(cycle_runs, "_runs", lambda name: made.runs)
    monkeypatch.setattr(cycle_runs, "get_run_logger", lambda: logging.getLogger("test"))
    monkeypatch.setattr(cycle_runs, "run_deployment", lambda name, parameters, **_: made.started.append(parameters)
                        or SimpleNamespace(name="new", state=Running(), parameters=parameters, end_time=None))
    return made


def test_a_study_takes_the_run_of_a_cycle_that_goes_on_or_ended_meanwhile(job, known):
    suspended, ended = of_cycle(job, Suspended(), 1), of_cycle(job, Completed(), 11, 12)
    for runs, wanted in (([suspended], suspended), ([ended], ended), ([ended, suspended], suspended),
                         ([of_cycle(job, Completed(), 13, 14), of_cycle(job, Failed(), 11, 12)], 14)):
        known.runs = runs
        found = cycle_runs.run_of(job)
        assert found is wanted or found.end_time == wanted
    short = of_cycle(job, Suspended(), 1)
    short.parameters = {"workdir": f"{job.workdir}/"}  # as somebody starts it who names no more than is needed
    known.runs = [short]
    assert cycle_runs.run_of(job) is short
    assert known.started == []


@pytest.mark.parametrize("changed", [{"seed": 1}, {"cycle": 2}, {"strategy": "coreset"}, {"workdir": "/elsewhere"},
                                     {"params": "b.yaml"}, {"data": "d"}])
def test_a_study_starts_a_cycle_that_no_run_is_of(job, known, changed):
    known.runs = [of_cycle(job, Suspended(), 1, **changed), of_cycle(job, Completed(), 8, 9),
                  of_cycle(job, Completed(name="Awaiting annotations"), 11, 12)]
    assert cycle_runs.run_of(job).name == "new"
    assert known.started == [{"params": "params.yaml", "workdir": str(job.workdir), "data": None,
                              "strategy": "random", "seed": 0, "cycle": 1}]


def test_a_cycle_that_failed_ends_the_study(job, monkeypatch):
    monkeypatch.setattr(study, "run_of", lambda at: of_cycle(job, Failed(message="out of memory"), 11, 12))
    state = study._cycle_runs(job)
    assert (state.is_failed(), state.message) == (True, "random cycle 1: Failed. out of memory")


def test_a_study_begins_the_next_cycle_of_each_strategy_and_is_suspended(job, monkeypatch):
    """coreset's first is done."""
    begun, suspended = [], []

    def run_of(at):
        begun.append((at.strategy, at.cycle))
        return of_cycle(at, Completed() if (at.strategy, at.cycle) == ("coreset", 1) else Suspended(), 11, 12)

    monkeypatch.setattr(study, "run_of", run_of)
    monkeypatch.setattr(study, "suspend_until_one_ends", lambda ended: suspended.append(ended()))
    assert study._cycle_runs(job) is None
    assert begun[:3] == [("random", 1), ("coreset", 1), ("coreset", 2)]
    assert suspended == [False]


@pytest.mark.parametrize("ended", [True, False])
def test_a_cycle_that_ends_before_its_study_is_suspended_is_not_missed(known, monkeypatch, ended):
    resumed = []

    def suspend(key, timeout):
        raise Pause(state=Suspended())

    cycle_runs.FlowRunContext.get().flow_run.id = "study"
    monkeypatch.setattr(cycle_runs, "suspend_flow_run", suspend)
    monkeypatch.setattr(cycle_runs, "_resume", resumed.append)
    with pytest.raises(Pause):
        cycle_runs.suspend_until_one_ends(lambda: ended)
    assert resumed == ["study"] * ended


def test_a_cycle_that_ends_wakes_the_studies_that_wait_for_it(job, known, monkeypatch):
    def of_study(number, state, **given):
        return SimpleNamespace(id=number, state=state, parameters=given)

    resumed, workdir = [], str(job.workdir)
    monkeypatch.setattr(cycle_runs, "_resume", resumed.append)
    known.runs = [of_study(1, Suspended(), workdir=workdir, params="./params.yaml"), of_study(2, Suspended()),
                  of_study(3, Running(), workdir=workdir)]
    ended = of_cycle(job, Completed(), 11, 12)
    for deployment, parent in ((None, None), ("d", "parent"), ("d", None)):
        ended.deployment_id, ended.parent_task_run_id = deployment, parent
        cycle_runs.wake_study(None, ended, ended.state)
    assert resumed == [1]
