"""Does the server answer at its public address, and do URLs reach it whole?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

import httpx2

from checks.address import PublicAddress
from checks.check import Failed, NotRun, Probe

ROUTING = "compare the listener's rules with the program's: pulumi preview --refresh --diff"
NO_HEALTHY_TASK = "the load balancer has no healthy task: look at the service's events and the tasks' logs"
WELL_KNOWN = f"strategy rewrite has a listener rule for each metadata document; {ROUTING}"
INITIALIZE: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "checks", "version": "1"},
    },
}
"""The first message of an MCP client (all revisions before 2026-07-28 begin with it)."""
MCP_HEADERS = {"Accept": "application/json, text/event-stream"}
MODERN = "2026-07-28"
"""The revision without `initialize` and without sessions: each request says in itself who asks."""
FORMER = ("2025-06-18", "2025-11-25")
"""Those before it that are in use, the newest last."""
_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "checks", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def modern(method: str, **parameters: Any) -> dict[str, Any]:
    """A request of `MODERN`, as `json` and `headers` for an HTTP client.

    https://modelcontextprotocol.io/specification/2026-07-28/basic/transports
    """
    headers = {**MCP_HEADERS, "MCP-Protocol-Version": MODERN, "Mcp-Method": method}
    if "name" in parameters:
        headers["Mcp-Name"] = str(parameters["name"])
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**parameters, "_meta": _META}}
    return {"json": body, "headers": headers}


def first_requests() -> dict[str, dict[str, Any]]:
    """Revision -> what its clients ask first."""
    initialize = {
        revision: {**INITIALIZE, "params": {**INITIALIZE["params"], "protocolVersion": revision}} for revision in FORMER
    }
    former = {revision: {"json": body, "headers": MCP_HEADERS} for revision, body in initialize.items()}
    return {**former, MODERN: modern("server/discover")}


def checks(
    address: PublicAddress,
    *,
    health: Mapping[str, str] | None = None,
    ready_path: str | None = "/health/ready",
) -> list[Probe]:
    """The checks any server passes. `health` and `ready_path` are as in `Expectations`."""
    probes = [
        Probe("health answers 200 from outside", ROUTING, lambda: _health(address, health or {})),
        Probe("the bare public URL answers alike with and without a slash", ROUTING, lambda: _bare_url(address)),
        Probe(
            "a trailing slash loses neither https nor the prefix",
            "let the load balancer's rewrite drop the slash, and set FORWARDED_ALLOW_IPS for the server",
            lambda: _trailing_slash(address),
        ),
        Probe("percent-encoded paths arrive unharmed", ROUTING, lambda: _encoded_path(address)),
    ]
    if ready_path is not None:
        remedy = "the server is up but a store it needs is not: look at its log and at the store"
        probes.insert(1, Probe("the server is ready: its stores answer", remedy, lambda: _ready(address, ready_path)))
    return probes


def expect(response: httpx2.Response, *statuses: int) -> httpx2.Response:
    """`response`, if its status is one of `statuses`; else `Failed`, saying what the status usually means here."""
    if response.status_code in statuses:
        return response
    url = response.request.url.copy_with(query=None)
    detail = f"{response.request.method} {url} answered {response.status_code}, not {' or '.join(map(str, statuses))}"
    if location := response.headers.get("Location"):
        detail += f" (to {location.split('?')[0]})"
    if response.status_code in (502, 503, 504):
        raise Failed(detail, NO_HEALTHY_TASK)
    if response.status_code == 404:
        remedy = WELL_KNOWN if "/.well-known/" in url.path else ROUTING
        raise Failed(f"{detail}: no rule matches the path, or the server was given it with its prefix", remedy)
    raise Failed(detail)


async def landed(
    client: httpx2.AsyncClient, address: PublicAddress, method: str, url: str, **request: Any
) -> httpx2.Response:
    """The answer at the end of redirects, as clients follow them; `Failed` if one leads out of the public URL."""
    for _ in range(4):
        response = await client.request(method, url, **request)
        if not response.has_redirect_location:
            return response
        target = urljoin(url, response.headers["Location"])
        if not address.owns(target):
            raise Failed(f"{method} {url} redirects to {target.split('?')[0]}: clients take their tokens there")
        url = target
    raise Failed(f"{method} {url} redirects round in circles")


def json_object(response: httpx2.Response) -> dict[str, Any]:
    """The JSON object in `response`; `Failed` if it is anything else."""
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        kind = response.headers.get("Content-Type", "no content type")
        url = response.request.url.copy_with(query=None)
        raise Failed(f"{url} answered {response.status_code} without a JSON object ({kind})")
    return document


async def _health(address: PublicAddress, members: Mapping[str, str]) -> str:
    async with address.client() as client:
        answer = json_object(expect(await client.get(address.url + address.health_path), 200))
    if "status" not in answer:
        raise Failed(f"the health answer has no `status`, so it is not this server's: {sorted(answer)}")
    for name, value in members.items():
        if answer.get(name) != value:
            raise Failed(
                f"the health answer has {name} {answer.get(name)!r}, not {value!r}",
                "another service or an older task answers: look at the listener's rules and the service's deployments",
            )
    return ", ".join(f"{name} {value}" for name, value in answer.items())


async def _ready(address: PublicAddress, path: str) -> str:
    async with address.client() as client:
        response = await client.get(address.url + path)
    if response.status_code == 503:
        raise Failed(f"{address.url}{path} answered 503: {response.text[:200]}")
    expect(response, 200)
    return f"{path} answers 200"


async def _bare_url(address: PublicAddress) -> str:
    async with address.client() as client:
        bare, slash = await client.get(address.url), await client.get(address.url + "/")
    if (bare.status_code, bare.content) != (slash.status_code, slash.content):
        raise Failed(
            f"{address.url} answers {bare.status_code} and {address.url}/ {slash.status_code}, or another body"
        )
    if bare.status_code == 404:
        raise NotRun("both answer 404: there is nothing to compare")
    expect(bare, 200)
    return "both answer 200"


async def _trailing_slash(address: PublicAddress) -> str:
    seen = []
    async with address.client() as client:
        for method, url in (("GET", address.url + address.health_path), ("POST", address.mcp_url)):
            if url.endswith("/"):
                continue
            body = INITIALIZE if method == "POST" else None
            plain = await landed(client, address, method, url, json=body, headers=MCP_HEADERS)
            if plain.status_code == 404 or plain.is_server_error:
                raise NotRun(f"not tried: without the slash, {url} answers {plain.status_code}")
            slash = await landed(client, address, method, url + "/", json=body, headers=MCP_HEADERS)
            if plain.status_code != slash.status_code:
                raise Failed(f"{method} {url} answers {plain.status_code}, but {url}/ {slash.status_code}")
            seen.append(f"{method} {url.removeprefix(address.url)}/ {slash.status_code}")
    return ", ".join(seen)


async def _encoded_path(address: PublicAddress) -> str:
    """Does not prove that `%2F` stays apart from `/`: no server offers a path that would show it."""
    if address.health_path == "/":
        raise NotRun("the health path has no letter to encode")
    path = f"{address.health_path[:1]}%{ord(address.health_path[1]):02X}{address.health_path[2:]}"
    async with address.client() as client:
        expect(await client.get(address.url + path), 200)
    return f"{path} answers as {address.health_path}"
