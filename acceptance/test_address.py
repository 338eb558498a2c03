"""What every client meets: the public address, the endpoints, the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import pytest

import checks
from acceptance.report import outcome
from acceptance.sign_in import Session, ask
from acceptance.subject import Subject
from checks.check import Failed
from checks.http import INITIALIZE, MCP_HEADERS, expect
from checks.oauth import EXTERNAL_URL, OAUTH_ON

CLOCK_SECONDS = 60
"""How far the server's clock may be from ours; the answer's way and its rounding to a second are within it."""
LARGE = 6 * 2**20
"""Bytes of a body that is too large for the server."""
ENDPOINTS = [
    # Method, path under the public URL, statuses; what an anonymous client gets.
    ("GET", "/", 200),
    ("GET", "/health", 200),
    ("GET", "/health/ready", 200),
    ("GET", "/.well-known/openid-configuration", 200),
    ("GET", "/.well-known/oauth-protected-resource", 200),
    ("POST", "/revoke", 404),
    ("GET", "/mcp", 405),
    ("GET", "/token", 405),
    ("GET", "/register", 405),
    ("GET", "/authorize", 400),
    ("GET", "/oauth2callback", 400),
    ("GET", "/consent", 400),
]
of_oauth = pytest.mark.usefixtures("oauth")


def test_checks(subject: Subject, subtests: pytest.Subtests, note: Callable[[str], None]) -> None:
    """What a client sees without signing in."""
    for check in checks.run(subject.address, subject.expectations):
        with subtests.test(check.name):
            note(outcome(check.passed, check.detail, check.remedy))


@of_oauth
def test_endpoints(subject: Subject, subtests: pytest.Subtests, note: Callable[[str], None]) -> None:
    """Each endpoint answers an anonymous client as it should."""

    async def questions() -> list[int]:
        async with subject.address.client() as http:
            return [
                (await http.request(method, subject.address.url + path)).status_code for method, path, _ in ENDPOINTS
            ]

    for (method, path, wanted), status in zip(ENDPOINTS, ask(questions()), strict=True):
        with subtests.test(f"{method} {path} answers {wanted}"):
            if status != wanted:
                raise Failed(f"it answers {status}", OAUTH_ON if path == "/mcp" else EXTERNAL_URL)
            note(f"{status}")


@of_oauth
def test_unknown_client(subject: Subject, note: Callable[[str], None]) -> None:
    """The token endpoint refuses a client that it does not know"""

    async def questions() -> str:
        form = {"grant_type": "authorization_code", "code": "made-up", "client_id": "nobody", "code_verifier": "x" * 43}
        async with subject.address.client() as http:
            answer = expect(await http.post(subject.address.url + "/token", data=form), 401)
        return f"401 {answer.json().get('error')}"

    note(ask(questions()))


@of_oauth
def test_large_body(session: Session, subject: Subject, note: Callable[[str], None]) -> None:
    """A message of 6 MB is refused"""

    async def questions() -> str:
        headers = MCP_HEADERS | {"Authorization": f"Bearer {session.token}", "Content-Type": "application/json"}
        async with subject.address.client() as http:
            expect(await http.post(subject.address.mcp_url, content=b" " * LARGE, headers=headers), 413)
        return "413"

    note(ask(questions()))


@of_oauth
def test_foreign_origin(subject: Subject, note: Callable[[str], None]) -> None:
    """A page of a foreign origin is refused, whatever it sends"""

    async def questions() -> str:
        headers = MCP_HEADERS | {"Origin": "https://attacker.example"}
        if subject.token:
            headers["Authorization"] = f"Bearer {subject.token}"
        async with subject.address.client() as http:
            expect(await http.post(subject.address.mcp_url, json=INITIALIZE, headers=headers), 403)
        return "403, with a valid token too" if subject.token else "403"

    note(ask(questions()))


def test_clock(subject: Subject, note: Callable[[str], None]) -> None:
    """The server's clock is right"""

    async def questions() -> float:
        async with subject.address.client() as http:
            answer = expect(await http.get(subject.address.url + subject.address.health_path), 200)
        return parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time()

    ahead = ask(questions())
    if abs(ahead) > CLOCK_SECONDS:
        raise Failed(
            f"it is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's",
            "compare both with the true time: tokens and signatures are valid between two points of time",
        )
    note(f"{ahead:+.0f} s, compared with this machine's")
