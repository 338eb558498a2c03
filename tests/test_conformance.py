"""The conformance suite: the way to a server, the baseline, what is made of its words, and what may be missing."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

import conformance
from checks import PublicAddress
from conformance import REVISIONS, SuiteFailed, outcome
from conformance.baseline import FILE, BaselineError, read
from conformance.forwarder import forwarding
from machine.environments import NotInstalled
from machine.node import packages
from operations.__main__ import main
from tests.conftest import ROOT

URL = "https://api.busyb.ai/mail"
TOKEN = "ya29.of-a-user"


# The baseline


def test_the_shipped_baseline_has_a_reason_for_each_line_of_each_revision() -> None:
    found = read(FILE, REVISIONS)
    assert set(found) == set(REVISIONS)
    assert all(":" in name and len(reason) > 10 for lines in found.values() for name, reason in lines.items())


def test_all_mistakes_in_a_baseline_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "baseline.yaml"
    file.write_text(
        "2025-11-25:\n  ping:\n  'tools list': it is slow\n  caching: none\n  caching:ttl: none\n2019-01-01: {}\n"
        "2026-07-28: [ping]\n"
    )
    with pytest.raises(BaselineError) as refused:
        read(file, REVISIONS)
    lines = str(refused.value).splitlines()
    assert lines[0] == f"The baseline {file} is wrong:"
    assert lines[1:-1] == [
        "- 2025-11-25, ping: the reason is missing",
        "- 2025-11-25, tools list: not scenario or scenario:check",
        "- 2025-11-25, caching:ttl: the whole scenario has a line too",
        "- 2019-01-01: no revision that is tried; these are: 2025-11-25, 2026-07-28",
        "- 2026-07-28: its lines are no mapping",
    ]


@pytest.mark.parametrize("text", ["- ping", "a: b: c", "\x00"])
def test_what_is_no_baseline_is_refused_in_words(tmp_path: Path, text: str) -> None:
    file = tmp_path / "baseline.yaml"
    file.write_text(text)
    with pytest.raises(BaselineError, match="baseline"):
        read(file, REVISIONS)
    with pytest.raises(BaselineError, match="cannot be read"):
        read(tmp_path / "missing.yaml", REVISIONS)


# What the suite says


def check(name: str, status: str, **more: str) -> dict[str, str]:
    return {"id": name, "status": status, "description": "as it should be", **more}


CHECKS = {
    "ping": [check("ping", "SUCCESS"), check("wire-schema-valid", "SUCCESS")],
    "tools-list": [check("tools-list", "FAILURE", errorMessage="Missing tools"), check("extra", "INFO")],
    "caching": [check("ttl", "WARNING"), check("scope", "SUCCESS")],
    "tasks-lifecycle": [check("tasks", "FAILURE")],
}
COUNTED = ["ping", "tools-list", "caching"]


def test_figures_are_of_the_scenarios_that_count() -> None:
    printed = (
        "\n\x1b[33mExpected failures (in baseline):\x1b[0m\n  ~ caching:ttl\n"
        "\n\x1b[31mUnexpected failures (not in baseline):\x1b[0m\n  ✗ tools-list\n"
    )
    found = outcome("2026-07-28", printed, CHECKS, COUNTED, {"caching:ttl": "it caches nothing"})
    assert (found.scenarios_passed, found.scenarios, found.checks_passed, found.checks) == (1, 3, 3, 5)
    assert found.expected == {"caching:ttl": "it caches nothing"}
    assert found.unexpected == {"tools-list:tools-list": "Missing tools"}
    assert (found.stale, found.passed) == ([], False)


def test_a_line_that_names_no_scenario_that_counts_is_stale() -> None:
    printed = "\x1b[32mBaseline check passed: all failures are expected.\x1b[0m\n"
    known = {"pong": "misspelt", "tasks-lifecycle:tasks": "an extension, which does not count"}
    found = outcome("2026-07-28", printed, CHECKS, COUNTED, known)
    assert found.stale == ["pong", "tasks-lifecycle:tasks"]
    assert not found.passed


def test_a_suite_without_a_verdict_has_failed_and_not_passed() -> None:
    with pytest.raises(SuiteFailed, match=r"no verdict.*\n.*SyntaxError"):
        outcome("2026-07-28", "SyntaxError: globSync\n", {}, COUNTED, {})


# The suite itself, at a server of which little is right


class Handler(BaseHTTPRequestHandler):
    """Answers every request with an empty result."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, dict(self.headers)))
        initialized = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
        result = initialized if document.get("method") == "initialize" else {}
        self.answer(
            *((200, {"jsonrpc": "2.0", "id": document["id"], "result": result}) if "id" in document else (202, None))
        )

    def do_GET(self) -> None:
        self.answer(405, None)

    do_DELETE = do_GET

    def answer(self, status: int, document: dict[str, Any] | None) -> None:
        body = json.dumps(document).encode() if document else b""
        self.send_response(self.server.status or status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.status: int | None = None
        """In place of the right one."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield running
        running.shutdown()


def test_the_suite_finds_what_is_new_and_what_is_stale_and_asks_with_the_token(server: Server) -> None:
    known = {
        "ping:ping": "it was mended",
        "tools-list:tools-list": "it has no list",
        "prompts-list": "nor has it prompts",
    }
    found = conformance.run(PublicAddress(url=URL, connect_to=server.url), TOKEN, "2025-11-25", known)
    assert found.stale == ["ping:ping"]
    assert {"tools-list:tools-list", "prompts-list"} <= found.expected.keys()
    assert found.unexpected["completion-complete:completion-complete"]
    assert not found.expected.keys() & found.unexpected.keys()
    assert found.scenarios == 30
    assert 0 < found.scenarios_passed < 9
    assert {path for path, _ in server.asked} == {"/mail/mcp"}
    assert {headers["Authorization"] for _, headers in server.asked} == {f"Bearer {TOKEN}"}
    assert "api.busyb.ai" in {headers["host"] for _, headers in server.asked}


# What is wrong before the suite runs


def ops(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(["conformance", *arguments])
    return status, capsys.readouterr().err.strip()


def test_a_server_that_wants_a_user_says_so_before_anything_is_run(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.status = 401
    status, told = ops(capsys, server.url)
    assert (status, "give a token, in ACCEPTANCE_TOKEN or by --token-file" in told) == (1, True)
    monkeypatch.setenv("ACCEPTANCE_TOKEN", TOKEN)
    status, told = ops(capsys, server.url)
    assert told.startswith("The server refused the token that was given.")
    assert len(server.asked) == 2
    assert TOKEN not in told


def test_a_wrong_command_line_is_told_with_what_is_right(
    server: Server, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert ops(capsys, "api.example.com") == (
        2,
        "'api.example.com' is no public URL: write https://host or https://host/path, no slash at the end.",
    )
    assert ops(capsys, URL, "--rehearsal") == (2, "Name a URL or a stack's service, not both.")
    status, told = ops(capsys, server.url, "--baseline", str(tmp_path / "mine.yaml"))
    assert (status, told) == (2, f"The baseline {tmp_path / 'mine.yaml'} cannot be read: No such file or directory.")
    server.server_close()
    status, told = ops(capsys, server.url)
    assert status == 3
    assert told.startswith("The server cannot be asked: no answer to POST http://127.0.0.1:")


def test_where_node_cannot_be_had_it_says_what_why_and_what_next(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(conformance, "HOME", tmp_path / "conformance")
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho No module named venv >&2; exit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    status, told = ops(capsys, server.url)
    assert status == 1
    assert told.startswith("The conformance suite did not run: there is no Node.js, which comes as the package nodejs-")
    assert "No module named venv" in told
    assert told.endswith("Check that pip can reach its package index, then run again.")


def test_where_the_suite_cannot_be_had_it_says_so_and_tries_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node = conformance.installed().node
    (tmp_path / "node-venv").symlink_to(ROOT / ".rehearsal" / "node-venv")
    with monkeypatch.context() as offline:
        offline.setenv("npm_config_offline", "true")
        for _ in range(2):
            with pytest.raises(NotInstalled, match="Check that npm can reach its registry") as missing:
                packages(tmp_path / "suite", ROOT / "conformance")
            assert "`npm ci` ended with 1" in str(missing.value)
    assert node.exists()


def test_each_package_of_the_suite_is_pinned_by_its_content() -> None:
    locked = json.loads((ROOT / "conformance" / "package-lock.json").read_text())["packages"]
    wanted = json.loads((ROOT / "conformance" / "package.json").read_text())["dependencies"]
    assert locked.pop("")["dependencies"] == wanted
    assert all(re.fullmatch(r"\d[\w.-]+", version) for version in wanted.values()), "exactly one version"
    assert len(locked) > 100
    assert [name for name, package in locked.items() if not package["integrity"].startswith("sha512-")] == []
    assert [name for name, package in locked.items() if "resolved" in package] == [], "from the registry as set up"


# The door


@asynccontextmanager
async def upstream(answer: Any) -> AsyncIterator[PublicAddress]:
    """A server that hands each request's head to `answer`, with the way back."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer((await reader.readuntil(b"\r\n\r\n")).decode(), reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield PublicAddress(url=URL, connect_to=f"http://127.0.0.1:{port}")


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nKeep-Alive: timeout=5\r\n\r\n"


def test_the_door_adds_the_token_and_names_the_public_host() -> None:
    heads: list[str] = []

    async def answer(head: str, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        writer.write(HEAD + b"data: {}\n\n")

    async def go() -> None:
        async with upstream(answer) as address, forwarding(address, TOKEN) as door, httpx2.AsyncClient() as client:
            own = door.rsplit("/", 1)[0]
            response = await client.post(f"{door}/mcp?x=1", headers={"Origin": own, "Authorization": "mine"}, json={})
            assert (response.text, response.headers["connection"]) == ("data: {}\n\n", "close")
            assert "keep-alive" not in response.headers
            foreign = {"Host": "evil.example.com", "Origin": "http://evil.example.com"}
            await client.post(f"{door}/mcp", headers=foreign, json={})
            assert (await client.post(f"{own}/mcp", json={})).status_code == 404

    asyncio.run(go())
    first, second = heads
    assert first.startswith("POST /mail/mcp?x=1 HTTP/1.1\r\n")
    assert f"\r\nAuthorization: Bearer {TOKEN}\r\n" in first and "mine" not in first
    assert "\r\nhost: api.busyb.ai\r\n" in first and "\r\norigin: https://api.busyb.ai\r\n" in first
    assert "\r\nHost: evil.example.com\r\n" in second and "\r\nOrigin: http://evil.example.com\r\n" in second


def test_the_door_passes_a_stream_on_as_it_comes_and_the_clients_hanging_up() -> None:
    async def go() -> None:
        gone = asyncio.Event()

        async def answer(_head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(HEAD + b"data: 1\n\n")
            await writer.drain()
            await reader.read()  # Until the client is gone: the stream has no end of its own.
            gone.set()

        async with upstream(answer) as address, forwarding(address, None) as door, httpx2.AsyncClient() as client:
            async with client.stream("GET", f"{door}/mcp") as response:
                assert await anext(response.aiter_raw()) == b"data: 1\n\n"
                assert not gone.is_set()
            async with asyncio.timeout(30):
                await gone.wait()

    asyncio.run(go())


def test_the_door_says_502_where_nobody_answers() -> None:
    async def go() -> int:
        address = PublicAddress(url=URL, connect_to="http://127.0.0.1:1")
        async with forwarding(address, None) as door, httpx2.AsyncClient() as client:
            return (await client.post(f"{door}/mcp", json={})).status_code

    assert asyncio.run(go()) == 502
