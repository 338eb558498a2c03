"""What stands before the server's own routes: discovery in all forms, browsers, and a line for each refusal."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator

import httpx2
import pytest

from checks import Check
from tests.checks.conftest import LOGS
from tests.checks.load_balancer import LoadBalancer
from tests.checks.test_checks import EXPECTED, PREFIX, ask, everything, failures, prefix_rules

StartServer = Callable[..., int]
APP = "https://app.example"
FORMS, BROWSERS = (
    "every form in which clients look for the sign-in finds it",
    "browsers of the allowed origins get answers",
)
SECRET = "must-not-be-in-a-log"


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> int:
    return start_server(
        WORKSPACE_EXTERNAL_URL=f"https://api.busyb.ai{PREFIX}",
        OAUTH_ALLOWED_ORIGINS=f"{APP},http://localhost:6274",
        FASTMCP_ENABLE_RICH_LOGGING="false",
        FASTMCP_LOG_LEVEL="WARNING",
    )


def named(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_browsers_of_the_allowed_origins_get_answers_and_no_others(server: int) -> None:
    expected = dataclasses.replace(EXPECTED, origins=(APP, "http://localhost:6274"))
    found = named(ask(LoadBalancer(server, prefix_rules), expected))[BROWSERS]
    assert found.passed, found.detail
    assert found.detail.endswith("https://attacker.example gets 403")


def test_a_server_that_leaves_browsers_without_answer_is_found(prefixed: int) -> None:
    expected = dataclasses.replace(EXPECTED, origins=(APP,))
    found = failures(ask(LoadBalancer(prefixed, prefix_rules), expected))[BROWSERS]
    assert found.detail == f"OPTIONS https://api.busyb.ai{PREFIX}/mcp of a page at {APP} answered 403"


def test_a_server_that_cannot_fetch_clients_documents_is_found(server: int) -> None:
    document = ("https://client.invalid/document.json", "http://localhost:3030/callback")
    expected = dataclasses.replace(EXPECTED, document=document)
    found = failures(ask(LoadBalancer(server, prefix_rules), expected))
    assert found.keys() == {"the server fetches a client's metadata document"}
    (check,) = found.values()
    assert check.detail.startswith("https://client.invalid/document.json could not be fetched")
    assert "FASTMCP_SSRF_TRUST_PROXY" in check.remedy


def test_rules_for_the_two_documents_of_the_standards_alone_are_found_too_few(server: int) -> None:
    known = {f"/.well-known/oauth-authorization-server{PREFIX}", f"/.well-known/oauth-protected-resource{PREFIX}/mcp"}
    balancer = LoadBalancer(
        server, lambda path: prefix_rules(path) if path in known or path.startswith(PREFIX) else None
    )
    found = failures(ask(balancer))
    assert found.keys() == {FORMS}
    assert f"/.well-known/openid-configuration{PREFIX} answers 404" in found[FORMS].detail


@pytest.fixture
def client(server: int) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"http://127.0.0.1:{server}", trust_env=False) as client:
        client.headers["User-Agent"] = "test/1"
        yield client


@pytest.fixture
def logged(server: int) -> Callable[[], list[str]]:
    """Lines about clients since the test began, without colours."""
    before = len(LOGS[server].read_text())

    def lines() -> list[str]:
        text = LOGS[server].read_text()[before:]
        assert SECRET not in text
        return [line for line in re.sub(r"\x1b\[\d+m", "", text).splitlines() if line.startswith("[WARNING]")]

    return lines


def test_a_refused_registration_is_a_line_that_says_who_and_why(
    client: httpx2.Client, logged: Callable[[], list[str]]
) -> None:
    uris = [f"cursor://anysphere.cursor-mcp/oauth/callback?code={SECRET}", f"https://u:{SECRET}@www.cursor.com/cb"]
    body = {"client_name": "Cursor\n[ERROR] forged", "redirect_uris": uris, "client_secret": SECRET}
    assert client.post("/register", json=body).status_code == 400
    assert logged() == [
        '[WARNING] Client refused: "Cursor?[ERROR] forged" registers cursor://anysphere.cursor-mcp/oauth/callback, '
        "https://www.cursor.com/cb: Redirect URI 'cursor://anysphere.cursor-mcp/oauth/callback' is not allowed. "
        "(test/1)"
    ]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"redirect_uris": 1}', b"\xff" * 8_000])
def test_a_registration_that_is_none_is_one_line_too(
    client: httpx2.Client, logged: Callable[[], list[str]], body: bytes
) -> None:
    assert client.post("/register", content=body).status_code == 400
    (line,) = logged()
    assert line.startswith("[WARNING] Client refused: a client without a name registers ")
    assert len(line) < 600


def test_a_client_that_is_unknown_after_a_deployment_is_a_line_at_sign_in_and_at_refresh(
    client: httpx2.Client, logged: Callable[[], list[str]]
) -> None:
    asked = {
        "client_id": "b5c1",
        "redirect_uri": f"http://localhost:3/cb?x={SECRET}",
        "response_type": "code",
        "code_challenge": SECRET,
        "code_challenge_method": "S256",
        "state": SECRET,
    }
    for accepted in ("application/json", "text/html"):
        assert client.get("/authorize", params=asked, headers={"Accept": accepted}).status_code == 400
    form = {"grant_type": "refresh_token", "refresh_token": SECRET, "client_id": "b5c1"}
    assert client.post("/token", data=form).status_code == 401
    why = "it registered before the store was emptied, more than a day ago without a sign-in, or never (test/1)"
    sign_in = f"[WARNING] Client unknown: b5c1 asks to sign in and come back to http://localhost:3/cb; {why}"
    assert logged() == [sign_in] * 2 + [
        f"[WARNING] Client unknown: b5c1 asks for a token: Invalid client_id; {why}",
    ]


def test_a_foreign_origin_is_a_line(client: httpx2.Client, logged: Callable[[], list[str]]) -> None:
    for method in ("OPTIONS", "POST"):
        assert client.request(method, "/mcp", headers={"Origin": "https://evil.example"}).status_code == 403
    assert logged() == ["[WARNING] Rejected HTTP request from Origin: https://evil.example"] * 2


def test_what_is_not_refused_is_no_line(client: httpx2.Client, logged: Callable[[], list[str]]) -> None:
    body = {"client_name": "known", "redirect_uris": ["http://localhost:3/cb"]}
    client_id = client.post("/register", json=body).json()["client_id"]
    form = {"grant_type": "authorization_code", "code": SECRET, "client_id": client_id, "code_verifier": SECRET}
    assert client.post("/token", data=form).json()["error"] == "invalid_grant"
    assert client.post("/mcp", json={}).status_code == 401
    assert logged() == []


def test_a_body_that_is_large_reaches_the_server_whole(client: httpx2.Client) -> None:
    body = {"client_name": "x" * 8_000, "redirect_uris": ["http://localhost:3/cb"]}
    answer = client.post("/register", json=body)
    assert answer.status_code == 201
    assert json.loads(answer.content)["client_name"] == body["client_name"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_registration_that_is_larger_than_any_clients_is_refused(
    client: httpx2.Client, logged: Callable[[], list[str]], chunked: bool
) -> None:
    body = json.dumps({"client_name": SECRET * 500, "redirect_uris": ["http://localhost:3/cb"]}).encode()
    answer = client.post("/register", content=iter([body[:100], body[100:]]) if chunked else body)
    assert answer.status_code == 413
    assert logged() == ["[WARNING] Client refused: a registration of more than 8192 bytes from 127.0.0.1 (test/1)"]


def test_who_registers_without_end_is_told_when_to_come_back_and_nobody_else_is(
    server: int, client: httpx2.Client, logged: Callable[[], list[str]]
) -> None:
    body = {"client_name": "flood", "redirect_uris": ["http://localhost:3/cb"]}

    def register(forwarded: str) -> httpx2.Response:
        # What stands before the load balancer's own word anybody may write.
        return client.post("/register", json=body, headers={"X-Forwarded-For": forwarded, "Origin": APP})

    admitted = 0
    while (refused := register(f"198.51.100.{admitted % 250}, 203.0.113.7")).status_code == 201 and admitted < 600:
        admitted += 1
    assert admitted >= 300 and refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 12
    assert refused.json()["error_description"] == "more than 300 registrations an hour from 203.0.113.7"
    assert refused.headers["Access-Control-Allow-Origin"] == APP, "a page learns of it too"
    assert register("203.0.113.7, 203.0.113.8").status_code == 201
    assert logged() == ["[WARNING] Client refused: more than 300 registrations an hour from 203.0.113.7 (test/1)"]


def test_on_a_host_of_its_own_the_forms_at_the_root_lead_to_the_sign_in(start_server: StartServer) -> None:
    port = start_server(WORKSPACE_EXTERNAL_URL="https://mcp.busyb.ai")
    found = named(ask(LoadBalancer(port, everything), url="https://mcp.busyb.ai"))[FORMS]
    assert found.passed, found.detail
