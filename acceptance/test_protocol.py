"""Both eras of the protocol on one endpoint: 2026-07-28 (no initialize, no sessions) and the one before.

https://modelcontextprotocol.io/specification/2026-07-28/basic/transports
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from acceptance.sign_in import Session, ask
from acceptance.subject import Subject
from checks.check import Failed
from checks.http import FORMER, MODERN, expect, json_object, modern
from checks.mcp import list_tools

LAST_OF_THE_FORMER = FORMER[-1]
_REMEDY = "something between client and server drops the headers Mcp-Method, Mcp-Name or MCP-Protocol-Version"
Note = Callable[[str], None]


async def _asked(subject: Subject, session: Session, method: str, **headers: str) -> httpx2.Response:
    """The answer to one request of 2026-07-28; `headers` in place of the right ones."""
    request = modern(method)
    async with subject.address.client() as http:
        return await http.post(
            subject.address.mcp_url,
            json=request["json"],
            headers={**request["headers"], **_token(session), **headers},
        )


def _token(session: Session) -> dict[str, str]:
    return {"Authorization": f"Bearer {session.token}"} if session.token else {}


def test_eras(subject: Subject, session: Session, note: Note) -> None:
    """A client of either era of the protocol lists the same tools"""

    async def tools(mode: str) -> tuple[str, set[str]]:
        async with session.client(subject.address, mode=mode) as client:
            return client.protocol_version, {tool.name for tool in await list_tools(client)}

    former, modern = ask(tools("legacy")), ask(tools(MODERN))
    if (former[0], modern[0]) != (LAST_OF_THE_FORMER, MODERN):
        raise Failed(f"the server speaks {former[0]} and {modern[0]}, not {LAST_OF_THE_FORMER} and {MODERN}")
    if former[1] != modern[1]:
        raise Failed(f"only one era has the tools {', '.join(sorted(former[1] ^ modern[1]))}")
    note(f"{former[0]} and {modern[0]}, {len(modern[1])} tools")


def test_discovery_of_the_server(subject: Subject, session: Session, note: Note) -> None:
    """The server says by server/discover which revisions it speaks"""
    answer = json_object(expect(ask(_asked(subject, session, "server/discover")), 200))
    versions: list[Any] = (answer.get("result") or {}).get("supportedVersions") or []
    if MODERN not in versions:
        raise Failed(f"it names {', '.join(map(str, versions)) or 'none'}", _REMEDY)
    note(", ".join(map(str, versions)))


REFUSED = [
    # What it is, method, headers in place of the right ones, status.
    ("an unknown method", "acceptance/nothing", {}, 404),
    ("another method in the header than in the body", "tools/list", {"Mcp-Method": "tools/call"}, 400),
    ("an unknown revision", "tools/list", {"MCP-Protocol-Version": "2099-01-01"}, 400),
]


def test_refusals(subject: Subject, session: Session, subtests: pytest.Subtests, note: Note) -> None:
    """A request that 2026-07-28 does not allow is refused with a JSON-RPC error."""
    for what, method, headers, status in REFUSED:
        with subtests.test(f"{what} is refused with a JSON-RPC error"):
            answer = expect(ask(_asked(subject, session, method, **headers)), status)
            error = json_object(answer).get("error")
            if not isinstance(error, dict) or "code" not in error:
                raise Failed(f"{status} without a JSON-RPC error: something between answers in the server's place")
            note(f"{status}, {error['code']}")


def test_cancellation(subject: Subject, session: Session, note: Note) -> None:
    """A client that goes away before the answer, which cancels its call, takes nothing from the next"""

    async def gone_and_back() -> httpx2.Response:
        request, url = modern("tools/list"), subject.address.mcp_url
        asking = {"json": request["json"], "headers": {**request["headers"], **_token(session)}}
        async with subject.address.client() as http, http.stream("POST", url, **asking):
            pass  # Closed when the answer has begun, and nothing of it was read.
        return await _asked(subject, session, "tools/list")

    tools = json_object(expect(ask(gone_and_back()), 200))["result"]["tools"]
    note(f"{len(tools)} tools in the next answer")
