"""Each client of the table logs in as it does: the real server in a container, behind the edge, with Google's stand-in.

Re-made from public sources (components/clients.py has them): what is asked for without a token, discovery, registration
with the client's own set of addresses or by its metadata document, sign-in in a browser, tokens, a tool, a refresh.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

import checks
from acceptance.sign_in import Attempt, Session, ask, ask_for_tokens, exchange, returned, through_google
from acceptance.subject import StandIn, Subject
from checks.http import INITIALIZE, MCP_HEADERS, expect, json_object
from checks.oauth import authorization_url, discover
from components.clients import CLIENTS
from machine.environments import NotInstalled
from machine.node import Packages, packages
from rehearsal.cache import certificate
from rehearsal.docker import Engine
from rehearsal.emulator import free_port
from rehearsal.run import Rehearsal
from tests.components.test_clients import SENT
from tests.conftest import ROOT
from tests.public_host import proxied
from tests.stacks import SERVICE, changed, moving, production

ROUTING: dict[str, dict[str, Any]] = {
    "rewrite": {"strategy": "rewrite", "host": "api.busyb.ai", "path": "/google-workspace", "priority": 50},
    "host": {"strategy": "host", "host": "mcp.busyb.ai", "priority": 50},
}
LOG = "/ecs/busyb-google-workspace-mcp"


@dataclasses.dataclass(frozen=True)
class Way:
    """What a client sends where it is more than its row in the table."""

    registers: tuple[str, ...]
    comes_back: str


def way(name: str) -> Way:
    """VS Code comes back by another port than those that it registers; Cursor by its own scheme."""
    sent = tuple(SENT[name])
    if name == "vscode":
        return Way(sent[:-1], sent[-1])
    return Way(sent, sent[0])


@dataclasses.dataclass(frozen=True)
class Deployed:
    """The service under one strategy, as a client reaches it."""

    rehearsal: Rehearsal
    subject: Subject

    def lines(self) -> list[str]:
        logs = self.rehearsal.account.client("logs")
        return [event["message"] for event in logs.filter_log_events(logGroupName=LOG)["events"]]


@pytest.fixture(scope="module")
def rehearsal(engine: Engine) -> Iterator[Rehearsal]:
    with Rehearsal(moving(production("clients"))) as rehearsal:
        yield rehearsal


@pytest.fixture(scope="module", params=ROUTING)
def deployed(rehearsal: Rehearsal, request: pytest.FixtureRequest) -> Deployed:
    stack = changed(
        rehearsal.stack,
        {
            f"{SERVICE}.oauth": {"clients": list(CLIENTS), "allowedOrigins": ["https://app.example"]},
            f"{SERVICE}.routing": ROUTING[request.param],
        },
    )
    rehearsal.deploy(stack)
    assert rehearsal.edge and rehearsal.google
    service = stack.settings.services["google-workspace"]
    address = checks.address(service, str(service.url), rehearsal.edge.url)
    subject = Subject(
        address=address,
        expectations=checks.expectations(service),
        google=StandIn.noted(rehearsal.google.noted).client,
    )
    return Deployed(rehearsal, subject)


async def register(subject: Subject, server: dict[str, Any], name: str, uris: tuple[str, ...]) -> httpx2.Response:
    body = {
        "client_name": name,
        "redirect_uris": list(uris),
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    }
    async with subject.address.client() as http:
        return await http.post(server["registration_endpoint"], json=body)


async def use(subject: Subject, client_id: str, comes_back: str, user: str) -> None:
    """Sign in, call a tool, refresh, call it again."""
    server = await discover(subject.address)
    state, verifier = secrets.token_urlsafe(), secrets.token_urlsafe(48)
    url = authorization_url(subject.address, server, client_id, comes_back, state=state, verifier=verifier)
    attempt = Attempt(
        server=server, client_id=client_id, redirect_uri=comes_back, state=state, verifier=verifier, url=url
    )
    answer = expect(await through_google(subject, url, user), 302)
    assert answer.headers["Location"].startswith(comes_back + "?")
    told = returned(answer)
    assert told["state"] == state
    tokens = json_object(expect(await exchange(subject, attempt, told["code"]), 200))
    await call(subject, tokens["access_token"], user)
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "client_id": client_id}
    fresh = json_object(expect(await ask_for_tokens(subject, attempt, form), 200))
    assert fresh["access_token"] != tokens["access_token"]
    await call(subject, fresh["access_token"], user)


async def log_in(subject: Subject, name: str) -> None:
    """All that a client of the table does, from its first request without a token to a tool call after a refresh."""
    async with subject.address.client() as http:
        challenge = await http.post(subject.address.mcp_url, json=INITIALIZE, headers=MCP_HEADERS)
        assert challenge.status_code == 401
    server = await discover(subject.address)
    answer = await register(subject, server, CLIENTS[name].title, way(name).registers)
    registered = json_object(expect(answer, 201))
    assert registered["redirect_uris"] == list(way(name).registers)
    await use(subject, registered["client_id"], way(name).comes_back, f"{name}@example.com")


async def call(subject: Subject, token: str, user: str) -> None:
    async with Session(user=user, token=token).client(subject.address) as client:
        result = await client.call_tool("list_calendars", {})
    assert not result.is_error
    assert f"Calendar of {user}" in str(result.content)


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_of_the_table_registers_signs_in_calls_a_tool_and_stays_signed_in(
    deployed: Deployed, name: str
) -> None:
    ask(log_in(deployed.subject, name))


@pytest.mark.parametrize("name", [name for name, client in CLIENTS.items() if client.metadata])
def test_a_client_with_a_metadata_document_signs_in_without_registering(deployed: Deployed, name: str) -> None:
    metadata = CLIENTS[name].metadata
    assert metadata

    async def flow() -> None:
        server = await discover(deployed.subject.address)
        assert server["client_id_metadata_document_supported"] is True
        # Of VS Code's document only the port that it names.
        comes_back = "http://127.0.0.1:33418/" if name == "vscode" else way(name).comes_back
        await use(deployed.subject, metadata, comes_back, f"{name}-document@example.com")

    ask(flow())


def test_a_document_of_a_stranger_gets_nobody_signed_in(deployed: Deployed) -> None:
    subject, stranger = deployed.subject, "https://stranger.example/client.json"

    async def flow() -> httpx2.Response:
        server = await discover(subject.address)
        url = authorization_url(
            subject.address, server, stranger, "https://stranger.example/callback", state="s", verifier="v" * 43
        )
        async with subject.address.client() as http:
            return await http.get(url)

    answer = ask(flow())
    assert answer.status_code == 400
    assert "does not match allowed patterns" in answer.text


def test_a_client_that_the_table_does_not_name_is_refused_and_the_log_says_so(deployed: Deployed) -> None:
    mark = secrets.token_hex(4)

    async def flow() -> int:
        server = await discover(deployed.subject.address)
        answer = await register(deployed.subject, server, f"Acme {mark}", ("acme://login/callback",))
        return answer.status_code

    assert ask(flow()) == 400
    deadline, found = time.monotonic() + 30, list[str]()
    while not found and time.monotonic() < deadline:
        found = [line for line in deployed.lines() if mark in line]
        time.sleep(0.2)
    (line,) = found
    assert f'Client refused: "Acme {mark}" registers acme://login/callback: Redirect URI' in line


def test_what_a_client_finds_and_what_browsers_get_is_checked_there_too(deployed: Deployed) -> None:
    found = {check.name: check for check in checks.run(deployed.subject.address, deployed.subject.expectations)}
    assert [f"{check.name}: {check.detail}" for check in found.values() if check.passed is False] == []
    assert found["browsers of the allowed origins get answers"].passed
    assert found["every form in which clients look for the sign-in finds it"].passed


# Clients that nobody here wrote, as they are on npm


@pytest.fixture(scope="module")
def npm() -> Packages:
    """The clients and their Node; where they cannot be had, what needs them is skipped, but never in CI."""
    try:
        return packages(ROOT / ".rehearsal" / "clients", ROOT / "tests" / "data" / "clients")
    except NotInstalled as reason:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(reason))


def listens(url: str) -> bool:
    place = urlsplit(url)
    try:
        socket.create_connection((place.hostname or "", place.port or 0), timeout=5).close()
    except OSError:
        return False
    return True


def printed(
    deployed: Deployed, command: Sequence[str], folder: Path, user: str, *, sent: str = "", until: Callable[[str], bool]
) -> str:
    """What a client prints that asks for a browser, in which `user` signs in; `sent` goes to its standard input."""
    rehearsal, address = deployed.rehearsal, deployed.subject.address
    assert rehearsal.edge and rehearsal.google
    host, authority = urlsplit(address.url).netloc, Path(rehearsal.google.authority)
    certificate(folder, [host], authority.with_name("mitmproxy-ca.pem"))
    out, err = folder / "out", folder / "err"
    authorize = re.compile(rf"{re.escape(address.url)}/authorize\?\S+")
    with (
        proxied(host, rehearsal.edge.url, folder / "certificate.pem", folder / "key.pem") as proxy,
        out.open("w") as to_out,
        err.open("w") as to_err,
        subprocess.Popen(
            command,
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "HTTPS_PROXY": proxy,
                "NO_PROXY": "localhost,127.0.0.1",
                "NODE_USE_ENV_PROXY": "1",
                "NODE_EXTRA_CA_CERTS": str(authority),
                "MCP_AUTO_OPEN_ENABLED": "true",  # The Inspector asks for a browser only where there may be one.
                "MCP_INSPECTOR_SECRET_STORE": "memory",
            },
            stdin=subprocess.PIPE,
            stdout=to_out,
            stderr=to_err,
            text=True,
        ) as client,
    ):
        assert client.stdin
        try:
            with contextlib.suppress(BrokenPipeError):
                client.stdin.write(sent)
                client.stdin.flush()

            def wait(done: Callable[[], bool]) -> None:
                deadline = time.monotonic() + 120
                while not done() and client.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.05)
                assert done(), f"{client.poll()}: {out.read_text()[-1000:]} {err.read_text()[-3000:]}"

            wait(lambda: authorize.search(err.read_text()) is not None)
            url = authorize.search(err.read_text())
            assert url
            back = ask(through_google(deployed.subject, url[0], user)).headers["Location"]
            # It may ask for the browser before it listens; a person takes longer than this.
            wait(lambda: listens(back))
            assert httpx2.get(back, trust_env=False).status_code == 200
            wait(lambda: until(out.read_text()))
        finally:
            client.kill()
    return out.read_text()


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_mcp_inspector_signs_in_and_calls_a_tool(
    deployed: Deployed, npm: Packages, tmp_path: Path, era: str
) -> None:
    user = f"inspector-{era}@example.com"
    program = npm.modules / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build" / "index.js"
    command = [str(npm.node), str(program), "--cli", deployed.subject.address.mcp_url, "--transport", "http"]
    command += ["--protocol-era", era, "--callback-url", f"http://127.0.0.1:{free_port(None)}/oauth/callback"]
    command += ["--method", "tools/call", "--tool-name", "list_calendars", "--format", "json"]
    told = printed(deployed, command, tmp_path, user, until=lambda text: text.endswith("}\n"))
    assert f"Calendar of {user}" in json.dumps(json.loads(told)["result"]["content"])


@pytest.mark.parametrize("era", ["legacy", "auto"])
def test_mcp_remote_signs_in_and_carries_a_local_clients_call(
    deployed: Deployed, npm: Packages, tmp_path: Path, era: str
) -> None:
    user = f"remote-{era}@example.com"
    program = npm.modules / "mcp-remote" / "dist" / "proxy.js"
    command = [str(npm.node), str(program), deployed.subject.address.mcp_url, str(free_port(None))]
    command += ["--enable-proxy", "--protocol", era, "--auth-timeout", "120"]
    messages = [
        INITIALIZE,
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "list_calendars", "arguments": {}}},
    ]
    sent = "".join(json.dumps(message) + "\n" for message in messages)
    told = printed(deployed, command, tmp_path, user, sent=sent, until=lambda text: text.count("\n") >= 2)
    answers = {answer["id"]: answer for answer in map(json.loads, told.splitlines()) if "id" in answer}
    assert f"Calendar of {user}" in json.dumps(answers[2]["result"]["content"])
