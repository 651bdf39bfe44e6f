"""A Prefect server and a worker for this folder, in the background: `make up` and `make down`.

Whoever may ask the server may have commands run, and any web page that its user visits could ask. So the server
listens on 127.0.0.1 alone, wants the password that stands in `.env`, which every `prefect` command given in this folder
reads, lets pages of no other origin read its answers, and answers to no other name (a page whose name is made to mean
127.0.0.1 would count as of its own origin).
"""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from flows.arguments import guarded
from mgral.errors import ConfigError, StateError

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / "runs" / "prefect"
DOTENV = ROOT / ".env"
HOST, PORT = "127.0.0.1", 4200
URL, PASSWORD = "PREFECT_API_URL", "PREFECT_API_AUTH_STRING"
MARK = "MGRAL_SERVICE"
"""What is started here, and all that it starts, has this in its environment: the service's name and this folder."""
SERVICES = ("worker", "server")
"""In the order in which they are stopped."""
PATIENCE = 120.0
"""Seconds that a server may take to answer."""
GRACE = 10.0
"""Seconds that a service may take to stop."""


def up(port: int | None = None) -> None:
    """Starts the server, deploys the flows and starts a worker; those that run already are stopped first.

    Without a `port` it is the last one that was given, at first 4200.

    Raises:
        ConfigError: another program listens on that port.
        StateError: one of them did not start; none is left running.
    """
    down()
    before = _dotenv()
    port = port or urlsplit(before.get(URL, "")).port or PORT
    address, password = f"http://{HOST}:{port}", before.get(PASSWORD) or f"mgral:{secrets.token_urlsafe(24)}"
    with _listening(port) as listener:
        settings = {URL: f"{address}/api", PASSWORD: password}
        _write_dotenv(settings)
        try:
            _start_all(listener, address, _environment(settings))
        except BaseException:
            down()
            raise
    print(f"""Prefect is up: {address} (logs in {LOGS.relative_to(ROOT)}/; `make down` stops it).
The page asks for a password: {password}
Run a cycle:      prefect deployment run 'cycle/mgral-cycle' --param cycle=1 --watch
Run everything:   prefect deployment run 'study/mgral-study' --watch""")


def down() -> list[str]:
    """Stops what was started for this folder, and nothing else; says and gives the names of what ran."""
    stopped = [name for name in SERVICES if _stop(name)]
    for name in stopped:
        print(f"Stopped Prefect's {name}.")
    return stopped


def serve(listener: int) -> None:
    """Prefect's server on a socket that is open already, for the names of this machine only."""
    import uvicorn
    from prefect.server.api.server import create_app
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = TrustedHostMiddleware(create_app(final=True), allowed_hosts=[HOST, "localhost"])
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[socket.socket(fileno=listener)])


def _start_all(listener: socket.socket, address: str, environment: Mapping[str, str]) -> None:
    server = _start("server", (sys.executable, "-m", "flows.services", "serve", str(listener.fileno())), environment | {
        "PREFECT_SERVER_API_AUTH_STRING": environment[PASSWORD], "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": address,
    }, (listener.fileno(),))
    listener.close()
    _wait(server, urlsplit(address).netloc)
    prefect = (sys.executable, "-m", "prefect")
    for command in (("work-pool", "create", "mgral", "--type", "process", "--overwrite"),
                    ("--no-prompt", "deploy", "--all")):
        if _start("deploy", (*prefect, *command), environment).wait():
            raise _failure("deploy")
    _start_worker(environment)


def _start_worker(environment: Mapping[str, str]) -> None:
    # Each deployment's concurrency_limit says how many run at once. A worker with a --limit of its own dies of a flow
    # run that is resumed before the process that suspended it is gone.
    _start("worker", (sys.executable, "-m", "prefect", "worker", "start", "--pool", "mgral", "--type", "process"),
           environment)


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **settings, "PREFECT_HOME": str(ROOT / ".prefect"), "MGRAL_ROOT": str(ROOT),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1",
            # else `--watch` shows states only, and no line of the log
            "PREFECT_SERVER_LOGS_STREAM_OUT_ENABLED": "true", "PREFECT_SERVER_LOGS_STREAM_PUBLISHING_ENABLED": "true"}


def _start(name: str, command: Sequence[str], environment: Mapping[str, str],
           files: Sequence[int] = ()) -> subprocess.Popen:
    """In the background and in a session of its own; what it says goes to its log."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, cwd=ROOT, env={**environment, MARK: _mark(name)}, stdin=subprocess.DEVNULL,
                                stdout=log, stderr=subprocess.STDOUT, start_new_session=True, pass_fds=files)


def _wait(server: subprocess.Popen, address: str) -> None:
    end = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < end:
        with suppress(OSError, HTTPException), closing(HTTPConnection(address, timeout=5)) as connection:
            connection.request("GET", "/api/health")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.5)
    raise _failure("server")


def _failure(name: str) -> StateError:
    log = LOGS / f"{name}.log"
    last = (log.read_text(encoding="utf-8", errors="replace").split("\n") or [""])[-2:]
    return StateError(f"{log}: expected Prefect's {name} to go through, got {' '.join(last).strip() or 'no answer'}")


def _listening(port: int) -> socket.socket:
    """The server's socket, open before anything is started: who has it cannot mistake another's server for its own."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise ConfigError(f"port {port} of {HOST}: expected it to be free, got {error.strerror}; another folder's "
                          f"`make up` or another program has it: choose another, `make up PORT={port + 1}`") from error
    return listener


def _dotenv() -> dict[str, str]:
    lines = DOTENV.read_text(encoding="utf-8").splitlines() if DOTENV.exists() else []
    return dict(line.split("=", 1) for line in lines if line.startswith((f"{URL}=", f"{PASSWORD}=")))


def _write_dotenv(settings: Mapping[str, str]) -> None:
    """Other lines of the file stay; nobody else may read it."""
    lines = DOTENV.read_text(encoding="utf-8").splitlines() if DOTENV.exists() else []
    lines = [line for line in lines if line.partition("=")[0] not in settings]
    DOTENV.touch(0o600)
    DOTENV.chmod(0o600)
    DOTENV.write_text("\n".join([*lines, *(f"{name}={value}" for name, value in settings.items()), ""]),
                      encoding="utf-8")


def _stop(name: str) -> bool:
    found = False
    for signal in (psutil.Process.terminate, psutil.Process.kill):
        for process in _running(name):
            found = True
            with suppress(psutil.Error):
                signal(process)
        end = time.monotonic() + GRACE
        while _running(name) and time.monotonic() < end:
            time.sleep(0.2)
    return found


def _running(name: str) -> list[psutil.Process]:
    """Processes of this folder's service, by what they were started with: numbers of processes are given anew."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # gone, or another user's
            if process.environ().get(MARK) == _mark(name) and process.pid != os.getpid():
                found.append(process)
    return found


def _mark(name: str) -> str:
    return f"{name} of {ROOT}"


def main() -> None:
    top = argparse.ArgumentParser(description=__doc__)
    commands = top.add_subparsers(required=True)
    start = commands.add_parser("up", help="start both")
    start.add_argument("--port", type=int, help=f"of the server (default: the last one given, at first {PORT})")
    start.set_defaults(work=lambda options: up(options.port))
    commands.add_parser("down", help="stop both").set_defaults(work=lambda _: down())
    server = commands.add_parser("serve", help="the server itself, as `up` starts it")
    server.add_argument("listener", type=int, help="the number of its open socket")
    server.set_defaults(work=lambda options: serve(options.listener))
    options = top.parse_args()
    guarded(lambda: options.work(options))


if __name__ == "__main__":
    main()
