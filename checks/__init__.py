"""What a client of a deployed MCP server sees from outside: HTTP, MCP and OAuth, asked over the public address.

    from checks import Expectations, PublicAddress, run
    results = run(PublicAddress(url="https://api.example.com/mail"), Expectations())

Needs the network and the packages `httpx2` and `mcp`, nothing else. Google, or whoever signs users in, is
never contacted. A run registers two OAuth clients with the server and leaves two sign-ins half done, no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from checks.address import PublicAddress
from checks.check import Check, Probe, run_probes
from components.clients import CLIENTS
from components.settings import Service

__all__ = ["Check", "Expectations", "PublicAddress", "address", "expectations", "run"]


@dataclass(frozen=True, kw_only=True)
class Expectations:
    """What the deployment was configured to do, so that the checks can hold the server to it."""

    health: Mapping[str, str] = field(default_factory=dict)
    """Members the health answer must have, `{"service": "workspace-mcp", "version": "2.2.1"}` for one."""
    ready_path: str | None = "/health/ready"
    """Path that answers 200 while the server's stores answer; None where it has no such path."""
    oauth: bool | None = True
    """Whether MCP is behind OAuth 2.1. False: the tools must be listed without a login. None: not known, so neither is
    asked."""
    client_redirect_uris: tuple[str, ...] = ()
    """The redirect addresses clients may register, `*` allowed as in `http://localhost:*`. Empty: any."""
    origins: tuple[str, ...] = ()
    """Origins of pages from which a browser may call the server, beside its own."""
    document: tuple[str, str] | None = None
    """A client's metadata document, which the server must be able to fetch, and a redirect address in it. None: not
    asked."""
    sign_in_host: str = "accounts.google.com"
    """The host users sign in at, as an OAuth client of which the server acts."""
    minimum_tools: int = 1
    """With `oauth` off: the least number of tools the server must list."""


def expectations(service: Service) -> Expectations:
    """What a service's configuration leads a client to expect."""
    runs_workspace_mcp = service.server == "workspace-mcp"
    return Expectations(
        oauth=service.oauth.enabled if runs_workspace_mcp else None,
        client_redirect_uris=tuple(service.oauth.redirect_uris),
        origins=tuple(service.oauth.origins),
        document=_document(service.oauth.clients),
        ready_path="/health/ready" if runs_workspace_mcp else None,
    )


def _document(names: list[str]) -> tuple[str, str] | None:
    """The first one of the clients that are named."""
    known = (CLIENTS[name] for name in names)
    # A port of * is any in the documents too.
    return next(((c.metadata, c.redirect_uris[0].replace("*", "3030")) for c in known if c.metadata), None)


def address(service: Service, url: str, connect_to: str | None = None) -> PublicAddress:
    """Where a service is asked: at `url`, by way of `connect_to` if given."""
    return PublicAddress(url=url, connect_to=connect_to, health_path=service.health.path)


def run(address: PublicAddress, expectations: Expectations) -> list[Check]:
    """Run every check that fits `expectations`, all at once after the one for health; results in a fixed order.

    While the load balancer has no healthy task, the others would all fail for that one reason, and are not run.

    Never raises for what the server does. Starts an event loop: inside one, use `run_probes` on the modules' `checks`.
    """
    # Here, and not above: the MCP library takes half a second, and most who import this package only name a check.
    from checks import clients, http, mcp, oauth

    probes = http.checks(address, health=expectations.health, ready_path=expectations.ready_path)
    probes += mcp.checks(address, known=expectations.oauth is not None)
    if expectations.oauth:
        uris, host = expectations.client_redirect_uris, expectations.sign_in_host
        probes += oauth.checks(address, client_redirect_uris=uris, sign_in_host=host)
        probes += clients.checks(address, origins=expectations.origins, document=expectations.document)
        probes += mcp.sign_in_checks(address, client_redirect_uris=uris, sign_in_host=host)
    elif expectations.oauth is False:
        probes += mcp.tool_checks(address, minimum_tools=expectations.minimum_tools)
    return asyncio.run(_health_first(probes))


async def _health_first(probes: list[Probe]) -> list[Check]:
    from checks import http

    (health,) = await run_probes(probes[:1])
    if health.remedy != http.NO_HEALTHY_TASK:
        return [health, *await run_probes(probes[1:])]
    why = "not tried while nothing healthy answers"
    return [health, *(Check(name=p.name, passed=None, detail=why, remedy="", seconds=0) for p in probes[1:])]
