"""A cycle as a flow run on a real Prefect server."""

import asyncio

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def flow_run(prefect_server, tmp_path_factory):
    from flows.cycle import cycle

    workdir = tmp_path_factory.mktemp("prefect-run")
    state = cycle(1, str(ROOT / "examples" / "quick.yaml"), str(workdir), return_state=True)
    return state, workdir


def ask(question):
    """Runs `question(client)` against the server."""
    from prefect.client.orchestration import get_client

    async def answer():
        async with get_client() as client:
            return await question(client)

    return asyncio.run(answer())


def test_a_cycle_is_one_flow_run_of_named_tasks(flow_run):
    state, workdir = flow_run
    assert state.is_completed()
    assert (workdir / "runs/quick/mgral/1/snapshot.json").exists()
    tasks = ask(lambda client: client.read_task_runs())
    assert {one.name.rsplit("-", 1)[0] for one in tasks} == {
        "prepare data", "train detector", "inspect pool", "fill table of experiments", "search batch", "export batch",
        "annotate batch", "record cycle"}
    assert {one.state_name for one in tasks} == {"Completed"}
    runs = ask(lambda client: client.read_flow_runs())
    assert [one.name for one in runs] == ["main-cycle-1"]


def test_its_artifacts_hold_the_records_and_the_choice(flow_run):
    from prefect.client.schemas.filters import ArtifactFilter

    artifacts = ask(lambda client: client.read_artifacts(artifact_filter=ArtifactFilter()))
    by_key = {one.key: one for one in artifacts}
    assert set(by_key) == {"records-mgral-1", "cycle-mgral-1"}
    assert by_key["records-mgral-1"].data.count('"fingerprint"') == 7
    assert "mlflow ui" in by_key["cycle-mgral-1"].data


def test_its_records_name_the_flow_run(flow_run):
    from mgral.lookup.store import open_table

    _, workdir = flow_run
    run = ask(lambda client: client.read_flow_runs())[0]
    with open_table(f"sqlite:///{workdir / 'runs' / 'table.db'}") as table:
        assert {one.prefect_flow_run_id for one in table.records()} == {str(run.id)}


def test_it_chose_what_the_plain_run_chose(flow_run, quick):
    from mgral.study.results import CycleResult

    _, workdir = flow_run
    result = CycleResult.read(workdir / "runs/quick/mgral/1/result.json")
    assert list(result.chosen) == quick.results["cycles"][0]["chosen"]
    assert result.snapshot == quick.results["cycles"][0]["snapshot"]
