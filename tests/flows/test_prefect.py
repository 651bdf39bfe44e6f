"""A cycle as a flow run: `prefect deployment run` as the README gives it, done by the worker that `make up` starts."""

import asyncio
import json
import time
from uuid import uuid4

import pytest

from tests.flows.conftest import QUICK, command, main_cycles, restart_worker
from tests.people import People


@pytest.fixture(scope="module")
def workdir(services, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("prefect-run")
    done = command(services.root, "prefect", "deployment", "run", "cycle/mgral-cycle", "--param", "cycle=1",
                   "--param", f"params={QUICK}", "--param", f"workdir={workdir}", "--watch")
    assert done.returncode == 0, done.stdout + done.stderr
    (workdir / "said").write_text(done.stdout + done.stderr)
    return workdir


@pytest.fixture
def ask(services):
    """Runs `question(client)` against the server."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    async def answer(question):
        async with get_client() as client:
            return await question(client)

    with temporary_settings({PREFECT_API_URL: f"{services.address}/api", PREFECT_API_AUTH_STRING: services.password}):
        yield lambda question: asyncio.run(answer(question))


def test_a_cycle_is_one_flow_run_of_named_tasks(workdir, ask):
    assert (workdir / "runs/quick/seed-0/mgral/1/snapshot.json").exists()
    tasks = ask(lambda client: client.read_task_runs())
    assert {task.name.rsplit("-", 1)[0] for task in tasks} == {
        "prepare data", "train detector", "inspect pool", "choose batch", "export batch", "annotate batch",
        "record cycle"}
    assert {task.state_name for task in tasks} == {"Completed"}
    runs = ask(lambda client: client.read_flow_runs())
    assert [(run.name, run.state_name) for run in runs] == [("mgral cycle 1", "Completed")]


def test_its_artifacts_hold_the_records_and_the_choice(workdir, ask):
    from prefect.client.schemas.filters import ArtifactFilter

    artifacts = ask(lambda client: client.read_artifacts(artifact_filter=ArtifactFilter()))
    by_key = {artifact.key: artifact for artifact in artifacts}
    assert set(by_key) == {"experiments-of-mgral-cycle-1", "mgral-cycle-1"}
    assert by_key["experiments-of-mgral-cycle-1"].data.count('"reward"') == 7 + 1, "the design, and a fall-back"
    text = by_key["mgral-cycle-1"].data
    assert "mlflow ui" in text
    assert "![chosen images](data:image/jpeg;base64," in text
    assert text.count(" | in the batch of the highest estimated reward") == 12


def test_its_records_name_the_flow_run(workdir, ask):
    from mgral.experiments.store import open_table

    run = ask(lambda client: client.read_flow_runs())[0]
    with open_table(f"sqlite:///{workdir / 'runs' / 'table.db'}") as table:
        assert {record.prefect_flow_run_id for record in table.records()} == {str(run.id)}


def test_it_chose_what_the_plain_run_chose(workdir, quick):
    from mgral.study.results import CycleResult

    result = CycleResult.read(workdir / "runs/quick/seed-0/mgral/1/result.json")
    assert list(result.choice.ids) == main_cycles(quick)[0]["choice"]["ids"]
    assert result.snapshot == main_cycles(quick)[0]["snapshot"]


def test_its_log_ends_with_what_it_reached_and_where(workdir):
    from mgral.study.results import CycleResult

    result = CycleResult.read(workdir / "runs/quick/seed-0/mgral/1/result.json")
    said = " ".join((workdir / "said").read_text().split())  # Prefect wraps lines
    assert f"24 labelled, mAP {result.map:.3f}, AP50 {result.ap50:.3f}; chose 12" in said


@pytest.mark.parametrize("name", ["cycle", "study"])
def test_a_fault_is_the_last_state_in_its_own_words(services, ask, name):
    done = command(services.root, "prefect", "deployment", "run", f"{name}/mgral-{name}", "--param",
                   "params=nowhere.yaml", "--watch")
    assert done.returncode != 0
    runs = ask(lambda client: client.read_flow_runs())
    messages = {run.state.message for run in runs if run.state.is_failed()}
    assert "nowhere.yaml: expected a params file, got No such file or directory" in messages


def test_every_parameter_of_a_flow_is_described():
    from prefect.utilities.callables import parameter_schema

    import flows.cycle
    import flows.study

    for flow in (flows.cycle.cycle, flows.study.study):
        assert all(described.get("description") for described in parameter_schema(flow.fn).properties.values())


@pytest.fixture
def asked(tmp_path):
    """A study in which people label a batch of 5: their folder, and the parameters of a flow run."""
    people = People(tmp_path, photos=40, labelled=20)
    params = tmp_path / "params.yaml"
    params.write_text("detector: {image_size: 32}\ntraining: {steps: 4, batch_size: 4}\n"
                      "study: {name: s, strategies: [random], budget: 5, cycles: 1}\n")
    return people, {"params": str(params), "workdir": str(tmp_path / "work"), "data": str(people.folder)}


def test_flow_runs_are_suspended_until_people_have_labelled(services, ask, asked, tmp_path):
    """A file with a fault typed on resuming, another worker, `mgral import`: to the end, one flow run a cycle."""
    from prefect.exceptions import PrefectHTTPStatusError

    people, given = asked
    cycle = tmp_path / "work/runs/s/seed-0/random/1"

    def until(*wanted, told=""):
        """Waits until the flow runs of this study, by name, are in these states, and one asks for what it is told."""
        async def look(client):
            end = time.monotonic() + 120
            while time.monotonic() < end:
                runs = [run for run in await client.read_flow_runs() if run.parameters.get("params") == given["params"]]
                if tuple(sorted((run.name, run.state_name) for run in runs)) == wanted and (
                        not told or told in await asks(client, runs)):
                    return {run.name: run for run in runs}
                await asyncio.sleep(0.5)
            raise AssertionError([(run.name, run.state_name, run.state.message) for run in runs])

        return ask(look)

    async def asks(client, runs):
        """What is shown to who resumes the run of the cycle."""
        run = next(run for run in runs if run.name == "random cycle 1")
        try:
            return await client.read_flow_run_input(run.id, run.state.state_details.run_input_keyset["description"])
        except PrefectHTTPStatusError:  # suspended a moment ago, and not written yet
            return ""

    async def begin(client):
        deployment = await client.read_deployment_by_name("study/mgral-study")
        await client.create_flow_run_from_deployment(deployment.id, parameters=given)

    ask(begin)
    suspended = (("random cycle 1", "Suspended"), ("study s", "Suspended"))
    run = until(*suspended, told="**Label 5 images** (random, cycle 1)")["random cycle 1"]
    limits = ask(lambda client: client.read_global_concurrency_limits(limit=10, offset=0))
    assert [limit.active_slots for limit in limits] == [0, 0], "others may run meanwhile"

    whole = people.annotate(cycle / "preannotations.json", tmp_path / "whole.json")
    short = json.loads(whole.read_text())
    left_out = short["images"].pop()
    short["annotations"] = [box for box in short["annotations"] if box["image_id"] != left_out["id"]]
    (tmp_path / "short.json").write_text(json.dumps(short))
    refused = ask(lambda client: client.resume_flow_run(run.id))
    assert "'file' is a required property" in refused.details.reason
    ask(lambda client: client.resume_flow_run(run.id, {"file": str(tmp_path / "short.json")}))
    until(*suspended, told=f"{tmp_path / 'short.json'}: expected labels of all 5 images of the batch, got 4: 1 is not")
    assert not (cycle / "snapshot.json").exists()

    restart_worker(services.root)
    done = command(services.root, "flows.cli", "import", *(f"--{name}={value}" for name, value in given.items()),
                   str(whole))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("  flow run random cycle 1 goes on\n")
    runs = until(("random cycle 1", "Completed"), ("study s", "Completed"))
    assert runs["random cycle 1"].id == run.id, "the same flow run went on to the end"
    assert (tmp_path / "work/runs/s/report/table.md").exists()
    assert not list((tmp_path / "work/runs/s/seed-0/waiting").iterdir())


def test_a_run_of_no_deployment_ends_in_a_state_of_its_own(ask, asked):
    """Prefect cannot start it again, nor one that is part of another."""
    import flows.study

    given = asked[1]
    assert flows.study.study(**given, return_state=True).name == "Awaiting annotations"
    runs = ask(lambda client: client.read_flow_runs())
    assert {(run.name, run.state_name) for run in runs if run.parameters.get("params") == given["params"]} == {
        ("study s", "Awaiting annotations"), ("random cycle 1", "Awaiting annotations")}


@pytest.mark.parametrize("gone", ["Completed", "not there"])
def test_after_an_import_a_flow_run_that_waits_no_longer_is_said(workdir, ask, tmp_path, gone):
    from flows.arguments import job_of
    from flows.awaiting import resume_awaiting
    from mgral.study.waiting import WaitingRun

    runs = ask(lambda client: client.read_flow_runs())
    ended = next(str(run.id) for run in runs if run.name == "mgral cycle 1")
    job = job_of(QUICK, tmp_path, None)
    path = job.workspace.waiting("mgral", 1)
    WaitingRun(ended if gone == "Completed" else str(uuid4()), "mgral cycle 1", "http://h/api", "k").write(path)
    assert resume_awaiting(job) == [f"flow run mgral cycle 1 waits no longer ({gone}); run the deployment again"]
    assert resume_awaiting(job) == []
