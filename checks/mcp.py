"""Does an MCP client, the public library as it is, get on with the server?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from mcp.types import Tool
from pydantic import AnyUrl

from checks.address import PublicAddress
from checks.check import Failed, NotRun, Probe
from checks.http import INITIALIZE, MCP_HEADERS, ROUTING, WELL_KNOWN, expect, landed
from checks.oauth import EXTERNAL_URL, OAUTH_ON, follow_sign_in, judge_door, permitted_redirect_uri

# The library logs a traceback for each failed sign-in; the check's own result says it in a line.
logging.getLogger("mcp").addHandler(logging.NullHandler())


def checks(address: PublicAddress, *, known: bool = True) -> list[Probe]:
    """The checks any MCP server passes, whether a login is wanted or not. `known`: it judges Origins before tokens."""
    remedy = f"{EXTERNAL_URL}: origins are judged by it"
    return [Probe("a foreign Origin is refused and the public one is not", remedy, lambda: _origin(address, known))]


def sign_in_checks(
    address: PublicAddress,
    *,
    client_redirect_uris: tuple[str, ...] = (),
    sign_in_host: str = "accounts.google.com",
) -> list[Probe]:
    """The check of a server with OAuth on; parameters are as in `Expectations`. Registers one client."""
    name = "an MCP client finds the sign-in by itself"
    return [Probe(name, WELL_KNOWN, lambda: _find_sign_in(address, client_redirect_uris, sign_in_host))]


def tool_checks(address: PublicAddress, *, minimum_tools: int = 1) -> list[Probe]:
    """The check of a server without OAuth: it must list at least `minimum_tools` tools."""
    return [Probe("an MCP client connects and lists the tools", ROUTING, lambda: _list_tools(address, minimum_tools))]


async def _origin(address: PublicAddress, known: bool) -> str:
    async with address.client() as client:
        foreign, own = [
            await landed(
                client, address, "POST", address.mcp_url, json=INITIALIZE, headers=MCP_HEADERS | {"Origin": origin}
            )
            for origin in ("https://attacker.example", address.origin)
        ]
    if own.status_code == 403:
        raise Failed(f"MCP answered 403 to its own Origin {address.origin}: browser clients are refused")
    expect(own, 200, 401)
    if foreign.status_code == own.status_code == 401 and not known:
        raise NotRun("401 to every Origin: whether it judges them shows only behind a login")
    if foreign.status_code != 403:
        raise Failed(f"MCP answered {foreign.status_code} to the Origin https://attacker.example, not 403")
    return f"foreign 403, {address.origin} {own.status_code}"


async def _list_tools(address: PublicAddress, minimum: int) -> str:
    """As a client of the newest revision that the server speaks, and as one of those before 2026-07-28."""
    seen: dict[str, int] = {}
    for mode in ("auto", "legacy"):
        async with connect(address, mode=mode) as client:
            seen[client.protocol_version] = tools = len(await list_tools(client))
        if tools < minimum:
            raise Failed(
                f"{tools} tools by {client.protocol_version}, at least {minimum} wanted",
                "look at the server's tool settings (tier, list, permissions)",
            )
    if len(set(seen.values())) > 1:
        raise Failed(" and ".join(f"{tools} tools by {revision}" for revision, tools in seen.items()))
    return f"{tools} tools, protocol {' and '.join(seen)}"


async def _find_sign_in(address: PublicAddress, client_redirect_uris: tuple[str, ...], sign_in_host: str) -> str:
    """The library discovers, registers and hands over the URL for the browser; there it is stopped."""
    browser: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def open_browser(url: str) -> None:
        browser.set_result(url)

    async def wait_for_code() -> AuthorizationCodeResult:
        return await asyncio.Future()  # Never: no user is there to sign in.

    auth = OAuthClientProvider(
        address.mcp_url,
        OAuthClientMetadata(
            client_name="checks",
            redirect_uris=[AnyUrl(permitted_redirect_uri(client_redirect_uris))],
        ),
        Storage(),
        open_browser,
        wait_for_code,
    )

    async def attempt() -> None:
        async with connect(address, auth):
            raise Failed("the client connected without signing in: anyone can use MCP", OAUTH_ON)

    connecting = asyncio.ensure_future(attempt())
    either: tuple[asyncio.Future[Any], ...] = (connecting, browser)
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not browser.done():
            await connecting
    finally:
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
    return judge_door(address, await follow_sign_in(address, browser.result()), sign_in_host)


@asynccontextmanager
async def connect(
    address: PublicAddress, auth: httpx2.Auth | None = None, *, mode: str = "auto"
) -> AsyncIterator[Client]:
    """A connected client of the public library. `mode`: a revision from 2026-07-28 on, `legacy` for those before, or
    `auto` for the newest that the server speaks."""
    async with address.client(auth=auth) as http:
        transport = streamable_http_client(address.mcp_url, http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


async def list_tools(client: Client) -> list[Tool]:
    """All tools that the server lists, page by page."""
    tools: list[Tool] = []
    cursor = None
    while True:
        page = await client.list_tools(cursor=cursor)
        tools, cursor = [*tools, *page.tools], page.next_cursor
        if cursor is None:
            return tools


class Storage:
    """Keeps what the library hands it, in memory."""

    def __init__(self) -> None:
        self._client: OAuthClientInformationFull | None = None
        self._tokens: OAuthToken | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self._tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self._tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self._client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self._client = client_info
