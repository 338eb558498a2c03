"""Each client of the table logs in as it does: the real server in a container, behind the edge, with Google's stand-in.

Re-made from public sources (components/clients.py has them): what is asked for without a token, discovery, registration
with the client's own set of addresses or by its metadata document, sign-in in a browser, tokens, a tool, a refresh.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

import checks
from acceptance.sign_in import Attempt, Session, ask, ask_for_tokens, exchange, returned, through_google
from acceptance.subject import StandIn, Subject
from checks.http import INITIALIZE, MCP_HEADERS, expect, json_object
from checks.oauth import authorization_url, discover
from components.clients import CLIENTS
from rehearsal.docker import Engine
from rehearsal.run import Rehearsal
from tests.components.test_clients import SENT
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
