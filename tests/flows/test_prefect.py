"""A cycle as a flow run: `prefect deployment run` as the README gives it, done by the worker that `make up` starts."""

import asyncio

import pytest

from tests.flows.conftest import QUICK, command, main_cycles
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


def test_a_batch_that_people_label_ends_the_run_in_a_state_of_its_own(services, ask, tmp_path):
    people = People(tmp_path, photos=40, labelled=20)
    params = tmp_path / "params.yaml"
    params.write_text("detector: {image_size: 32}\ntraining: {steps: 4, batch_size: 4}\n"
                      "study: {name: s, strategies: [random], budget: 5, cycles: 1}\n")
    done = command(services.root, "prefect", "deployment", "run", "study/mgral-study", "--param", f"params={params}",
                   "--param", f"workdir={tmp_path / 'work'}", "--param", f"data={people.folder}", "--watch")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WAITING for annotations of 5 images" in done.stdout + done.stderr
    runs = {run.name: run.state_name for run in ask(lambda client: client.read_flow_runs())}
    assert (runs["study s"], runs["random cycle 1"]) == ("Awaiting annotations", "Awaiting annotations")
