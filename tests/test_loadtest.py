"""Load tests: what Locust is given and tells, how the figures are judged, and that nothing runs on when interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import loadtest
from acceptance import Subject
from checks import PublicAddress
from loadtest import Figures, Measured, Person
from operations.errors import OperationError
from operations.load import signed_in
from tests.commands import ops
from tests.conftest import ROOT

TOKEN = "ya29.of-a-user"
SEARCH = {"name": "search_gmail_messages", "arguments": {"query": "invoices"}}
OK: dict[str, Any] = {"protocolVersion": "2025-06-18", "tools": []}


def as_it_should() -> tuple[int, dict[str, Any]]:
    return 200, {"result": OK}


class Server(ThreadingHTTPServer):
    """An MCP server that notes what it is asked, and answers as `results` says; default: as it should."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str, dict[str, str], dict[str, Any]]] = []
        """Method, path, headers, document."""
        self.results: dict[str, Callable[[], tuple[int, dict[str, Any]]]] = {}
        """MCP method -> status and what the message has beside its id."""

    @property
    def address(self) -> PublicAddress:
        return PublicAddress(url="https://api.busyb.ai/mail", connect_to=f"http://127.0.0.1:{self.server_port}")

    def methods(self) -> list[str]:
        return [document["method"] for _, _, _, document in self.asked if document]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(("GET", self.path, dict(self.headers), {}))
        self.answer(200, b"{}")

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(("POST", self.path, dict(self.headers), document))
        if "id" not in document:
            self.answer(202, b"")
            return
        status, told = self.server.results.get(document["method"], as_it_should)()
        message = json.dumps({"jsonrpc": "2.0", "id": document["id"], **told})
        self.answer(status, f"event: message\ndata: {message}\n\n".encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Mcp-Session-Id", "session-1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def run(server: Server, profile: str, *people: Person, users: int = 4, seconds: int = 4) -> Measured:
    asking = people or (Person(token=TOKEN, search=SEARCH),)
    return loadtest.run(server.address, asking, loadtest.PROFILES[profile], users=users, seconds=seconds)


# What is asked


def test_users_ask_at_the_public_name_as_an_mcp_client_does(server: Server) -> None:
    found = run(server, "search")
    assert {figures.name for figures in found.figures} == {"initialize", "initialized", "search"}
    assert found.errors == []
    assert {headers["Host"] for _, _, headers, _ in server.asked} == {"api.busyb.ai"}
    assert {path for _, path, _, _ in server.asked} == {"/mail/mcp"}
    assert {headers["Authorization"] for _, _, headers, _ in server.asked} == {f"Bearer {TOKEN}"}
    calls = [(headers, asked["params"]) for _, _, headers, asked in server.asked if asked["method"] == "tools/call"]
    former = [(headers, asked) for headers, asked in calls if "_meta" not in asked]
    modern = [(headers, asked) for headers, asked in calls if "_meta" in asked]
    assert former and modern, "every other user is of the newer era"
    for headers, parameters in former:
        assert parameters == SEARCH
        assert (headers["Mcp-Session-Id"], headers["MCP-Protocol-Version"]) == ("session-1", "2025-06-18")
    for headers, parameters in modern:
        version = parameters["_meta"]["io.modelcontextprotocol/protocolVersion"]
        assert parameters == {**SEARCH, "_meta": parameters["_meta"]}
        assert (headers["MCP-Protocol-Version"], version) == ("2026-07-28", "2026-07-28")
        assert (headers["Mcp-Method"], headers["Mcp-Name"]) == ("tools/call", SEARCH["name"])
        assert "Mcp-Session-Id" not in headers
    assert server.methods().count("initialize") <= 2, "each user who has a session has one"
    counted = next(figures for figures in found.figures if figures.name == "search")
    # One may be under way at the end.
    assert len(calls) - 4 <= counted.count <= len(calls)
    assert 0 < counted.p50 <= counted.p95 <= counted.p99


def test_the_health_profile_needs_nobody_who_has_signed_in(server: Server) -> None:
    found = run(server, "health", Person())
    assert [figures.name for figures in found.figures] == ["health"]
    assert {path for _, path, _, _ in server.asked} == {"/mail/health"}
    assert not any("Authorization" in headers for _, _, headers, _ in server.asked)


def test_people_take_turns(server: Server) -> None:
    run(server, "tools", Person(token="one"), Person(token="two"))
    assert {headers["Authorization"] for _, _, headers, _ in server.asked} == {"Bearer one", "Bearer two"}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((500, {"result": OK}), "status 500"),
        ((200, {"error": {"code": -32603, "message": f"no {TOKEN}"}}), "error -32603"),
        ((200, {"result": {"isError": True, "content": []}}), "the tool failed"),
        ((200, {}), "no result"),
    ],
    ids=["status", "error", "tool", "nothing"],
)
def test_what_is_no_result_is_a_failure(server: Server, answer: tuple[int, dict[str, Any]], told: str) -> None:
    server.results["tools/call"] = lambda: answer
    found = run(server, "search", seconds=3)
    assert [(error["name"], told in error["error"]) for error in found.errors] == [("search", True)]
    assert TOKEN not in found.failed(), "what a server says may hold anything"


def test_a_session_that_has_ended_is_begun_anew(server: Server) -> None:
    answers: Iterator[tuple[int, dict[str, Any]]] = iter([(404, {})])
    server.results["tools/list"] = lambda: next(answers, as_it_should())
    found = run(server, "tools", users=1, seconds=6)
    assert [(error["name"], error["count"]) for error in found.errors] == [("tools/list", 1)]
    assert server.methods().count("initialize") == 2


def test_a_server_that_nobody_reaches_is_told(server: Server) -> None:
    nobody = PublicAddress(url="https://api.busyb.ai/mail", connect_to="http://127.0.0.1:9")
    found = loadtest.run(nobody, [Person()], loadtest.PROFILES["health"], users=1, seconds=3)
    assert "refused" in found.failed()
    assert loadtest.judge(found, 1, timed=True)[0].passed is False


def test_without_a_user_who_has_signed_in_it_says_how_to_name_one(server: Server) -> None:
    with pytest.raises(OperationError, match="ACCEPTANCE_TOKEN or by --token-file"):
        signed_in(Subject(address=server.address), loadtest.PROFILES["mixed"])
    assert server.asked == []


def test_a_server_whose_tools_cannot_be_listed_is_told(server: Server) -> None:
    server.results["initialize"] = lambda: (500, {})
    with pytest.raises(OperationError, match=r"tools cannot be listed: MCPError: .* Ask first: ./ops accept"):
        signed_in(Subject(address=server.address, token=TOKEN), loadtest.PROFILES["mixed"])


@pytest.mark.parametrize("arguments", [("--users", "0"), ("--seconds", "-1"), ("everything",)])
def test_a_mistake_in_the_command_line_is_told(arguments: tuple[str, ...]) -> None:
    done = ops("load", *arguments)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert arguments[-1] in done.stderr


# That it ends


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_when_it_is_interrupted_or_killed_nobody_asks_on_and_no_token_was_to_be_seen(
    server: Server, tmp_path: Path, number: signal.Signals
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, loadtest\n"
        "from checks import PublicAddress\n"
        f"address = PublicAddress(url={server.address.url!r}, connect_to={server.address.connect_to!r})\n"
        f"loadtest.run(address, [loadtest.Person({TOKEN!r})], {{'tools/list': 1}}, users=2, seconds=300)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, script], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not server.asked and time.monotonic() < deadline:
        time.sleep(0.1)
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    asking = Path("/proc") / child
    assert "locust_process.py" in (asking / "cmdline").read_text()
    assert TOKEN not in (asking / "cmdline").read_text() + (asking / "environ").read_text()
    process.send_signal(number)
    process.wait(30)
    deadline = time.monotonic() + 30
    while alive(asking) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(asking)


def alive(process: Path) -> bool:
    """Whether it runs; one that has ended may be listed until somebody asks how."""
    try:
        return "State:\tZ" not in (process / "status").read_text()
    except OSError:
        return False


# How it is judged


def measured(
    users: int = 10, *, busy: bool = False, errors: int = 0, name: str = "health", slow: float = 5
) -> Measured:
    """Of one kind of request, of which the slowest took `slow` ms."""
    figures = Figures(name=name, count=100, failures=errors, rate=9.5, p50=1, p95=slow, p99=slow, most=slow)
    told = [{"name": name, "error": "status 503", "count": errors}] if errors else []
    return Measured(users=users, figures=[figures], errors=told, busy=busy)


@pytest.mark.parametrize(("name", "limit"), [("health", 100), ("tools/list", 500), ("search", 2000)])
def test_a_time_at_its_limit_is_too_long(name: str, limit: float) -> None:
    within = loadtest.judge(measured(name=name, slow=limit - 1), 1, timed=True)
    beyond = loadtest.judge(measured(name=name, slow=limit), 1, timed=True)
    assert all(check.passed for check in within)
    # Of health, p99 has a limit of its own.
    assert [check.passed for check in beyond[:2]] == [True, False]
    assert beyond[1].remedy


def test_a_request_that_failed_fails_the_test_whatever_the_times() -> None:
    (first, *_) = loadtest.judge(measured(errors=3), 1, timed=False)
    assert (first.passed, first.detail) == (False, "3 x health: status 503")


def test_no_answer_at_all_is_a_failure() -> None:
    (only,) = loadtest.judge(Measured(users=1, figures=[], errors=[], busy=False), 1, timed=True)
    assert (only.passed, only.detail) == (False, "nothing was answered")


@pytest.mark.parametrize(("busy", "timed"), [(True, True), (False, False)])
def test_times_that_say_nothing_of_the_deployment_are_not_judged(busy: bool, timed: bool) -> None:
    _, *times = loadtest.judge(measured(busy=busy, slow=5000), 1, timed=timed)
    assert [check.passed for check in times] == [None, None]


@pytest.mark.parametrize(
    ("breaks", "users", "passed", "told"),
    [
        (
            lambda n: measured(n, name="search", slow=1 if n < 40 else 2500),
            [10, 20, 40],
            True,
            "20 users at once, 10 requests",
        ),
        (lambda n: measured(n, errors=int(n >= 20)), [10, 20], True, "10 users at once"),
        (lambda n: measured(n, errors=1), [10], False, "0 users at once"),
        (lambda n: measured(n, busy=n > 10), [10, 20], True, "use a larger one"),
        (
            lambda n: measured(n),
            [10 * 2**n for n in range(8)],
            True,
            "1280 users at once, 10 requests a second; nothing",
        ),
    ],
    ids=["slow", "errors", "at once", "busy", "nothing"],
)
def test_a_stress_test_goes_on_until_something_breaks(
    breaks: Callable[[int], Measured], users: list[int], passed: bool, told: str
) -> None:
    steps, check = loadtest.stress(breaks, users=10)
    assert [step.users for step in steps] == users
    assert (check.passed, told in check.detail) == (passed, True), check.detail
