"""Do the clients that people use find the sign-in in their own ways, and do browsers get answers?"""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

import httpx2

from checks.address import PublicAddress
from checks.check import Failed, Probe
from checks.http import INITIALIZE, MCP_HEADERS, ROUTING, expect, json_object
from checks.oauth import authorization_url, discover

LAUNCHER = "the image's launcher (image/middleware.py) is to answer it: is the image made of image/?"
STRANGER = "https://attacker.example"


def checks(
    address: PublicAddress, *, origins: tuple[str, ...] = (), document: tuple[str, str] | None = None
) -> list[Probe]:
    """The checks of a server with OAuth 2.1 on. Parameters are as in `Expectations`."""
    probes = [
        Probe(
            "every form in which clients look for the sign-in finds it",
            f"{LAUNCHER} Below /.well-known at the root of the host: {ROUTING}",
            lambda: _forms(address),
        )
    ]
    if origins:
        probes.append(
            Probe("browsers of the allowed origins get answers", LAUNCHER, lambda: _browsers(address, origins))
        )
    if document:
        probes.append(
            Probe(
                "the server fetches a client's metadata document",
                "tasks need a way out by HTTPS: a route, the security groups' outward rules; past a proxy "
                "FASTMCP_SSRF_TRUST_PROXY=true beside HTTPS_PROXY",
                lambda: _fetched(address, *document),
            )
        )
    return probes


def forms(address: PublicAddress) -> tuple[list[str], list[str]]:
    """Where clients look for the authorization server's, and for the resource's metadata: RFC 8414 and 9728 put the
    well-known part before the path, OpenID Connect Discovery behind it; some add a slash or the endpoint's path.

    Not among them: the root of a shared host, which belongs to the host's other services.
    """
    path = urlsplit(address.url).path
    before, server, openid = f"{address.origin}/.well-known", "oauth-authorization-server", "openid-configuration"
    mcp = path + address.mcp_path
    found = [f"{before}/{kind}{end}" for kind in (server, openid) for end in (path, f"{path}/", mcp)]
    found += [f"{address.url}/.well-known/{kind}" for kind in (server, openid)]
    resource = [f"{before}/oauth-protected-resource{end}" for end in (mcp, f"{mcp}/", path)]
    return list(dict.fromkeys(found)), list(dict.fromkeys(resource))


async def _forms(address: PublicAddress) -> str:
    wrong = []
    async with address.client() as client:
        for urls in forms(address):
            first = None
            for url in urls:
                response = await client.get(url)
                if response.status_code != 200:
                    wrong.append(f"{urlsplit(url).path} answers {response.status_code}")
                    continue
                document = json_object(response)
                first = first or document
                if document != first:
                    wrong.append(f"{urlsplit(url).path} answers another document")
    if wrong:
        raise Failed("; ".join(wrong))
    return f"{sum(map(len, forms(address)))} addresses"


async def _fetched(address: PublicAddress, document: str, redirect_uri: str) -> str:
    """Begins a sign-in as the client whose document it is; Google is not asked."""
    url = authorization_url(
        address,
        await discover(address),
        document,
        redirect_uri,
        state=secrets.token_urlsafe(),
        verifier=secrets.token_urlsafe(48),
    )
    async with address.client() as client:
        answer = await client.get(url)
    if answer.status_code == 400 and "not registered" in answer.text:
        raise Failed(f"{document} could not be fetched: clients that log in by such a document are unknown")
    expect(answer, 200, 302)
    return document


async def _browsers(address: PublicAddress, origins: tuple[str, ...]) -> str:
    urls = [address.mcp_url, f"{address.url}/register", f"{address.url}/token", *(urls[0] for urls in forms(address))]
    async with address.client() as client:
        for origin in origins:
            for url in urls:
                headers = {
                    "Origin": origin,
                    "Access-Control-Request-Method": "GET" if "/.well-known/" in url else "POST",
                    "Access-Control-Request-Headers": "authorization,content-type,mcp-protocol-version",
                }
                asked = await client.options(url, headers=headers)
                if asked.status_code not in (200, 204):
                    raise Failed(f"OPTIONS {url} of a page at {origin} answered {asked.status_code}")
                _admitted(asked, origin)
                if "authorization" not in asked.headers.get("Access-Control-Allow-Headers", "").lower():
                    raise Failed(f"OPTIONS {url} does not let a page at {origin} send its token")
            answer = await client.post(address.mcp_url, json=INITIALIZE, headers={**MCP_HEADERS, "Origin": origin})
            _admitted(answer, origin)
        headers = {"Origin": STRANGER, "Access-Control-Request-Method": "POST"}
        refused = await client.options(address.mcp_url, headers=headers)
        if refused.headers.get("Access-Control-Allow-Origin") in (STRANGER, "*"):
            raise Failed(f"a page at {STRANGER} may call the server, though no setting names it")
    return f"{', '.join(origins)}: preflight and answer; {STRANGER} gets {refused.status_code}"


def _admitted(response: httpx2.Response, origin: str) -> None:
    allowed = response.headers.get("Access-Control-Allow-Origin")
    if allowed != origin:
        request = response.request
        raise Failed(f"{request.method} {request.url} lets {allowed or 'no page'} read it, not one at {origin}")
