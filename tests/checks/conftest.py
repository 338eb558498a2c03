"""The real server, on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from machine.environments import installed
from tests.conftest import ROOT

StartServer = Callable[..., int]
LOGS: dict[int, Path] = {}
"""A started server's port -> its log."""
GOOD = {
    "WORKSPACE_MCP_TRANSPORT": "streamable-http",
    "WORKSPACE_MCP_HOST": "127.0.0.1",
    "WORKSPACE_MCP_STATELESS_MODE": "true",
    "WORKSPACE_MCP_OAUTH_PROXY_STORAGE_BACKEND": "memory",
    "WORKSPACE_MCP_ALLOWED_CLIENT_REDIRECT_URIS": "http://localhost:*",
    "MCP_ENABLE_OAUTH21": "true",
    "FORWARDED_ALLOW_IPS": "*",
    "GOOGLE_OAUTH_CLIENT_ID": "rehearsal.apps.googleusercontent.com",
    "GOOGLE_OAUTH_CLIENT_SECRET": "not-a-secret",
}


def server_python() -> Path:
    """The interpreter with what the image ships, whose packages would not go together with this project's."""
    return installed(ROOT / ".rehearsal" / "server-venv", file=ROOT / "image" / "requirements.txt")


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Starts the server with GOOD and the given environment (None unsets), once per environment; its port."""
    command = [str(server_python()), str(ROOT / "image" / "launcher.py")]
    started: dict[tuple[tuple[str, str | None], ...], int] = {}
    processes: list[subprocess.Popen[bytes]] = []

    def start(**environment: str | None) -> int:
        key = tuple(sorted(environment.items()))
        if key not in started:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = int(free.getsockname()[1])
            home = tmp_path_factory.mktemp("server")
            variables = {
                **GOOD,
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "PORT": str(port),
                **environment,
            }
            log = (home / "log").open("wb")
            defined = {name: value for name, value in variables.items() if value is not None}
            process = subprocess.Popen(command, env=defined, cwd=home, stdout=log, stderr=subprocess.STDOUT)
            processes.append(process)
            _wait_until_up(process, port, home / "log")
            started[key] = port
            LOGS[port] = home / "log"
        return started[key]

    try:
        yield start
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(10)


@pytest.fixture(scope="session")
def prefixed(start_server: StartServer) -> int:
    """The port of a server behind the path /google-workspace."""
    return start_server(WORKSPACE_EXTERNAL_URL="https://api.busyb.ai/google-workspace")


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")
