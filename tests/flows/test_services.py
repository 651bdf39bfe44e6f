"""`make up` and `make down`, from outside: who may ask the server, and whose processes are stopped."""

import asyncio
import os
import subprocess
import sys

import httpx
import pytest
import websockets

from flows import services as module
from tests.flows.conftest import command, copy_of_project, free_port

ASKED = "/api/deployments/filter"
FOREIGN = "http://evil.example"


@pytest.fixture
def other(tmp_path):
    """Another copy of the project."""
    return copy_of_project(tmp_path)


def test_only_who_knows_the_password_may_ask(services):
    url = services.address + ASKED
    user, _, token = services.password.partition(":")
    assert httpx.post(url, json={}).status_code == 401
    assert httpx.post(url, json={}, auth=(user, token[1:])).status_code == 401
    assert httpx.post(url, content="{}", headers={"Content-Type": "text/plain", "Origin": FOREIGN}).status_code == 401
    answered = httpx.post(url, json={}, auth=(user, token)).json()
    assert {str(services.root) in str(one["pull_steps"]) for one in answered} == {True}
    assert len(token) >= 32


@pytest.mark.parametrize("path", ["events/in", "events/out", "logs/out", "work_pools/mgral/workers/connect"])
def test_no_socket_opens_without_the_password(services, path):
    async def talk():
        url = f"{services.address}/api/{path}".replace("http", "ws")
        async with websockets.connect(url, subprotocols=["prefect"], origin=FOREIGN) as connection:
            await connection.send('{"type": "auth", "token": "guessed"}')
            await connection.recv()

    with pytest.raises((websockets.InvalidStatus, websockets.ConnectionClosed)):
        asyncio.run(talk())


def test_pages_of_other_origins_may_not_ask(services):
    def preflight(origin):
        wanted = {"Origin": origin, "Access-Control-Request-Method": "POST",
                  "Access-Control-Request-Headers": "authorization,content-type"}
        return httpx.options(services.address + ASKED, headers=wanted).headers

    assert "access-control-allow-origin" not in preflight(FOREIGN)
    assert preflight(services.address)["access-control-allow-origin"] == services.address


@pytest.mark.parametrize("name", ["evil.example", "evil.example:4200", "127.0.0.1.evil.example", ""])
def test_other_names_of_this_machine_are_refused(services, name):
    for path in ("/api/health", ASKED, "/"):
        assert httpx.get(services.address + path, headers={"Host": name}).status_code == 400


def test_the_page_asks_for_the_password(services):
    assert "<!doctype html>" in httpx.get(services.address, follow_redirects=True).text.lower()
    settings = httpx.get(services.address + "/ui-settings").json()
    assert (settings["auth"], settings["api_url"]) == ("BASIC", f"{services.address}/api")


def test_the_password_is_kept_from_others(services):
    assert (services.root / ".env").stat().st_mode & 0o777 == 0o600
    told = "".join(path.read_text() for path in (services.root / "runs/prefect").glob("*.log"))
    assert services.password not in told


def test_a_second_folder_is_refused_the_port_and_harms_nothing(services, other):
    done = command(other, "flows.services", "up", "--port", services.address.rpartition(":")[2])
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "choose another, `make up PORT=" in done.stderr
    assert command(other, "flows.services", "down").stdout == ""
    listed = command(services.root, "prefect", "deployment", "ls")
    assert "cycle/mgral-cycle" in listed.stdout, listed.stderr


def test_a_server_that_does_not_start_ends_in_one_line(other):
    done = command(other, "flows.services", "up", "--port", str(free_port()),
                   PREFECT_API_DATABASE_CONNECTION_URL="sqlite+aiosqlite:////nowhere/prefect.db")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "expected Prefect's server to go through" in done.stderr
    assert command(other, "flows.services", "down").stdout == ""


def test_down_stops_what_up_started_and_no_other_process(other):
    def sleeper(**marks):
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], cwd=other,
                                env=os.environ | marks, start_new_session=True)

    ours = sleeper(MGRAL_SERVICE=f"server of {other}")
    others = [sleeper(), sleeper(MGRAL_SERVICE=f"server of {other}er")]
    (other / "runs/prefect").mkdir(parents=True)
    (other / "runs/prefect/server.pid").write_text(str(others[0].pid))
    try:
        assert command(other, "flows.services", "down").stdout == "Stopped Prefect's server.\n"
        assert ours.wait(timeout=20) != 0
        assert [process.poll() for process in others] == [None, None]
    finally:
        for process in (ours, *others):
            process.kill()
            process.wait()


def test_other_lines_of_the_file_of_settings_stay(tmp_path, monkeypatch):
    path = tmp_path / ".env"
    monkeypatch.setattr(module, "DOTENV", path)
    path.write_text("MINE=1\nPREFECT_API_URL=http://127.0.0.1:4200/api\n")
    module._write_dotenv({"PREFECT_API_URL": "http://127.0.0.1:4201/api", "PREFECT_API_AUTH_STRING": "mgral:x"})
    assert path.read_text() == ("MINE=1\nPREFECT_API_URL=http://127.0.0.1:4201/api\n"
                                "PREFECT_API_AUTH_STRING=mgral:x\n")
    assert module._dotenv() == {"PREFECT_API_URL": "http://127.0.0.1:4201/api", "PREFECT_API_AUTH_STRING": "mgral:x"}
    assert path.stat().st_mode & 0o777 == 0o600
